/*
 * When requests to one endpoint may start, whoever makes them: slower when it throttles, single
 * probes while it fails, and only so many retries as its successes justify. A plain state machine
 * over time that is told to it, without clock, queue or memory of its own (http_gate.c has those).
 *
 * open     no limit. The first throttled answer ends it
 * slowed   `limit` requests at a time; below 1: one at a time, GATE_DISTANCE_MS * (1 / limit - 1)
 *          between two starts. A throttled answer halves the limit, a good one raises it: doubled up
 *          to half of what was too much, then by one, and doubled again when it was calm for
 *          GATE_CALM_MS; until GATE_LIMIT_MAX, where the gate is open. At most one change for the
 *          requests that were under way together
 * failing  GATE_FAILURES_MAX requests in a row had no sign of life (5xx, refused, reset, timed out):
 *          one probe at a time, with a growing pause, until an answer comes; then slowed, from 1 up
 *
 * Retries take a token each, of at most GATE_TOKENS_MAX: so many are free, then it is
 * GATE_TOKENS_PER_SUCCESS of the successes and GATE_TOKENS_PER_S.
 */
#pragma once

#include "executor/base/error.h"

#include <stdbool.h>
#include <stdint.h>

#define GATE_LIMIT_MAX 64.0
#define GATE_LIMIT_MIN (1.0 / 16)
#define GATE_DISTANCE_MS 50 /* at GATE_LIMIT_MIN: 750 ms */
#define GATE_CHANGE_MS 100 /* least time between two raises */
#define GATE_CALM_MS 1000
#define GATE_FAILURES_MAX 5
#define GATE_PROBE_PAUSE_MS 500 /* the first; the next ones are longer by GATE_PROBE_FACTOR */
#define GATE_PROBE_FACTOR 1.6
#define GATE_PROBE_PAUSE_MAX_MS 5000
#define GATE_TOKENS_MAX 32.0
#define GATE_TOKENS_PER_SUCCESS 0.2
#define GATE_TOKENS_PER_S 2.0
#define GATE_RETRY_AFTER_MAX_MS 30000 /* what a throttled answer may ask of all requests */

enum gate_state { GATE_OPEN, GATE_SLOWED, GATE_FAILING, GATE_STATE_COUNT };

struct gate {
	enum gate_state state;
	double limit; /* while slowed */
	double threshold; /* below it the limit grows quickly */
	int64_t changed_ms; /* when the limit was changed */
	int64_t throttled_ms; /* the last such answer */
	int64_t not_before_ms; /* the next start */
	unsigned running; /* started, not ended */
	unsigned failures; /* in a row */
	int64_t failing_ms; /* the first of them */
	double probe_pause_ms; /* the next one */
	bool is_probed; /* a probe is under way */
	double tokens;
	int64_t tokens_ms; /* when they were counted */
};

/* One request's passage; owned by whoever asks. */
struct gate_pass {
	bool is_retry; /* of something that an outage or throttling explains */
	bool is_probe;
	int64_t started_ms;
};

void gate_init(struct gate *gate, int64_t now_ms);

/* 0 = may start now; else the milliseconds after which to ask again; GATE_FULL = not before another
 * one has ended. */
#define GATE_FULL (-1)
int64_t gate_ask(struct gate *gate, const struct gate_pass *pass, int64_t now_ms);

/* It starts; it has ended in whatever way. */
void gate_start(struct gate *gate, struct gate_pass *pass, int64_t now_ms);
void gate_end(struct gate *gate, struct gate_pass *pass);

/* The endpoint gave an answer that shows it well, or moved data. */
void gate_succeed(struct gate *gate, const struct gate_pass *pass, int64_t now_ms);

/* A request failed with `class` (only TRANSIENT and THROTTLED say something of the endpoint), and
 * the server asked for that pause (0 = none); `random` in [0, 1) spreads probes. */
void gate_fail(struct gate *gate, const struct gate_pass *pass, enum error_class class,
	       int64_t retry_after_ms, int64_t now_ms, double random);

/* "open", "slowed", "failing"; static storage. */
const char *gate_state_name(enum gate_state state);
