/*
 * The wire between the wrappers of a pod and its `wait` container: SOCK_SEQPACKET on
 * /var/run/argo/wait.sock. A wrapper says who it is and then just stays connected: the end of
 * the connection is the end of the wrapper, however it died, which is how `wait` learns at once
 * of a main container that was OOM-killed and wrote no exit code. In the other direction go
 * signals, which saves the wrapper an inotify instance (they are scarce on a node).
 *
 * Everything that arrives here can come from user code: sizes and names are checked, a bad message
 * ends the connection, and nobody can say more than "container X lives" or be told more than a
 * signal number. docs/states.md draws the life of a connection.
 *
 * A message is one packet: struct channel_message without its unused tail, host byte order (both
 * ends are the same binary on the same machine).
 */
#pragma once

#include "executor/base/error.h"
#include "executor/event/loop.h"

#include <stdbool.h>
#include <stdint.h>
#include <sys/types.h>

#define CHANNEL_SOCKET_NAME "wait.sock"
#define CHANNEL_MAGIC 0x54495031 /* "TIP1" */
#define CHANNEL_NAME_MAX 64

/* Wrappers of one pod that may be connected at a time; a pod with more containers than this
 * still works through the files. */
#define CHANNEL_PEERS_MAX 64

enum channel_kind {
	CHANNEL_HELLO = 1, /* wrapper → wait: text is the container's name */
	CHANNEL_SIGNAL = 2, /* wait → wrapper: number is the signal for the user's process group */
};

struct channel_message {
	uint32_t magic;
	uint16_t kind;
	uint16_t number;
	char text[CHANNEL_NAME_MAX]; /* NUL padded */
};

/* --- wrapper ---------------------------------------------------------------------------- */

struct channel_client {
	struct event_source source;
	void (*on_signal)(struct channel_client *client, int signo);
	/* `wait` is gone (or spoke nonsense): signals must be looked for in the files again. */
	void (*on_lost)(struct channel_client *client);
};

/* Connects and says hello; never blocks. 0, or a negative errno (ENOENT, ECONNREFUSED: nobody
 * there yet). The callbacks must be set before. */
int channel_client_connect(struct channel_client *client, struct event_loop *loop, const char *root,
			   const char *container);
bool channel_client_is_connected(const struct channel_client *client);
void channel_client_done(struct channel_client *client);

/* --- wait ------------------------------------------------------------------------------- */

struct channel_server;

struct channel_server_options {
	const char *root; /* /var/run/argo */
	/* A wrapper of that container has come / its last connection has ended. */
	void (*on_hello)(void *context, const char *container, pid_t peer);
	void (*on_gone)(void *context, const char *container);
	void *context;
};

/* Binds <root>/wait.sock (0666; an old one is replaced) and listens. NULL with err filled. */
struct channel_server *channel_server_new(struct event_loop *loop,
					  const struct channel_server_options *options,
					  struct error *err);
void channel_server_free(struct channel_server *server);
static inline void channel_server_freep(struct channel_server **server)
{
	channel_server_free(*server);
}

/* True if a wrapper of that container is connected. */
bool channel_server_has(const struct channel_server *server, const char *container);

/* Sends a signal to the wrappers of a container; the number of them that got it. */
unsigned channel_server_signal(struct channel_server *server, const char *container, int signo);
