/*
 * The control socket: HTTP/1.1 on <root>/control.sock, for people, scripts and agents inside the
 * pod (docs/control-api.md). POST /v1/terminate is acknowledged before anything is signalled, and
 * everything after that happens on the loop; GET /v1/status, GET /v1/events (WebSocket) and
 * GET /metrics only look.
 *
 * Whoever can open the socket may use it: a peer's uid and pid are logged, and within a pod they
 * prove little. So everything is limited: connections, bytes, requests per second, seconds.
 *
 * libwebsockets parses; its header is included nowhere else. While nobody is connected there is a
 * listening socket and nothing more: no context, no timer.
 */
#pragma once

#include "executor/base/log.h"
#include "executor/event/loop.h"
#include "signal/terminator.h"

#define CONTROL_SOCKET_NAME "control.sock"

/* Longest body of a request. */
#define CONTROL_REQUEST_BYTES_MAX 65536
/* Connections at a time; the next ones get 503. */
#define CONTROL_CONNECTIONS_MAX 32
/* Requests of one process: this many per second, and as many at once. Then 429. */
#define CONTROL_REQUESTS_PER_S 500
#define CONTROL_REQUESTS_AT_ONCE 2000
/* Time for the headers, for the body, and for reading an answer, each. */
#define CONTROL_STEP_MS 5000
/* A connection without a request is kept this long after the last one. */
#define CONTROL_KEEP_ALIVE_MS 30000
/* Events that a watcher has not read; beyond it the connection ends. */
#define CONTROL_EVENTS_BYTES_MAX 65536

/* What a role lets others see. */
struct control_model {
	const char *role; /* "wait", "supervisor" */
	struct terminator *terminator; /* names and terminations of the containers */
	int64_t grace_ms; /* when a request names none */
	int64_t deadline_s; /* seconds since 1970; 0 = none */
	/* What container i does: "running", … */
	const char *(*state)(void *context, size_t i);
	void *context;
};

struct control;

/* Binds <root>/control.sock (0666; an old one is replaced) and listens. NULL with err filled.
 * The model is copied, what it points to is borrowed. */
struct control *control_new(struct event_loop *loop, const char *root,
			    const struct control_model *model, const struct log *log,
			    struct error *err);
void control_free(struct control *control);

/* Container i is not as it was: tells the watchers. NULL is harmless. */
void control_changed(struct control *control, size_t i);
