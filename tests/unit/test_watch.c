#include "executor/event/watch.h"

#include "executor/base/clock.h"
#include "executor/base/fd.h"

#include <errno.h>
#include <fcntl.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdint.h>
#include <stdio.h>
#include <sys/inotify.h>
#include <sys/stat.h>
#include <sys/timerfd.h>
#include <unistd.h>

#include <cmocka.h>

#include "tests/unit/scratch.h"

/* Longer than any of them takes to be noticed. */
#define QUIET_MS 40

static struct event_loop *loop;
static struct event_watch watch;
static int looks;

static void look(struct event_watch *self)
{
	assert_ptr_equal(self, &watch);
	looks++;
}

/* How often it was looked since the last call. */
static int seen(void)
{
	int before;

	assert_int_equal(event_loop_pause(loop, QUIET_MS), 0);
	before = looks;
	looks = 0;
	return before;
}

static void start(const char *directory)
{
	mkdir(scratch_path(directory), 0755);
	looks = 0;
	assert_int_equal(event_watch_init(&watch, loop, look), 0);
	event_watch_add(&watch, scratch_path(directory), EVENT_WATCH_NAMES);
	assert_false(watch.is_polling);
	assert_int_equal(seen(), 0);
}

static void test_what_wakes(void **state)
{
	int fd;

	(void)state;
	start("wakes");
	scratch_write("wakes/new", "x");
	assert_true(seen() > 0);
	scratch_write("wakes/new", "y");
	assert_true(seen() > 0);
	assert_int_equal(mkdir(scratch_path("wakes/directory"), 0755), 0);
	assert_true(seen() > 0);
	assert_int_equal(file_replace(scratch_path("wakes/new"), "z", 1, 0644, NULL), 0);
	assert_true(seen() > 0);
	scratch_write("beside", "x");
	assert_int_equal(seen(), 0);
	assert_int_equal(rename(scratch_path("beside"), scratch_path("wakes/moved")), 0);
	assert_true(seen() > 0);
	assert_int_equal(symlink("nowhere", scratch_path("wakes/link")), 0);
	assert_true(seen() > 0);
	fd = open(scratch_path("wakes/new"), O_WRONLY | O_APPEND | O_CLOEXEC);
	assert_int_equal(write(fd, "more", 4), 4);
	assert_int_equal(seen(), 0); /* appended to only */
	close(fd);
	assert_true(seen() > 0);
	event_watch_done(&watch);
}

static void test_what_does_not_wake(void **state)
{
	(void)state;
	start("quiet");
	scratch_write("quiet/file", "x");
	mkdir(scratch_path("quiet/below"), 0755);
	seen();
	scratch_read("quiet/file");
	chmod(scratch_path("quiet/file"), 0600);
	scratch_write("quiet/below/file", "x");
	unlink(scratch_path("quiet/file"));
	assert_int_equal(seen(), 0);
	event_watch_done(&watch);
	scratch_write("quiet/later", "x");
	assert_int_equal(seen(), 0);
}

static void test_content_of_a_file_that_stays_open(void **state)
{
	int fd;

	(void)state;
	start("content");
	event_watch_add(&watch, scratch_path("content"), EVENT_WATCH_CONTENT);
	scratch_write("content/file", "x");
	seen();
	fd = open(scratch_path("content/file"), O_WRONLY | O_APPEND | O_CLOEXEC);
	assert_int_equal(write(fd, "more", 4), 4);
	assert_true(seen() > 0);
	close(fd);
	event_watch_done(&watch);
}

static void test_several_directories(void **state)
{
	(void)state;
	start("first");
	mkdir(scratch_path("second"), 0755);
	event_watch_add(&watch, scratch_path("second"), EVENT_WATCH_NAMES);
	scratch_write("second/file", "x");
	assert_true(seen() > 0);
	scratch_write("first/file", "x");
	assert_true(seen() > 0);
	event_watch_done(&watch);
}

/* A burst is one look or a few, not one per name. */
static void test_burst(void **state)
{
	char name[32];

	(void)state;
	start("burst");
	for (int i = 0; i < 1000; i++) {
		snprintf(name, sizeof(name), "burst/%d", i);
		scratch_write(name, "");
	}
	assert_in_range(seen(), 1, 20);
	event_watch_done(&watch);
}

static void end_watch(struct event_watch *self)
{
	looks++;
	event_watch_done(self);
}

static void test_may_end_in_its_callback(void **state)
{
	(void)state;
	start("ends");
	watch.callback = end_watch;
	scratch_write("ends/a", "x");
	assert_int_equal(seen(), 1);
	scratch_write("ends/b", "x");
	assert_int_equal(seen(), 0);
}

static void check_polling(void)
{
	struct itimerspec left;

	assert_true(watch.is_polling);
	assert_int_equal(timerfd_gettime(watch.poll.source.fd, &left), 0);
	assert_in_range(left.it_value.tv_sec * 1000 + left.it_value.tv_nsec / 1000000, 1,
			EVENT_WATCH_POLL_MS);
	/* The two seconds are not waited for: the timer is made to fire now. */
	event_timer_set(&watch.poll, 1);
	assert_int_equal(seen(), 1);
	assert_int_equal(timerfd_gettime(watch.poll.source.fd, &left), 0);
	assert_true(left.it_value.tv_sec > 0 || left.it_value.tv_nsec > 0);
	event_watch_done(&watch);
}

static void test_polls_when_a_watch_cannot_be_had(void **state)
{
	(void)state;
	looks = 0;
	assert_int_equal(event_watch_init(&watch, loop, look), 0);
	event_watch_add(&watch, scratch_path("does-not-exist"), EVENT_WATCH_NAMES);
	check_polling();
}

static void test_polls_when_inotify_is_exhausted(void **state)
{
	static int taken[4096];
	int count = 0;

	(void)state;
	while (count < 4096 && (taken[count] = inotify_init1(IN_CLOEXEC)) >= 0)
		count++;
	if (count == 4096) {
		while (count > 0)
			close(taken[--count]);
		print_message("needs fs.inotify.max_user_instances below 4096\n");
		skip();
	}
	assert_int_equal(errno, EMFILE);
	looks = 0;
	assert_int_equal(event_watch_init(&watch, loop, look), 0);
	while (count > 0)
		close(taken[--count]);
	event_watch_add(&watch, scratch_path(""), EVENT_WATCH_NAMES);
	check_polling();
}

static int set_up(void **state)
{
	loop = event_loop_new();
	return loop ? scratch_set_up(state) : -1;
}

static int tear_down(void **state)
{
	event_loop_free(loop);
	return scratch_tear_down(state);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_what_wakes),
		cmocka_unit_test(test_what_does_not_wake),
		cmocka_unit_test(test_content_of_a_file_that_stays_open),
		cmocka_unit_test(test_several_directories),
		cmocka_unit_test(test_burst),
		cmocka_unit_test(test_may_end_in_its_callback),
		cmocka_unit_test(test_polls_when_a_watch_cannot_be_had),
		cmocka_unit_test(test_polls_when_inotify_is_exhausted),
	};

	return cmocka_run_group_tests(tests, set_up, tear_down);
}
