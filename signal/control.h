/*
 * The control socket: HTTP/1.1 on <root>/control.sock, for people, scripts and agents inside the
 * pod, and, only if the operator asks for it, on a TCP port for those outside (docs/control-api.md).
 * POST /v1/terminate is acknowledged before anything is signalled, and everything after that happens
 * on the loop; GET /v1/status, GET /v1/events (WebSocket) and GET /metrics only look.
 *
 * Whoever can open the unix socket may use it: a peer's uid and pid are logged, and within a pod they
 * prove little. Whoever comes by TCP needs the token for everything. So all is limited: connections,
 * bytes, requests per second, seconds; and by TCP nobody uses up what the unix socket's clients need.
 *
 * libwebsockets parses; its header is included nowhere else. While nobody is connected there is a
 * listening socket and nothing more: no context, no timer.
 */
#pragma once

#include "executor/base/log.h"
#include "executor/confine/confine.h"
#include "executor/event/loop.h"
#include "executor/http/counts.h"
#include "executor/stage/ledger.h"
#include "signal/terminator.h"

#define CONTROL_SOCKET_NAME "control.sock"

/* Longest body of a request. */
#define CONTROL_REQUEST_BYTES_MAX 65536
/* Connections at a time, of each of the two sockets; the next ones get 503 (by TLS: the end). */
#define CONTROL_CONNECTIONS_MAX 32
/* By TCP also: connections of one address, at a time, per second, and as many at once. */
#define CONTROL_ADDRESS_CONNECTIONS_MAX 16
#define CONTROL_ADDRESS_CONNECTIONS_PER_S 50
#define CONTROL_ADDRESS_CONNECTIONS_AT_ONCE 100
/* Requests of one process or address: this many per second, and as many at once. Then 429. */
#define CONTROL_REQUESTS_PER_S 500
#define CONTROL_REQUESTS_AT_ONCE 2000
/* Time for the headers (a TLS handshake included), for the body, and for reading an answer, each. */
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
	const struct ledger *ledger; /* artifacts; NULL = none are moved here */
	/* The requests to stores so far; NULL = none are made for this process. */
	void (*traffic)(void *context, struct http_counts *ret);
	/* What this process has given up, or the one that stages for it; NULL as long as there is none
	 * or nothing is known. */
	const struct confinement *(*confinement)(void *context, bool is_stage);
};

struct control;

/* Binds <root>/control.sock (0666; an old one is replaced) and listens. NULL with err filled.
 * The model is copied, what it points to is borrowed. */
struct control *control_new(struct event_loop *loop, const char *root,
			    const struct control_model *model, const struct log *log,
			    struct error *err);
void control_free(struct control *control);

/*
 * Listens on TCP too, as the environment says: ARGOEXEC_CONTROL_LISTEN=ADDRESS:PORT with the token in
 * ARGOEXEC_CONTROL_TOKEN_FILE, and by TLS with ARGOEXEC_CONTROL_TLS_CERT_FILE and _KEY_FILE; without
 * TLS only on a loopback address. Returns 0 if that worked or is not wanted. A failure leaves
 * everything as it was and says which variable is to blame.
 */
int control_listen(struct control *control, struct error *err);

/* Container i, entry i of the ledger, is not as it was: tells the watchers. NULL is harmless. */
void control_changed(struct control *control, size_t i);
void control_artifact_changed(struct control *control, size_t i);
