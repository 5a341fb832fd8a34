#include "executor/http/gate.h"

/* After an outage all that waits would start in the same moment. */
#define LIMIT_AFTER_OUTAGE 1.0
#define THRESHOLD_AFTER_OUTAGE 16.0

static double least(double a, double b)
{
	return a < b ? a : b;
}

static double most(double a, double b)
{
	return a > b ? a : b;
}

void gate_init(struct gate *gate, int64_t now_ms)
{
	*gate = (struct gate){
		.limit = GATE_LIMIT_MAX,
		.threshold = GATE_LIMIT_MAX,
		.tokens = GATE_TOKENS_MAX,
		.tokens_ms = now_ms,
	};
}

static void count_tokens(struct gate *gate, int64_t now_ms)
{
	double earned = (double)(now_ms - gate->tokens_ms) * GATE_TOKENS_PER_S / 1000;

	gate->tokens = least(gate->tokens + earned, GATE_TOKENS_MAX);
	gate->tokens_ms = now_ms;
}

int64_t gate_ask(struct gate *gate, const struct gate_pass *pass, int64_t now_ms)
{
	double slots = most(gate->limit, 1);

	if (gate->state == GATE_FAILING && gate->is_probed)
		return GATE_FULL;
	if (gate->state == GATE_SLOWED && gate->running >= (unsigned)slots)
		return GATE_FULL;
	if (gate->state != GATE_OPEN && now_ms < gate->not_before_ms)
		return gate->not_before_ms - now_ms;
	if (gate->state == GATE_FAILING || !pass->is_retry)
		return 0;
	count_tokens(gate, now_ms);
	if (gate->tokens >= 1)
		return 0;
	return (int64_t)((1 - gate->tokens) * 1000 / GATE_TOKENS_PER_S) + 1;
}

void gate_start(struct gate *gate, struct gate_pass *pass, int64_t now_ms)
{
	pass->started_ms = now_ms;
	pass->is_probe = gate->state == GATE_FAILING;
	gate->running++;
	if (pass->is_probe) {
		gate->is_probed = true;
	} else if (pass->is_retry) {
		count_tokens(gate, now_ms);
		gate->tokens = most(gate->tokens - 1, 0);
	}
	if (gate->state == GATE_SLOWED && gate->limit < 1)
		gate->not_before_ms = now_ms + (int64_t)(GATE_DISTANCE_MS * (1 / gate->limit - 1));
}

void gate_end(struct gate *gate, struct gate_pass *pass)
{
	gate->running--;
	if (pass->is_probe)
		gate->is_probed = false;
}

static void slow_down(struct gate *gate, double limit, double threshold, int64_t now_ms)
{
	gate->state = GATE_SLOWED;
	gate->limit = most(limit, GATE_LIMIT_MIN);
	gate->threshold = threshold;
	gate->changed_ms = now_ms;
}

static void speed_up(struct gate *gate, int64_t now_ms)
{
	if (now_ms - gate->throttled_ms >= GATE_CALM_MS)
		gate->limit *= 2;
	else if (gate->limit < gate->threshold)
		gate->limit = least(gate->limit * 2, gate->threshold);
	else
		gate->limit++;
	gate->changed_ms = now_ms;
	/* What the old limit demanded shall not hold up the new one. */
	gate->not_before_ms =
		least((double)gate->not_before_ms,
		      (double)now_ms + GATE_DISTANCE_MS * most(1 / gate->limit - 1, 0));
	if (gate->limit < GATE_LIMIT_MAX)
		return;
	gate->state = GATE_OPEN;
	gate->limit = GATE_LIMIT_MAX;
}

void gate_succeed(struct gate *gate, const struct gate_pass *pass, int64_t now_ms)
{
	gate->failures = 0;
	gate->tokens = least(gate->tokens + GATE_TOKENS_PER_SUCCESS, GATE_TOKENS_MAX);
	if (gate->state == GATE_FAILING) {
		slow_down(gate, LIMIT_AFTER_OUTAGE, THRESHOLD_AFTER_OUTAGE, now_ms);
		gate->not_before_ms = now_ms;
	} else if (gate->state == GATE_SLOWED && pass->started_ms >= gate->changed_ms &&
		   now_ms - gate->changed_ms >= GATE_CHANGE_MS) {
		speed_up(gate, now_ms);
	}
}

static void throttle(struct gate *gate, const struct gate_pass *pass, int64_t retry_after_ms,
		     int64_t now_ms)
{
	double used = gate->running + 1; /* this one has ended */
	double pause_ms = least((double)retry_after_ms, GATE_RETRY_AFTER_MAX_MS);

	gate->throttled_ms = now_ms;
	if (gate->state == GATE_OPEN)
		slow_down(gate, used / 2, used / 2, now_ms);
	else if (gate->state == GATE_SLOWED && pass->started_ms >= gate->changed_ms)
		slow_down(gate, least(gate->limit, used) / 2,
			  most(least(gate->limit / 2, gate->threshold), 1), now_ms);
	if (retry_after_ms > 0 && gate->not_before_ms < now_ms + (int64_t)pause_ms)
		gate->not_before_ms = now_ms + (int64_t)pause_ms;
}

static void fail(struct gate *gate, const struct gate_pass *pass, int64_t now_ms, double random)
{
	if (gate->failures++ == 0)
		gate->failing_ms = now_ms;
	if (gate->state != GATE_FAILING) {
		if (gate->failures < GATE_FAILURES_MAX)
			return;
		gate->state = GATE_FAILING;
		gate->is_probed = false;
		gate->probe_pause_ms = GATE_PROBE_PAUSE_MS;
	} else if (!pass->is_probe) {
		return;
	}
	gate->not_before_ms = now_ms + (int64_t)(gate->probe_pause_ms * (1 + random) / 2);
	gate->probe_pause_ms =
		least(gate->probe_pause_ms * GATE_PROBE_FACTOR, GATE_PROBE_PAUSE_MAX_MS);
}

void gate_fail(struct gate *gate, const struct gate_pass *pass, enum error_class class,
	       int64_t retry_after_ms, int64_t now_ms, double random)
{
	if (class == ERROR_THROTTLED && gate->state == GATE_FAILING)
		gate_succeed(gate, pass, now_ms); /* it is there again, and busy */
	if (class == ERROR_THROTTLED)
		throttle(gate, pass, retry_after_ms, now_ms);
	else if (class == ERROR_TRANSIENT)
		fail(gate, pass, now_ms, random);
}

const char *gate_state_name(enum gate_state state)
{
	static const char *const names[GATE_STATE_COUNT] = { "open", "slowed", "failing" };

	return names[state];
}
