/*
 * Waiting until a plugin can be spoken to: its container may start long after ours, and the socket
 * may have a name before anybody listens, or still have one when nobody does any more.
 */
#pragma once

#include "executor/base/log.h"
#include "executor/event/loop.h"

/* How long a plugin may take to make its socket (Argo: 120 looks, one per second). */
#define PLUGIN_SOCKET_WAIT_MS 120000

struct plugin_socket {
	const char *plugin; /* its name, for messages */
	const char *directory, *path; /* of the socket */
	/* The directory where the sidecar that runs it leaves its exit code, in which case there is
	 * nothing to wait for; NULL = nobody does. */
	const char *sidecar_directory;
	int64_t wait_ms; /* for the name */
	int64_t connect_timeout_ms; /* from there to somebody who speaks HTTP/2 */
	struct event_loop *loop;
	const struct log *log;
};

/* 0 when a server has said its first words of HTTP/2 (RFC 9113, 3.4) on a connection of ours, which
 * is closed again. Every failure but a cancelled loop is PERMANENT. */
int plugin_socket_await(const struct plugin_socket *self, struct error *err);
