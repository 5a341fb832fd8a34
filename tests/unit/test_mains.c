#include "wait/mains.h"

#include "executor/process/files.h"

#include <errno.h>
#include <setjmp.h>
#include <signal.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>

#include <cmocka.h>

#include "tests/unit/scratch.h"

static const char members[] = "{\"containerSet\":{\"containers\":[{\"name\":\"a\"},"
			      "{\"name\":\"b\",\"dependencies\":[\"a\"]}]}}";

static struct event_loop *loop;
static struct template *template;
static struct mains mains;
static const struct log quiet = { .fd = -1, .level = LOG_ERROR };

static void start(int64_t grace_s)
{
	const struct environment environment = { .grace_s = grace_s };
	struct error err = ERROR_NONE;

	assert_int_equal(template_parse(members, strlen(members), "test", &template, &err), 0);
	if (mains_init(&mains, loop, template, &environment, scratch_path(""), &quiet, &err) < 0)
		fail_msg("%s", err.message);
}

static void stop(void)
{
	mains_done(&mains);
	template_free(template);
}

static void on_signal(struct channel_client *client, int signo)
{
	(void)client;
	(void)signo;
}

static void on_lost(struct channel_client *client)
{
	(void)client;
}

static void connect_as(struct channel_client *client, const char *name)
{
	*client = (struct channel_client){ .on_signal = on_signal, .on_lost = on_lost };
	assert_int_equal(channel_client_connect(client, loop, scratch_path(""), name), 0);
}

static void run(void)
{
	for (int i = 0; i < 4; i++)
		assert_int_equal(event_loop_poll(loop), 0);
}

/* b waits for the exit code file of a, and mains for b: it must come, whoever writes it. */
static void test_dependants_of_a_lost_wrapper_go_on(void **state)
{
	struct channel_client a, b;
	int code = -1;

	(void)state;
	start(30);
	connect_as(&a, "a");
	connect_as(&b, "b");
	run();
	assert_int_equal(mains_count(&mains, MAIN_ALIVE), 2);
	channel_client_done(&a);
	run();
	assert_int_equal(mains_count(&mains, MAIN_LOST), 1);
	assert_int_equal(files_read_exit_code(scratch_path(""), "a", &code), 0);
	assert_int_equal(code, 137);
	assert_false(mains.is_done);
	assert_int_equal(files_write_exit_code(scratch_path(""), "b", 64, NULL), 0);
	channel_client_done(&b);
	run();
	assert_int_equal(mains_count(&mains, MAIN_ENDED), 1);
	assert_int_equal(files_read_exit_code(scratch_path(""), "b", &code), 0);
	assert_int_equal(code, 64);
	assert_true(mains.is_done);
	stop();
}

static char lost[16];

static void note_lost(struct mains *self, const char *container)
{
	(void)self;
	snprintf(lost, sizeof(lost), "%s", container);
}

/* Who has not come is asked not to begin, and is not waited for; who lives is. */
static void test_finishing_up(void **state)
{
	struct channel_client a;

	(void)state;
	unlink(scratch_path("ctr/a/exitcode"));
	unlink(scratch_path("ctr/b/exitcode"));
	start(30);
	mains.on_lost = note_lost;
	connect_as(&a, "a");
	run();
	mains_finish_up(&mains);
	assert_false(mains.is_done);
	assert_int_equal(files_take_signal(scratch_path(""), "a"), -ENOENT);
	assert_int_equal(files_take_signal(scratch_path(""), "b"), SIGTERM);
	/* A second request changes nothing. */
	mains_finish_up(&mains);
	assert_int_equal(files_take_signal(scratch_path(""), "b"), -ENOENT);
	channel_client_done(&a);
	run();
	assert_true(mains.is_done);
	assert_true(mains.is_over);
	assert_string_equal(lost, "a");
	stop();
}

/* A living wrapper is given up on after 2/3 of a short grace period, and waited for again. */
static void test_late_wrapper(void **state)
{
	struct channel_client a;

	(void)state;
	unlink(scratch_path("ctr/a/exitcode"));
	assert_int_equal(files_write_exit_code(scratch_path(""), "b", 0, NULL), 0);
	start(1);
	connect_as(&a, "a");
	run();
	mains_finish_up(&mains);
	assert_int_equal(event_loop_wait(loop, &mains.is_done), 0);
	assert_false(mains.is_over);
	assert_int_equal(mains_count(&mains, MAIN_ALIVE), 1);
	assert_int_equal(files_write_exit_code(scratch_path(""), "a", 137, NULL), 0);
	channel_client_done(&a);
	assert_true(mains_await_rest(&mains));
	assert_int_equal(mains_count(&mains, MAIN_ENDED), 2);
	/* All have ended: nothing is waited for. */
	assert_true(mains_await_rest(&mains));
	stop();
}

/* The longest grace period that an environment can hold is no short one. */
static void test_endless_grace(void **state)
{
	struct channel_client a;

	(void)state;
	unlink(scratch_path("ctr/a/exitcode"));
	unlink(scratch_path("ctr/b/exitcode"));
	start(ENVIRONMENT_GRACE_MAX_S);
	connect_as(&a, "a");
	run();
	mains_finish_up(&mains);
	run();
	assert_false(mains.is_done);
	channel_client_done(&a);
	run();
	assert_true(mains.is_done);
	stop();
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
		cmocka_unit_test(test_dependants_of_a_lost_wrapper_go_on),
		cmocka_unit_test(test_finishing_up),
		cmocka_unit_test(test_late_wrapper),
		cmocka_unit_test(test_endless_grace),
	};

	return cmocka_run_group_tests(tests, set_up, tear_down);
}
