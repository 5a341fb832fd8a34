/*
 * The wire between the wrappers of a pod and its `wait` container: SOCK_SEQPACKET on
 * /var/run/argo/wait.sock. A wrapper says who it is and then just stays connected: the end of
 * the connection is the end of the wrapper, however it died, which is how `wait` learns at once
 * of a main container that was OOM-killed and wrote no exit code. In the other direction go
 * signals, which saves the wrapper an inotify instance (they are scarce on a node).
 *
 * When its command has ended, a wrapper offers the outputs of its own file system as descriptors
 * (SCM_RIGHTS), one at a time, and hears of each whether it was taken. Before that it may be asked to
 * open parts of it: what `wait` may not open itself, some names of one directory at a time.
 *
 * Everything that arrives here can come from user code: sizes and names are checked, a bad message
 * ends the connection, and nobody can say more than "container X lives", "this is its output" and "it was
 * sent a signal", or be told more than a signal number. docs/states.md draws the life of a connection.
 *
 * A message is one packet: struct channel_message, or one of the other structs, cut behind what is
 * used of its last member; host byte order (both ends are the same binary on the same machine).
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

/* Longest path of an output, NUL included: what open(2) takes. */
#define CHANNEL_PATH_MAX 4096

/* Parts that a wrapper is asked for at a time: the kernel passes up to 253 descriptors at once. */
#define CHANNEL_PARTS_MAX 128
#define CHANNEL_NAMES_BYTES_MAX 8192 /* of their names, NULs included */

/* Wrappers of one pod that may be connected at a time; a pod with more containers than this
 * still works through the files. */
#define CHANNEL_PEERS_MAX 64

enum channel_kind {
	CHANNEL_HELLO = 1, /* wrapper → wait: text is the container's name */
	CHANNEL_SIGNAL = 2, /* wait → wrapper: number is the signal for the user's process group */
	CHANNEL_OUTPUT =
		3, /* wrapper → wait: struct channel_output, with a descriptor or an errno */
	CHANNEL_ANSWER = 4, /* wait → wrapper: number is a channel_verdict on the last output */
	CHANNEL_ASK = 5, /* wait → wrapper: struct channel_ask, about the last output */
	CHANNEL_PARTS = 6, /* wrapper → wait: struct channel_parts, with descriptors */
	CHANNEL_HEARD = 7, /* wrapper → wait: struct channel_heard */
};

enum channel_verdict {
	CHANNEL_TAKEN = 1, /* the wrapper need not live any longer for it */
	CHANNEL_REFUSED = 2, /* it has to go another way */
	CHANNEL_BUSY = 3, /* no verdict yet: it is still being looked at */
};

struct channel_message {
	uint32_t magic;
	uint16_t kind;
	uint16_t number;
	char text[CHANNEL_NAME_MAX]; /* NUL padded */
};

struct channel_output {
	uint32_t magic;
	uint16_t kind;
	uint16_t number; /* why there is no descriptor: an errno; 0 = there is one */
	char path[CHANNEL_PATH_MAX]; /* as the template has it, clean */
};

struct channel_ask {
	uint32_t magic;
	uint16_t kind;
	uint16_t number; /* of names */
	/* A directory below the output ("" is the output), then names in it; a NUL behind each. */
	char names[CHANNEL_PATH_MAX + CHANNEL_NAMES_BYTES_MAX];
};

struct channel_parts {
	uint32_t magic;
	uint16_t kind;
	uint16_t number; /* as asked */
	uint16_t codes[CHANNEL_PARTS_MAX]; /* errno; 0 = the next descriptor is it */
};

/* The wrapper was itself sent the signal `number`, and has passed it on to its command. */
struct channel_heard {
	uint32_t magic;
	uint16_t kind;
	uint16_t number; /* 1 to 64 */
	int32_t pid; /* who sent it, as the wrapper sees him; 0 = of another PID namespace */
	uint32_t uid;
};

/* --- wrapper ---------------------------------------------------------------------------- */

struct channel_client {
	struct event_source source;
	void (*on_signal)(struct channel_client *client, int signo);
	/* `wait` is gone (or spoke nonsense): signals must be looked for in the files again. */
	void (*on_lost)(struct channel_client *client);
	/* On the output that was offered last; NULL where none is. */
	void (*on_answer)(struct channel_client *client, enum channel_verdict verdict);
	/* For parts of that output; channel_client_answer() follows, within the call or later. NULL
	 * where none is offered. */
	void (*on_ask)(struct channel_client *client, const struct channel_ask *ask);
};

/* Connects and says hello; never blocks. 0, or a negative errno (ENOENT, ECONNREFUSED: nobody
 * there yet). The callbacks must be set before. */
int channel_client_connect(struct channel_client *client, struct event_loop *loop, const char *root,
			   const char *container);
bool channel_client_is_connected(const struct channel_client *client);
void channel_client_done(struct channel_client *client);

/* Says that the wrapper was sent a signal. Nothing is lost if it cannot: `wait` then knows less. */
void channel_client_tell(struct channel_client *client, int signo, pid_t pid, uid_t uid);

/* Offers the output `path` as the descriptor `fd` (not owned), or says by an errno (positive) why
 * there is none. 0, -ENOTCONN, or another negative errno; then nothing was said. One at a time: the
 * next one after on_answer has said CHANNEL_TAKEN or CHANNEL_REFUSED. */
int channel_client_offer(struct channel_client *client, const char *path, int fd, int code);

/* What was asked for: for each name 0 and an open file (not owned), or an errno (positive). 0 or a negative
 * errno; then nothing was said. */
int channel_client_answer(struct channel_client *client, const int *codes, const int *fds,
			  unsigned count);

/* --- wait ------------------------------------------------------------------------------- */

struct channel_server;

/* What a wrapper offers. */
struct channel_offer {
	uint64_t peer; /* for channel_server_answer() */
	const char *container; /* as its hello said; borrowed like all of this */
	const char *path; /* absolute, nothing else is known of it */
	int fd; /* to be taken by TAKE_FD; any type of file, opened in any way. -1: code says why */
	int code; /* positive errno, 0 with a descriptor */
	/* As the kernel says, those of the process that connected. */
	uid_t uid;
	gid_t gid;
	const gid_t *groups;
	size_t group_count;
};

/* Groups of a peer beyond these are not known. */
#define CHANNEL_GROUPS_MAX 64

struct channel_server_options {
	const char *root; /* /var/run/argo */
	/* A wrapper of that container has come / its last connection has ended. */
	void (*on_hello)(void *context, const char *container, pid_t peer);
	void (*on_gone)(void *context, const char *container);
	/* It was sent a signal by another way than this one; may be NULL. */
	void (*on_heard)(void *context, const char *container, int signo, pid_t pid, uid_t uid);
	/* NULL refuses all. CHANNEL_BUSY: channel_server_answer() follows. */
	enum channel_verdict (*on_offer)(void *context, struct channel_offer *offer);
	/* What was asked for: codes and descriptors as from channel_client_answer(), -1 where there is
	 * none; those that are to be kept are taken by TAKE_FD. */
	void (*on_parts)(void *context, uint64_t peer, const int *codes, int *fds, unsigned count);
	/* Somebody to whom a verdict was owed. */
	void (*on_left)(void *context, uint64_t peer);
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

/* The verdict on what was offered, or CHANNEL_BUSY as a sign of life. 0, or -ENOTCONN: that wrapper
 * is not there any more. */
int channel_server_answer(struct channel_server *server, uint64_t peer,
			  enum channel_verdict verdict);

/* Asks whoever waits for a verdict for parts of its output; on_parts follows, once, or on_left. `size` is
 * what channel_ask_add() has returned last. 0, or -ENOTCONN. */
int channel_server_ask(struct channel_server *server, uint64_t peer, const struct channel_ask *ask,
		       size_t size);

/* An ask for names in `directory`, and another name for it: its size so far, or -ENAMETOOLONG, or
 * -ENOBUFS when it is full. */
int channel_ask_init(struct channel_ask *ask, const char *directory);
int channel_ask_add(struct channel_ask *ask, int size, const char *name);
