/*
 * The one retry engine. Whoever talks to a network classifies an outcome once (enum error_class)
 * and asks here whether, and after which pause, to try again.
 *
 * A policy counts rounds with a growing pause between them. The first round has up to
 * RETRY_ATTEMPTS_PER_ROUND quick attempts; so has each round of failures that no outage explains. A
 * throttled attempt ends its round, and so does any attempt of an outage that goes on: later rounds
 * are one look each. Failures that an outage explains (class TRANSIENT, THROTTLED) do not use up the
 * last round before min_total_ms have passed since the first one, unless the loop is cancelled or a
 * deadline is set. Every pause is full jitter: uniform between 0 and the nominal one. A Retry-After
 * of the server is honoured as the least pause (RFC 9110, 10.2.3), up to RETRY_AFTER_MAX_MS.
 *
 * A request that names its struct retry (http.h) also waits for the gate of its endpoint (gate.h),
 * which hears of every failure from here; what has waited for a failing endpoint as long as its
 * policy would have tried (retry_patience_ms) is given up.
 */
#pragma once

#include "executor/base/error.h"
#include "executor/base/log.h"
#include "executor/event/loop.h"
#include "executor/http/gate.h"
#include "executor/http/transient.h"

#include <stdbool.h>
#include <stdint.h>

#define RETRY_ATTEMPTS_PER_ROUND 3
#define RETRY_PAUSE_MAX_MS 30000
#define RETRY_QUICK_PAUSE_MS 200 /* within a round, doubled each time */
#define RETRY_AFTER_MAX_MS 120000

/* Of the failures of one operation the first and every so manieth are records for users (level info),
 * as far as not too many of its endpoint were just shown; the others are debug records. */
#define RETRY_SHOWN_EVERY 5

#define RETRY_CODE_MAX 64
#define RETRY_REQUEST_ID_MAX 128

struct http_gate;
struct http_response;

struct retry_policy {
	unsigned rounds; /* in total, ≥ 1; RETRY_ENDLESS = until success or a permanent error */
	int64_t first_pause_ms;
	double factor; /* growth of the pause from round to round */
	double jitter; /* added share of the nominal pause, 0.5 = up to half as much again */
	int64_t min_total_ms;
	/* TRANSIENT_ERROR_PATTERN: an error whose text matches, or what Go's clients would have said
	 * (retry_note_text), is tried again like a TRANSIENT one, whatever its class (which stays as
	 * it is). Not owned; NULL = none. */
	const struct transient_pattern *transient;
	/* What the requests are counted for, "s3"; NULL = they are not. Static storage. */
	const char *store;
	bool tells_class; /* the last error says its class, also after a single attempt */
	/* Another attempt follows; may be NULL. */
	void (*on_retry)(void *context);
	void *context;
};
#define RETRY_ENDLESS 0

/* EXECUTOR_RETRY_BACKOFF_STEPS/_DURATION/_FACTOR/_JITTER (5, 1s, 1.6, 0.5), as Argo 4.1 reads
 * them for artifacts, and min_total_ms = RETRY_MIN_TOTAL_MS; -EINVAL with a message that names the
 * variable for a malformed value. Pointers are left NULL. */
#define RETRY_MIN_TOTAL_MS 60000
int retry_policy_from_environment(struct retry_policy *ret, struct error *err);

/* One operation's history. Zeroed by retry_begin; nothing to free. */
struct retry {
	const struct retry_policy *policy;
	struct event_loop *loop;
	const struct log *log; /* each failed attempt is one record; may be NULL */
	const char *operation; /* "put object", for the record */
	const char *bucket, *key; /* for the record; borrowed, may be NULL */
	char code[RETRY_CODE_MAX]; /* the provider's, of the last failure; "" = none */
	char request_id[RETRY_REQUEST_ID_MAX];
	unsigned attempts;
	unsigned round; /* finished ones */
	unsigned attempts_in_round;
	unsigned count[ERROR_CLASS_COUNT];
	int64_t started_ms;
	int64_t failed_ms; /* the first failure; 0 = none yet */
	int64_t deadline_ms; /* monotonic; 0 = none: no attempt is started after it */
	int64_t retry_after_ms; /* least pause asked for by the server; consumed by retry_next */
	bool is_matched; /* the pattern fits what Go's clients would have said */
	/* The HTTP client's. */
	bool is_exhausted; /* no attempt shall follow: it was waited long enough for the endpoint */
	bool is_gate_passed; /* the last attempt did start */
	bool is_alive; /* and was answered, or moved data */
	struct http_gate *gate;
	struct gate_pass pass;
};

void retry_begin(struct retry *retry, const struct retry_policy *policy, struct event_loop *loop,
		 const struct log *log, const char *operation);

/* How the clients of Argo's own executor (Go's net/http, minio-go, Alibaba Cloud's SDK) put the failure
 * that retry_next() is told next: users' patterns were written for their words, anchors included.
 * Looked at, not kept, up to RETRY_TEXT_MAX bytes. `retry` may be NULL. */
#define RETRY_TEXT_MAX 8192
void retry_note_text(struct retry *retry, const char *format, ...)
	__attribute__((format(printf, 2, 3)));

/* The operation got further before it failed: its attempts are counted anew. To be called before
 * retry_next(). */
void retry_progress(struct retry *retry);

/* Records the failure `err`. Returns the pause in ms before the next attempt, or -1 if there shall
 * be none (permanent, exhausted, cancelled, past the deadline); then, if more than one attempt was
 * made, " (N attempts in T: C1 transient, …)" has been appended to err's message. */
int64_t retry_next(struct retry *retry, struct error *err);

/* The decision of retry_next() alone: a failure of `class` at now_ms, with `random` in [0, 1). */
int64_t retry_decide(struct retry *retry, enum error_class class, int64_t now_ms, double random);

/* retry_next() and the pause itself, on the loop: true = try again. When it is cancelled during
 * the pause, err stays what it is. */
bool retry_again(struct retry *retry, struct error *err);

/* How long the policy goes on while nothing but an outage is seen, at most; 0 = endless. */
int64_t retry_patience_ms(const struct retry_policy *policy);

/* The pause that an answer asks for: Retry-After, or retry-after-ms and x-ms-retry-after-ms, which are
 * finer and come first. -1 = none. */
int64_t retry_after_of(const struct http_response *response);

/* http_gate.c. The last attempt failed; another one follows it; whether its record is for users, and
 * how many of the endpoint's were hidden since the last one that was. All harmless without a gate. */
void http_gate_report(struct retry *retry, const struct error *err, int64_t retry_after_ms,
		      int64_t now_ms, double random);
void http_gate_count_retry(struct retry *retry, enum error_class class);
bool http_gate_may_show(struct retry *retry, int64_t now_ms, unsigned *ret_hidden);

/* Milliseconds of a Retry-After value (seconds, or an HTTP date, RFC 9110); -1 if malformed. */
int64_t retry_parse_after(const char *value);
