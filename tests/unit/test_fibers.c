#include "executor/event/fibers.h"

#include "executor/base/clock.h"

#include <errno.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include <cmocka.h>

static struct event_loop *loop;

/* What the jobs of a test did, in their order: "+0" started, "-0" ended. */
static struct {
	char text[4096];
	size_t running, most;
} seen;

static void note(const char *what, size_t i)
{
	size_t size = strlen(seen.text);

	snprintf(seen.text + size, sizeof(seen.text) - size, "%s%zu ", what, i);
}

static void began(size_t i)
{
	note("+", i);
	if (++seen.running > seen.most)
		seen.most = seen.running;
}

static void ended(size_t i)
{
	note("-", i);
	seen.running--;
}

static int set_up(void **state)
{
	(void)state;
	alarm(60);
	memset(&seen, 0, sizeof(seen));
	loop = event_loop_new();
	return loop ? 0 : -1;
}

static int tear_down(void **state)
{
	(void)state;
	event_loop_free(loop);
	return 0;
}

/* The later it is started, the shorter it waits. */
static int wait_less_and_less(void *context, size_t i, struct error *err)
{
	const size_t *count = context;
	int r;

	began(i);
	r = event_loop_pause(loop, (int64_t)(*count - i) * 20);
	ended(i);
	return r < 0 ? event_loop_cancelled_error(err) : 0;
}

static void test_waits_overlap(void **state)
{
	size_t count = 3;
	int64_t start_ms = clock_now_ms();

	(void)state;
	assert_int_equal(fibers_run(loop, count, 8, wait_less_and_less, &count, NULL), 0);
	assert_string_equal(seen.text, "+0 +1 +2 -2 -1 -0 ");
	assert_true(clock_now_ms() - start_ms >= 60);
}

static void test_width(void **state)
{
	size_t count = 5;

	(void)state;
	assert_int_equal(fibers_run(loop, count, 2, wait_less_and_less, &count, NULL), 0);
	assert_int_equal(seen.most, 2);
	assert_int_equal(strncmp(seen.text, "+0 +1 -1 +2 ", 12), 0);
	assert_int_equal(fibers_run(loop, 0, 2, wait_less_and_less, &count, NULL), 0);
}

static int fill_a_stack(void *context, size_t i, struct error *err)
{
	char buffer[FIBERS_STACK_BYTES / 2];
	int r = 0;

	(void)context;
	for (int round = 0; r == 0 && round < 3; round++) {
		memset(buffer, (int)i, sizeof(buffer));
		r = event_loop_poll(loop);
		for (size_t at = 0; at < sizeof(buffer); at += 512)
			if (buffer[at] != (char)i)
				return error_set(err, -EIO, "job %zu: not its own stack", i);
	}
	return r;
}

static void test_stacks_are_apart(void **state)
{
	struct error err = ERROR_NONE;

	(void)state;
	assert_int_equal(fibers_run(loop, 40, 20, fill_a_stack, NULL, &err), 0);
}

static int third_fails(void *context, size_t i, struct error *err)
{
	int r;

	(void)context;
	began(i);
	if (i == 2)
		r = error_set(err, -EIO, "job %zu: broken", i);
	else if (event_loop_pause(loop, 30000) < 0)
		r = event_loop_cancelled_error(err);
	else
		r = 0;
	ended(i);
	return r;
}

static void test_first_failure_ends_the_rest(void **state)
{
	struct error err = ERROR_NONE;
	int64_t start_ms = clock_now_ms();

	(void)state;
	assert_int_equal(fibers_run(loop, 9, 3, third_fails, NULL, &err), -EIO);
	assert_string_equal(err.message, "job 2: broken");
	assert_string_equal(seen.text, "+0 +1 +2 -2 -0 -1 ");
	assert_true(clock_now_ms() - start_ms < 10000);
	/* The loop itself is not cancelled. */
	assert_int_equal(event_loop_pause(loop, 1), 0);
}

static void cancel(struct event_timer *timer)
{
	(void)timer;
	event_loop_cancel(loop);
}

static void test_cancelled_loop(void **state)
{
	struct error err = ERROR_NONE;
	struct event_timer timer;
	size_t count = 100;

	(void)state;
	assert_int_equal(event_timer_init(&timer, loop, cancel), 0);
	event_timer_set(&timer, 20);
	assert_int_equal(fibers_run(loop, count, 2, wait_less_and_less, &count, &err), -ECANCELED);
	assert_string_equal(seen.text, "+0 +1 -0 -1 ");
	assert_int_equal(fibers_run(loop, count, 2, wait_less_and_less, &count, &err), -ECANCELED);
	assert_string_equal(err.message, "cancelled");
	assert_string_equal(seen.text, "+0 +1 -0 -1 ");
	event_timer_done(&timer);
}

static int wait_for_the_first(void *context, size_t i, struct error *err)
{
	bool *done = context;

	(void)err;
	began(i);
	if (i == 0) {
		event_loop_pause(loop, 20);
		done[0] = true;
	} else {
		assert_int_equal(event_loop_wait(loop, &done[i - 1]), 0);
		done[i] = true;
	}
	ended(i);
	return 0;
}

/* One job may wait for what another one does, without a descriptor between them. */
static void test_jobs_wait_for_each_other(void **state)
{
	bool done[4] = { false };

	(void)state;
	assert_int_equal(fibers_run(loop, 4, 4, wait_for_the_first, done, NULL), 0);
	assert_string_equal(seen.text, "+0 +1 +2 +3 -0 -1 -2 -3 ");
}

static int have_children(void *context, size_t i, struct error *err)
{
	size_t count = 3;
	int r;

	(void)context;
	note("(", i);
	r = fibers_run(loop, count, 3, wait_less_and_less, &count, err);
	note(")", i);
	return r;
}

static void test_nested(void **state)
{
	(void)state;
	assert_int_equal(fibers_run(loop, 1, 1, have_children, NULL, NULL), 0);
	assert_string_equal(seen.text, "(0 +0 +1 +2 -2 -1 -0 )0 ");
}

/* Job 0 has children that wait for long; one of job 1's fails. */
static int wait_or_fail_with_children(void *context, size_t i, struct error *err)
{
	(void)context;
	return fibers_run(loop, i == 0 ? 2 : 3, 3, third_fails, NULL, err);
}

static void test_failure_reaches_grandchildren(void **state)
{
	struct error err = ERROR_NONE;
	int64_t start_ms = clock_now_ms();

	(void)state;
	assert_int_equal(fibers_run(loop, 2, 2, wait_or_fail_with_children, NULL, &err), -EIO);
	assert_string_equal(err.message, "job 2: broken");
	assert_true(clock_now_ms() - start_ms < 10000);
	assert_int_equal(seen.running, 0);
}

static int work_for_long(void *context, size_t i, struct error *err)
{
	unsigned *turns = context;
	int64_t end_ms = clock_now_ms() + 50;

	(void)err;
	while (clock_now_ms() < end_ms) {
		turns[i]++;
		if (event_loop_poll(loop) < 0)
			return -ECANCELED;
	}
	return 0;
}

/* Jobs that only compute share the time, and the loop goes on. */
static void test_poll_gives_way(void **state)
{
	unsigned turns[3] = { 0 };

	(void)state;
	assert_int_equal(fibers_run(loop, 3, 3, work_for_long, turns, NULL), 0);
	for (int i = 0; i < 3; i++)
		assert_true(turns[i] > 10);
	assert_true(turns[0] < turns[2] * 2 && turns[2] < turns[0] * 2);
}

struct turns {
	size_t last; /* whose turn it was */
	unsigned calls, changes;
};

static int work_all_the_time(void *context, size_t i, struct error *err)
{
	struct turns *turns = context;
	int64_t end_ms = clock_now_ms() + 50;

	(void)err;
	while (clock_now_ms() < end_ms) {
		turns->calls++;
		turns->changes += turns->last != i;
		turns->last = i;
		if (event_loop_give_turn(loop) < 0)
			return -ECANCELED;
	}
	return 0;
}

/* They share the time also if they ask much more often than others have to have their turn. */
static void test_turns_of_a_millisecond(void **state)
{
	struct turns turns = { .last = 3 };
	int64_t start_ms = clock_now_ms();

	(void)state;
	assert_int_equal(fibers_run(loop, 3, 3, work_all_the_time, &turns, NULL), 0);
	assert_in_range(turns.changes, 6, clock_now_ms() - start_ms + 3);
	assert_true(turns.calls > 10 * turns.changes);
	event_loop_cancel(loop);
	assert_int_equal(event_loop_give_turn(loop), -ECANCELED);
	assert_int_equal(event_loop_give_turn(loop), -ECANCELED);
}

static int do_nothing(void *context, size_t i, struct error *err)
{
	unsigned *count = context;

	(void)i, (void)err;
	(*count)++;
	return 0;
}

static void test_many(void **state)
{
	unsigned count = 0;

	(void)state;
	assert_int_equal(fibers_run(loop, 20000, 7, do_nothing, &count, NULL), 0);
	assert_int_equal(count, 20000);
}

#define TEST(name) cmocka_unit_test_setup_teardown(name, set_up, tear_down)

int main(void)
{
	const struct CMUnitTest tests[] = {
		TEST(test_waits_overlap),
		TEST(test_width),
		TEST(test_stacks_are_apart),
		TEST(test_first_failure_ends_the_rest),
		TEST(test_cancelled_loop),
		TEST(test_jobs_wait_for_each_other),
		TEST(test_nested),
		TEST(test_failure_reaches_grandchildren),
		TEST(test_poll_gives_way),
		TEST(test_turns_of_a_millisecond),
		TEST(test_many),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
