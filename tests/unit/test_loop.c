#include "executor/event/loop.h"

#include "executor/base/cleanup.h"
#include "executor/base/clock.h"

#include <errno.h>
#include <fcntl.h>
#include <setjmp.h>
#include <stdarg.h>
#include <string.h>
#include <sys/eventfd.h>
#include <time.h>

#include <cmocka.h>

#define SOURCES 40

static struct event_loop *loop;

static int set_up(void **state)
{
	(void)state;
	alarm(60);
	loop = event_loop_new();
	return loop ? 0 : -1;
}

static int tear_down(void **state)
{
	(void)state;
	event_loop_free(loop);
	return 0;
}

/* --- timers ----------------------------------------------------------------------------- */

struct entry {
	struct event_timer timer;
	int *order, *count;
	int number;
	bool *done;
};

static void note(struct event_timer *timer)
{
	struct entry *entry = (struct entry *)timer;

	entry->order[(*entry->count)++] = entry->number;
	if (entry->done)
		*entry->done = true;
}

static void test_timers_fire_in_order(void **state)
{
	static const int delays[] = { 30, 1, 20, 0, 10 }, expected[] = { 3, 1, 4, 2, 0 };
	struct entry entries[5];
	int order[5], count = 0;
	bool done = false;
	int64_t start = clock_now_ms();

	(void)state;
	for (int i = 0; i < 5; i++) {
		entries[i] = (struct entry){ .order = order, .count = &count, .number = i };
		assert_int_equal(event_timer_init(&entries[i].timer, loop, note), 0);
		event_timer_set(&entries[i].timer, delays[i]);
	}
	entries[0].done = &done;
	assert_int_equal(event_loop_wait(loop, &done), 0);
	assert_true(clock_now_ms() - start >= 29);
	assert_int_equal(count, 5);
	assert_memory_equal(order, expected, sizeof(order));
	for (int i = 0; i < 5; i++)
		event_timer_done(&entries[i].timer);
}

/* Times before 1970, in the past and just ahead fire; those far ahead do not. */
static void test_timers_on_the_wall_clock(void **state)
{
	const int64_t now = (int64_t)time(NULL);
	const int64_t when[] = { CLOCK_ZERO_TIME_S, -1, 0, now - 1, now + 1 };
	int order[8], count = 0;
	struct timespec after;
	bool done = false;
	struct entry entry = { .order = order, .count = &count, .done = &done };

	(void)state;
	assert_int_equal(event_timer_init_wall(&entry.timer, loop, note), 0);
	for (size_t i = 0; i < sizeof(when) / sizeof(when[0]); i++) {
		done = false;
		event_timer_set_at(&entry.timer, when[i]);
		assert_int_equal(event_loop_wait(loop, &done), 0);
	}
	clock_gettime(CLOCK_REALTIME, &after); /* time() may be a tick behind */
	assert_true(after.tv_sec >= now + 1);
	done = false;
	event_timer_set_at(&entry.timer, now + 3600);
	event_timer_set_at(&entry.timer, INT64_MAX);
	assert_int_equal(event_loop_pause(loop, 10), 0);
	assert_false(done);
	event_timer_done(&entry.timer);
}

static void test_timer_moved_and_cleared(void **state)
{
	struct entry moved = { .number = 1 }, cleared = { .number = 2 };
	int order[4], count = 0;
	bool done = false;

	(void)state;
	event_timer_init(&moved.timer, loop, note);
	event_timer_init(&cleared.timer, loop, note);
	moved.order = cleared.order = order;
	moved.count = cleared.count = &count;
	moved.done = &done;
	event_timer_set(&moved.timer, 100000);
	event_timer_set(&moved.timer, 5);
	event_timer_set(&cleared.timer, 1);
	event_timer_clear(&cleared.timer);
	assert_int_equal(event_loop_wait(loop, &done), 0);
	assert_int_equal(count, 1);
	/* It fires once. */
	assert_int_equal(event_loop_pause(loop, 10), 0);
	assert_int_equal(count, 1);
	/* Fired, but not yet dispatched, then cleared: nothing comes. */
	event_timer_set(&moved.timer, -5);
	usleep(2000);
	event_timer_clear(&moved.timer);
	assert_int_equal(event_loop_poll(loop), 0);
	assert_int_equal(count, 1);
	event_timer_done(&moved.timer);
	event_timer_done(&moved.timer);
	event_timer_done(&cleared.timer);
	memset(&moved, 0, sizeof(moved));
	event_timer_done(&moved.timer);
}

/* --- sources ---------------------------------------------------------------------------- */

struct member {
	struct event_source source;
	struct member **all; /* all[i] = NULL when it is gone */
	int number;
	int *calls;
};

static struct member *join(struct member **all, int number, int *calls)
{
	struct member *member = calloc(1, sizeof(*member));

	member->source.fd = eventfd(1, EFD_CLOEXEC | EFD_NONBLOCK); /* readable at once */
	member->source.name = "member";
	member->all = all;
	member->number = number;
	member->calls = calls;
	all[number] = member;
	return member;
}

static void leave(struct member *member)
{
	event_remove(&member->source);
	event_remove(&member->source);
	close(member->source.fd);
	member->all[member->number] = NULL;
	free(member);
}

/* The first that is called ends and frees all, itself included. */
static void end_all(struct event_source *source, uint32_t revents)
{
	struct member *self = (struct member *)source, **all = self->all;

	assert_true(revents & EPOLLIN);
	++*self->calls;
	for (int i = 0; i < SOURCES; i++)
		if (all[i])
			leave(all[i]);
}

static void test_freed_in_the_same_batch(void **state)
{
	struct member *all[SOURCES];
	int calls = 0;

	(void)state;
	for (int i = 0; i < SOURCES; i++) { /* more than the first 16 slots */
		join(all, i, &calls)->source.callback = end_all;
		assert_int_equal(event_add(loop, &all[i]->source, EPOLLIN), 0);
	}
	assert_int_equal(event_loop_poll(loop), 0);
	assert_int_equal(calls, 1);
}

static void count_call(struct event_source *source, uint32_t revents)
{
	struct member *self = (struct member *)source;

	(void)revents;
	++*self->calls;
	event_remove(source);
}

/* Ends its neighbour and puts another into the slot that got free: the neighbour's event, which
 * the kernel has already given out, is not taken for the newcomer's. */
static void replace_neighbours(struct event_source *source, uint32_t revents)
{
	struct member *self = (struct member *)source, **all = self->all;
	uint64_t one;

	(void)revents;
	for (int i = 0; i < 3; i++) {
		uint32_t slot;

		if (all[i] == self)
			continue;
		slot = all[i]->source.slot;
		event_remove(&all[i]->source);
		assert_int_equal(read(all[i]->source.fd, &one, sizeof(one)), sizeof(one));
		all[i]->source.callback = count_call;
		assert_int_equal(event_add(loop, &all[i]->source, EPOLLIN), 0);
		assert_int_equal(all[i]->source.slot, slot);
	}
	event_remove(source);
}

static void test_slots_are_used_again(void **state)
{
	struct member *all[SOURCES] = { NULL };
	uint64_t one = 1;
	int calls = 0;

	(void)state;
	for (int i = 0; i < 3; i++) {
		join(all, i, &calls)->source.callback = replace_neighbours;
		assert_int_equal(event_add(loop, &all[i]->source, EPOLLIN), 0);
	}
	assert_int_equal(event_loop_poll(loop), 0);
	assert_int_equal(calls, 0);
	for (int i = 0; i < 3; i++)
		assert_int_equal(write(all[i]->source.fd, &one, sizeof(one)), sizeof(one));
	assert_int_equal(event_loop_poll(loop), 0);
	assert_int_equal(calls, 2);
	for (int i = 0; i < 3; i++)
		leave(all[i]);
}

static void test_everybody_is_called(void **state)
{
	struct member *all[SOURCES * 10];
	int calls = 0;

	(void)state;
	for (int i = 0; i < SOURCES * 10; i++) {
		join(all, i, &calls)->source.callback = count_call;
		assert_int_equal(event_add(loop, &all[i]->source, EPOLLIN), 0);
	}
	while (calls < SOURCES * 10)
		assert_int_equal(event_loop_poll(loop), 0);
	for (int i = 0; i < SOURCES * 10; i++)
		leave(all[i]);
}

static void test_change_of_interest(void **state)
{
	struct member *all[1];
	int calls = 0;

	(void)state;
	join(all, 0, &calls)->source.callback = count_call;
	assert_int_equal(event_add(loop, &all[0]->source, 0), 0);
	event_loop_poll(loop);
	assert_int_equal(calls, 0);
	assert_int_equal(event_change(&all[0]->source, EPOLLIN), 0);
	event_loop_poll(loop);
	assert_int_equal(calls, 1);
	leave(all[0]);
}

static void test_add_fails(void **state)
{
	struct event_source file = { .fd = open("/etc/passwd", O_RDONLY | O_CLOEXEC) };
	struct event_source closed = { .fd = -1 };

	(void)state;
	assert_int_equal(event_add(loop, &file, EPOLLIN), -EPERM);
	assert_int_equal(event_add(loop, &closed, EPOLLIN), -EBADF);
	assert_null(file.loop);
	event_remove(&file);
	close(file.fd);
}

static void test_loop_may_go_first(void **state)
{
	struct event_loop *brief = event_loop_new();
	struct event_timer timer;

	(void)state;
	assert_int_equal(event_timer_init(&timer, brief, note), 0);
	event_loop_free(brief);
	assert_null(timer.source.loop);
	event_timer_done(&timer);
	event_loop_free(NULL);
}

/* --- waiting ---------------------------------------------------------------------------- */

struct nested {
	struct event_timer timer;
	bool inner_done, outer_done;
	int depth, inner_r;
};

static void set_inner(struct event_timer *timer)
{
	*((struct entry *)timer)->done = true;
}

static void wait_inside(struct event_timer *timer)
{
	struct nested *self = (struct nested *)timer;
	struct entry inner = { .done = &self->inner_done };

	event_timer_init(&inner.timer, loop, set_inner);
	event_timer_set(&inner.timer, 5);
	self->inner_r = event_loop_wait(loop, &self->inner_done);
	event_timer_done(&inner.timer);
	self->outer_done = true;
}

static void test_waits_nest(void **state)
{
	struct nested nested = { .inner_r = 1 };

	(void)state;
	event_timer_init(&nested.timer, loop, wait_inside);
	event_timer_set(&nested.timer, 0);
	assert_int_equal(event_loop_wait(loop, &nested.outer_done), 0);
	assert_true(nested.inner_done);
	assert_int_equal(nested.inner_r, 0);
	event_timer_done(&nested.timer);
}

static void cancel(struct event_timer *timer)
{
	event_loop_cancel(timer->source.loop);
}

static void test_cancellation(void **state)
{
	struct entry late = { .order = (int[2]){ 0 }, .count = &(int){ 0 } };
	struct event_loop *brief = event_loop_new();
	struct event_timer canceller;
	struct error err = ERROR_NONE;
	bool never = false, late_done = false, already = true;
	int64_t start = clock_now_ms();

	(void)state;
	event_timer_init(&canceller, brief, cancel);
	event_timer_init(&late.timer, brief, note);
	event_timer_set(&canceller, 5);
	assert_false(event_loop_is_cancelled(brief));
	assert_int_equal(event_loop_wait(brief, &never), -ECANCELED);
	assert_true(event_loop_is_cancelled(brief));
	/* From now on at once, even if what is waited for is there. */
	assert_int_equal(event_loop_wait(brief, &already), -ECANCELED);
	assert_int_equal(event_loop_pause(brief, 60000), -ECANCELED);
	assert_int_equal(event_loop_poll(brief), -ECANCELED);
	assert_true(clock_now_ms() - start < 5000);
	/* What must be finished still can, and callbacks go on. */
	late.done = &late_done;
	event_timer_set(&late.timer, 5);
	assert_int_equal(event_loop_wait_uncancelled(brief, &late_done), 0);
	assert_int_equal(event_loop_cancelled_error(&err), -ECANCELED);
	assert_int_equal(err.class, ERROR_CANCELLED);
	event_timer_done(&canceller);
	event_timer_done(&late.timer);
	event_loop_free(brief);
}

static void test_what_is_done_is_not_waited_for(void **state)
{
	bool done = true;

	(void)state;
	assert_int_equal(event_loop_wait(loop, &done), 0);
	assert_int_equal(event_loop_wait_uncancelled(loop, &done), 0);
	assert_int_equal(event_loop_poll(loop), 0);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_timers_fire_in_order),
		cmocka_unit_test(test_timers_on_the_wall_clock),
		cmocka_unit_test(test_timer_moved_and_cleared),
		cmocka_unit_test(test_freed_in_the_same_batch),
		cmocka_unit_test(test_slots_are_used_again),
		cmocka_unit_test(test_everybody_is_called),
		cmocka_unit_test(test_change_of_interest),
		cmocka_unit_test(test_add_fails),
		cmocka_unit_test(test_loop_may_go_first),
		cmocka_unit_test(test_waits_nest),
		cmocka_unit_test(test_cancellation),
		cmocka_unit_test(test_what_is_done_is_not_waited_for),
	};

	return cmocka_run_group_tests(tests, set_up, tear_down);
}
