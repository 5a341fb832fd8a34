/* The gate of an endpoint: its rules one by one, and together with the retry engine in a simulated world
 * of workers, a server and a clock that the test moves. */
#include "executor/http/gate.h"
#include "executor/http/retry.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

/* --- Rules ------------------------------------------------------------------------------------- */

static void run_one(struct gate *gate, struct gate_pass *pass, int64_t now_ms)
{
	assert_int_equal(gate_ask(gate, pass, now_ms), 0);
	gate_start(gate, pass, now_ms);
}

static void test_open(void **state)
{
	struct gate_pass passes[100] = { 0 };
	struct gate gate;

	(void)state;
	gate_init(&gate, 1000);
	for (int i = 0; i < 100; i++)
		run_one(&gate, &passes[i], 1000);
	assert_int_equal(gate.running, 100);
	for (int i = 0; i < 100; i++) {
		gate_end(&gate, &passes[i]);
		gate_fail(&gate, &passes[i], i % 2 ? ERROR_PERMANENT : ERROR_NOT_FOUND, 0, 1001, 0);
	}
	assert_int_equal(gate.state, GATE_OPEN);
	assert_string_equal(gate_state_name(gate.state), "open");
}

static void test_throttled_together_is_throttled_once(void **state)
{
	struct gate_pass passes[16] = { 0 }, next = { 0 };
	struct gate gate;

	(void)state;
	gate_init(&gate, 1000);
	for (int i = 0; i < 16; i++)
		run_one(&gate, &passes[i], 1000);
	for (int i = 0; i < 16; i++) {
		gate_end(&gate, &passes[i]);
		gate_fail(&gate, &passes[i], ERROR_THROTTLED, 0, 1050, 0);
	}
	assert_int_equal(gate.state, GATE_SLOWED);
	assert_true(gate.limit == 8);
	for (int i = 0; i < 8; i++)
		run_one(&gate, &passes[i], 1051);
	assert_int_equal(gate_ask(&gate, &next, 1051), GATE_FULL);
	/* Those that started later speak of the new limit. */
	gate_end(&gate, &passes[0]);
	gate_fail(&gate, &passes[0], ERROR_THROTTLED, 0, 1080, 0);
	assert_true(gate.limit == 4);
}

static void test_distance_below_one(void **state)
{
	struct gate_pass pass = { 0 };
	struct gate gate;
	int64_t now_ms = 1000;

	(void)state;
	gate_init(&gate, now_ms);
	for (int i = 0; i < 20; i++) {
		int64_t pause_ms = gate_ask(&gate, &pass, now_ms);

		assert_in_range(pause_ms, 0, 750);
		now_ms += pause_ms;
		run_one(&gate, &pass, now_ms);
		gate_end(&gate, &pass);
		gate_fail(&gate, &pass, ERROR_THROTTLED, 0, ++now_ms, 0);
	}
	assert_true(gate.limit == GATE_LIMIT_MIN);
	assert_in_range(gate_ask(&gate, &pass, now_ms), 700, 750);
	/* And back: open again within a few seconds of good answers. */
	for (int i = 0; i < 40 && gate.state != GATE_OPEN; i++) {
		now_ms += gate_ask(&gate, &pass, now_ms);
		run_one(&gate, &pass, now_ms);
		gate_end(&gate, &pass);
		now_ms += GATE_CHANGE_MS;
		gate_succeed(&gate, &pass, now_ms);
	}
	assert_int_equal(gate.state, GATE_OPEN);
	assert_in_range(now_ms, 1000, 20000);
}

static void test_retry_after_holds_all(void **state)
{
	struct gate_pass pass = { 0 }, other = { 0 };
	struct gate gate;

	(void)state;
	gate_init(&gate, 1000);
	run_one(&gate, &pass, 1000);
	gate_end(&gate, &pass);
	gate_fail(&gate, &pass, ERROR_THROTTLED, 7000, 1000, 0);
	assert_int_equal(gate_ask(&gate, &other, 1000), 7000);
	assert_int_equal(gate_ask(&gate, &other, 7999), 1);
	assert_int_equal(gate_ask(&gate, &other, 8000), 0);
	gate_fail(&gate, &pass, ERROR_THROTTLED, INT64_MAX, 8000, 0);
	assert_int_equal(gate_ask(&gate, &other, 8000), GATE_RETRY_AFTER_MAX_MS);
}

static void test_only_probes_while_failing(void **state)
{
	struct gate_pass passes[GATE_FAILURES_MAX] = { 0 }, probe = { 0 }, other = { 0 };
	double expected = GATE_PROBE_PAUSE_MS;
	struct gate gate;
	int64_t now_ms = 1000;

	(void)state;
	gate_init(&gate, now_ms);
	for (int i = 0; i < GATE_FAILURES_MAX; i++)
		run_one(&gate, &passes[i], now_ms);
	for (int i = 0; i < GATE_FAILURES_MAX; i++) {
		assert_int_equal(gate.state, GATE_OPEN);
		gate_end(&gate, &passes[i]);
		gate_fail(&gate, &passes[i], ERROR_TRANSIENT, 0, now_ms, 0.9999);
	}
	assert_string_equal(gate_state_name(gate.state), "failing");
	for (int i = 0; i < 20; i++) {
		int64_t pause_ms = gate_ask(&gate, &probe, now_ms);

		assert_in_range(pause_ms, (int64_t)expected - 2, (int64_t)expected);
		now_ms += pause_ms;
		run_one(&gate, &probe, now_ms);
		assert_int_equal(gate_ask(&gate, &other, now_ms + 100000), GATE_FULL);
		gate_end(&gate, &probe);
		gate_fail(&gate, &probe, ERROR_TRANSIENT, 0, now_ms, 0.9999);
		expected = expected * GATE_PROBE_FACTOR < GATE_PROBE_PAUSE_MAX_MS ?
				   expected * GATE_PROBE_FACTOR :
				   GATE_PROBE_PAUSE_MAX_MS;
	}
	/* Stragglers from before change nothing. */
	gate_start(&gate, &other, now_ms);
	gate_end(&gate, &other);
	other.is_probe = false;
	gate_fail(&gate, &other, ERROR_TRANSIENT, 0, now_ms, 0);
	now_ms += gate_ask(&gate, &probe, now_ms);
	run_one(&gate, &probe, now_ms);
	gate_end(&gate, &probe);
	gate_succeed(&gate, &probe, now_ms);
	assert_int_equal(gate.state, GATE_SLOWED);
	run_one(&gate, &probe, now_ms);
	assert_int_equal(gate_ask(&gate, &other, now_ms), GATE_FULL);
}

static void test_signs_of_life_prevent_that(void **state)
{
	struct gate_pass pass = { 0 };
	struct gate gate;

	(void)state;
	gate_init(&gate, 1000);
	for (int i = 0; i < 100; i++) {
		gate_start(&gate, &pass, 1000);
		gate_end(&gate, &pass);
		if (i % GATE_FAILURES_MAX == 0)
			gate_succeed(&gate, &pass, 1000);
		else
			gate_fail(&gate, &pass, ERROR_TRANSIENT, 0, 1000, 0);
	}
	assert_int_equal(gate.state, GATE_OPEN);
}

static void test_throttled_probe(void **state)
{
	struct gate_pass pass = { 0 };
	struct gate gate;

	(void)state;
	gate_init(&gate, 1000);
	for (int i = 0; i < GATE_FAILURES_MAX; i++) {
		run_one(&gate, &pass, 1000);
		gate_end(&gate, &pass);
		gate_fail(&gate, &pass, ERROR_TRANSIENT, 0, 1000, 0);
	}
	run_one(&gate, &pass, 2000);
	gate_end(&gate, &pass);
	gate_fail(&gate, &pass, ERROR_THROTTLED, 0, 2001, 0);
	assert_int_equal(gate.state, GATE_SLOWED);
	assert_true(gate.limit <= 1);
}

static void test_retries_cost_tokens(void **state)
{
	struct gate_pass first = { 0 }, retry = { .is_retry = true };
	struct gate gate;

	(void)state;
	gate_init(&gate, 1000);
	for (int i = 0; i < (int)GATE_TOKENS_MAX; i++) {
		run_one(&gate, &retry, 1000);
		gate_end(&gate, &retry);
	}
	assert_in_range(gate_ask(&gate, &retry, 1000), 1, 501);
	assert_int_equal(gate_ask(&gate, &first, 1000), 0);
	assert_int_equal(gate_ask(&gate, &retry, 1501), 0);
	run_one(&gate, &retry, 1501);
	gate_end(&gate, &retry);
	for (int i = 0; i < 5; i++)
		gate_succeed(&gate, &first, 1501);
	assert_int_equal(gate_ask(&gate, &retry, 1501), 0);
}

/* --- A simulated world --------------------------------------------------------------------------- */

#define WORKERS_MAX 32

enum doing { IDLE, HELD, RUNNING, PAUSED };

struct worker {
	enum doing doing;
	int64_t until_ms;
	struct retry retry;
	struct gate_pass pass;
};

struct world {
	struct retry_policy policy;
	struct gate gate;
	struct worker workers[WORKERS_MAX];
	int count;
	int64_t now_ms, latency_ms;
	/* What the server says to the request that has come now. ERROR_CLASS_COUNT = it is well. */
	enum error_class (*answer)(struct world *world);
	unsigned seed;
	unsigned wanted, done, failed, requests, refused;
	int64_t bad_until_ms;
	double per_ms, stock; /* of a server with a capacity */
};

static double draw(struct world *world)
{
	world->seed = world->seed * 1664525U + 1013904223U;
	return (world->seed >> 8) / 16777216.0;
}

static void begin_world(struct world *world, int count, unsigned wanted, unsigned seed,
			enum error_class (*answer)(struct world *))
{
	*world = (struct world){
		.policy = { .rounds = 5,
			    .first_pause_ms = 1000,
			    .factor = 1.6,
			    .jitter = 0.5,
			    .min_total_ms = RETRY_MIN_TOTAL_MS },
		.count = count,
		.wanted = wanted,
		.now_ms = 1000,
		.latency_ms = 12,
		.answer = answer,
		.seed = seed * 7919 + 1,
	};
	gate_init(&world->gate, world->now_ms);
}

static void finish_request(struct world *world, struct worker *worker)
{
	enum error_class class = world->answer(world);
	int64_t pause_ms;

	gate_end(&world->gate, &worker->pass);
	worker->doing = IDLE;
	if (class == ERROR_CLASS_COUNT) {
		gate_succeed(&world->gate, &worker->pass, world->now_ms);
		world->done++;
		return;
	}
	world->refused++;
	gate_fail(&world->gate, &worker->pass, class, 0, world->now_ms, draw(world));
	pause_ms = retry_decide(&worker->retry, class, world->now_ms, draw(world));
	if (pause_ms < 0) {
		world->failed++;
		return;
	}
	worker->doing = PAUSED;
	worker->until_ms = world->now_ms + pause_ms;
}

/* What happens to a worker in this millisecond; work is left for those that are idle. */
static void step(struct world *world, struct worker *worker, unsigned *left)
{
	if (worker->doing == RUNNING && world->now_ms >= worker->until_ms)
		finish_request(world, worker);
	if (worker->doing == IDLE && *left > 0) {
		(*left)--;
		retry_begin(&worker->retry, &world->policy, NULL, NULL, "put");
		worker->pass = (struct gate_pass){ .is_retry = false };
		worker->doing = HELD;
	}
	if (worker->doing == PAUSED && world->now_ms >= worker->until_ms) {
		worker->pass = (struct gate_pass){ .is_retry = true };
		worker->doing = HELD;
	}
	if (worker->doing == HELD && gate_ask(&world->gate, &worker->pass, world->now_ms) == 0) {
		gate_start(&world->gate, &worker->pass, world->now_ms);
		world->requests++;
		worker->doing = RUNNING;
		worker->until_ms = world->now_ms + world->latency_ms;
	}
}

static void run_until(struct world *world, int64_t end_ms)
{
	unsigned left = world->wanted - world->done - world->failed;

	for (int i = 0; i < world->count; i++)
		left -= world->workers[i].doing != IDLE;
	while (world->done + world->failed < world->wanted && world->now_ms < end_ms) {
		for (int i = 0; i < world->count; i++)
			step(world, &world->workers[(i + (int)world->now_ms) % world->count],
			     &left);
		world->now_ms++;
	}
}

static enum error_class answer_outage(struct world *world)
{
	return world->now_ms < world->bad_until_ms ? ERROR_TRANSIENT : ERROR_CLASS_COUNT;
}

static void test_outage_of_20_s(void **state)
{
	struct world world;

	(void)state;
	for (unsigned seed = 0; seed < 1000; seed++) {
		begin_world(&world, 1, 1, seed, answer_outage);
		world.bad_until_ms = world.now_ms + 20000;
		run_until(&world, 1000000);
		assert_int_equal(world.done, 1);
		assert_in_range(world.requests, 4, 15);
		assert_in_range(world.now_ms, 21000, 21000 + 12100);
	}
}

static void test_outage_for_ever(void **state)
{
	struct world world;

	(void)state;
	for (unsigned seed = 0; seed < 1000; seed++) {
		begin_world(&world, 1, 1, seed, answer_outage);
		world.bad_until_ms = INT64_MAX;
		run_until(&world, 1000000);
		assert_int_equal(world.failed, 1);
		assert_in_range(world.now_ms, 61000, 121000);
		assert_in_range(world.requests, 5, 25);
	}
}

static void test_outage_is_not_amplified(void **state)
{
	struct world world;

	(void)state;
	for (unsigned seed = 0; seed < 100; seed++) {
		begin_world(&world, 16, 160, seed, answer_outage);
		world.bad_until_ms = world.now_ms + 20000;
		run_until(&world, 1000000);
		assert_int_equal(world.done, 160);
		/* What was under way, and probes. */
		assert_in_range(world.refused, 17, 40);
		assert_in_range(world.now_ms, 21000, 21000 + 10000);
	}
}

static enum error_class answer_some_throttled(struct world *world)
{
	bool is_bad = world->now_ms < world->bad_until_ms && draw(world) < 0.3;

	return is_bad ? ERROR_THROTTLED : ERROR_CLASS_COUNT;
}

static void test_slow_down_for_5_s(void **state)
{
	struct world world;

	(void)state;
	for (unsigned seed = 0; seed < 10; seed++) {
		double undisturbed =
			16.0 / 13; /* per millisecond, at a latency of 12 and a step of 1 */
		unsigned before;
		int64_t start_ms;

		begin_world(&world, 16, 10000, seed, answer_some_throttled);
		world.bad_until_ms = world.now_ms + 5000;
		run_until(&world, world.bad_until_ms);
		before = world.done;
		start_ms = world.now_ms;
		run_until(&world, 1000000);
		assert_int_equal(world.done, 10000);
		assert_in_range(world.requests, 10000, 15000);
		assert_in_range((10000 - before) / (double)(world.now_ms - start_ms) * 1000,
				undisturbed * 700, undisturbed * 1001);
	}
}

/* 200 requests per second, and 20 at once. */
static enum error_class answer_capacity(struct world *world)
{
	static int64_t last_ms;

	if (world->now_ms < last_ms)
		last_ms = world->now_ms;
	world->stock += (double)(world->now_ms - last_ms) * world->per_ms;
	last_ms = world->now_ms;
	if (world->stock > 20)
		world->stock = 20;
	if (world->stock < 1)
		return ERROR_THROTTLED;
	world->stock--;
	return ERROR_CLASS_COUNT;
}

static void test_finds_the_capacity(void **state)
{
	struct world world;

	(void)state;
	begin_world(&world, 16, 12000, 1, answer_capacity);
	world.per_ms = 0.2;
	run_until(&world, 61000);
	assert_int_equal(world.failed, 0);
	/* At least half of what the server gives, at the price of a few refusals. */
	assert_in_range(world.done, 6000, 12020);
	assert_in_range(world.refused, 1, world.done / 10);
}

static enum error_class answer_half_broken(struct world *world)
{
	return draw(world) < 0.5 ? ERROR_TRANSIENT : ERROR_CLASS_COUNT;
}

static void test_retries_are_a_share_of_the_successes(void **state)
{
	struct world world;
	double retries, allowed;

	(void)state;
	begin_world(&world, 16, 2000, 3, answer_half_broken);
	run_until(&world, 31000);
	retries = world.requests - world.done - world.failed - 16;
	allowed = GATE_TOKENS_MAX + GATE_TOKENS_PER_S * 30 + GATE_TOKENS_PER_SUCCESS * world.done +
		  32 /* probes */;
	assert_true(retries <= allowed);
	assert_true(world.done > 100);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_open),
		cmocka_unit_test(test_throttled_together_is_throttled_once),
		cmocka_unit_test(test_distance_below_one),
		cmocka_unit_test(test_retry_after_holds_all),
		cmocka_unit_test(test_only_probes_while_failing),
		cmocka_unit_test(test_signs_of_life_prevent_that),
		cmocka_unit_test(test_throttled_probe),
		cmocka_unit_test(test_retries_cost_tokens),
		cmocka_unit_test(test_outage_of_20_s),
		cmocka_unit_test(test_outage_for_ever),
		cmocka_unit_test(test_outage_is_not_amplified),
		cmocka_unit_test(test_slow_down_for_5_s),
		cmocka_unit_test(test_finds_the_capacity),
		cmocka_unit_test(test_retries_are_a_share_of_the_successes),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
