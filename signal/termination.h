/*
 * How a container is made to end: one table of phases, drawn in docs/states.md. Whoever asks
 * (control socket, signal file, deadline, the pod's own end), requests coalesce: what has been
 * asked for already changes nothing, SIGKILL goes beyond anything else, nothing goes back.
 */
#pragma once

#include <stdbool.h>
#include <stdint.h>
#include <sys/types.h>
#include <time.h>

enum termination_phase {
	TERMINATION_RUNNING,
	TERMINATION_ASKED, /* acknowledged, no signal sent yet */
	TERMINATION_TERM_SENT, /* the grace runs */
	TERMINATION_KILL_SENT,
	TERMINATION_ENDED,
	TERMINATION_PHASE_COUNT,
};

enum termination_event {
	TERMINATION_ASK, /* a signal that lets the process clean up */
	TERMINATION_ASK_KILL,
	TERMINATION_SEND, /* what was asked for is due */
	TERMINATION_GRACE_OVER,
	TERMINATION_END, /* the container is gone */
	TERMINATION_EVENT_COUNT,
};

enum termination_outcome {
	TERMINATION_ACCEPTED, /* the first request */
	TERMINATION_ESCALATED, /* SIGKILL, where less was asked for before */
	TERMINATION_COALESCED, /* asked for already */
	TERMINATION_LATE, /* the container has ended */
	TERMINATION_OUTCOME_COUNT,
};

enum termination_source {
	TERMINATION_BY_CONTROL, /* the control socket */
	TERMINATION_BY_FILE, /* ctr/<name>/signal */
	TERMINATION_BY_DEADLINE, /* ARGO_DEADLINE */
	TERMINATION_BY_POD, /* SIGTERM to `wait`, whose grace period ends */
	TERMINATION_BY_KERNEL, /* SIGTERM to the wrapper, which has passed it on */
	TERMINATION_SOURCE_COUNT,
};

/* Bytes of a reason, NUL included; what a person writes into a request. */
#define TERMINATION_REASON_MAX 256

/* Bytes of a peer's address and port, NUL included. */
#define TERMINATION_PEER_MAX 64

/* No SIGKILL follows by itself. */
#define TERMINATION_NO_GRACE_END (-1)

struct termination_request {
	int signo; /* 1 to 64 */
	int64_t grace_ms; /* from the signal to SIGKILL; < 0: never */
	enum termination_source source;
	uid_t uid; /* who asked, as far as a socket tells; (uid_t)-1 = not known */
	pid_t pid; /* 0 = not known, or of another PID namespace */
	char peer[TERMINATION_PEER_MAX]; /* address and port; "" = did not come by TCP */
	char reason[TERMINATION_REASON_MAX];
};

/* One container. Zeroed memory is a running one. */
struct termination {
	enum termination_phase phase;
	struct termination_request by; /* the request that counts, its signal the strongest asked */
	unsigned id; /* of that request; 0 = none */
	struct timespec asked_at; /* CLOCK_REALTIME */
	int64_t kill_at_ms; /* clock_now_ms(); 0 = never */
	uint64_t passing; /* signals (bit n - 1) that end nothing, waiting to be passed on */
};

/* Takes a request. Only signals that usually end a process (HUP, INT, QUIT, TERM, KILL) move the
 * phase; others are passed on, once for each time they are sent. `id` is remembered if it counts. */
enum termination_outcome termination_ask(struct termination *termination,
					 const struct termination_request *request, unsigned id,
					 int64_t now_ms);

/* Takes a request whose signal the process has already. As termination_ask(), but nothing is due for it. */
enum termination_outcome termination_note(struct termination *termination,
					  const struct termination_request *request, unsigned id);

/* What is due: the signals to send (bit n - 1), 0 for none. The phase moves on; a grace period
 * starts at now_ms. */
uint64_t termination_due(struct termination *termination, int64_t now_ms);

/* When termination_due() should be asked again because of the grace; 0 = never. */
int64_t termination_next_ms(const struct termination *termination);

void termination_end(struct termination *termination);

/* The bare table: where `event` leads from `phase`. An event that means nothing leaves it. */
enum termination_phase termination_next(enum termination_phase phase, enum termination_event event);

/* "running", "asked", "term sent", …; static storage. */
const char *termination_phase_name(enum termination_phase phase);
const char *termination_outcome_name(enum termination_outcome outcome);
const char *termination_source_name(enum termination_source source);
