#include "wait/mains.h"

#include "executor/process/files.h"

#include <errno.h>
#include <fcntl.h>
#include <setjmp.h>
#include <signal.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>

#include <cmocka.h>

#include "tests/unit/scratch.h"

static const char members[] = "{\"containerSet\":{\"containers\":[{\"name\":\"a\"},"
			      "{\"name\":\"b\",\"dependencies\":[\"a\"]}]}}";

static char root[64]; /* what scratch_path() returns does not last */
static struct event_loop *loop;
static struct template *template;
static struct mains mains;
static const struct log quiet = { .fd = -1, .level = LOG_ERROR };

static void start(int64_t grace_s)
{
	const struct environment environment = { .grace_s = grace_s };
	struct error err = ERROR_NONE;

	assert_int_equal(template_parse(members, strlen(members), "test", &template, &err), 0);
	if (mains_init(&mains, loop, template, &environment, root, &quiet, &err) < 0)
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
	mains_finish_up(&mains, 0, 0);
	assert_false(mains.is_done);
	assert_int_equal(access(scratch_path("ctr/a/signal"), F_OK), -1);
	assert_string_equal(scratch_read("ctr/b/signal"), "15");
	assert_int_equal(unlink(scratch_path("ctr/b/signal")), 0);
	/* A second request changes nothing. */
	mains_finish_up(&mains, 0, 0);
	assert_int_equal(access(scratch_path("ctr/b/signal"), F_OK), -1);
	channel_client_done(&a);
	run();
	assert_true(mains.is_done);
	assert_true(mains.is_over);
	assert_string_equal(lost, "a");
	stop();
}

/* The request may be seen before the connections that were made earlier. */
static void test_finishing_up_with_wrappers_that_wait_to_be_heard(void **state)
{
	struct channel_client a, b;

	(void)state;
	unlink(scratch_path("ctr/a/exitcode"));
	unlink(scratch_path("ctr/b/exitcode"));
	start(30);
	connect_as(&a, "a");
	connect_as(&b, "b");
	mains_finish_up(&mains, 0, 0);
	assert_int_equal(mains_count(&mains, MAIN_ALIVE), 2);
	assert_false(mains.is_done);
	assert_int_equal(access(scratch_path("ctr/a/signal"), F_OK), -1);
	assert_int_equal(access(scratch_path("ctr/b/signal"), F_OK), -1);
	channel_client_done(&a);
	channel_client_done(&b);
	run();
	assert_true(mains.is_done);
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
	mains_finish_up(&mains, 0, 0);
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

/* Lost is final: the code 137 is out, and others may have acted on it. */
static void test_a_hello_after_the_loss(void **state)
{
	struct channel_client a, again, b;
	int code = -1;

	(void)state;
	unlink(scratch_path("ctr/a/exitcode"));
	unlink(scratch_path("ctr/b/exitcode"));
	start(30);
	connect_as(&a, "a");
	connect_as(&b, "b");
	run();
	channel_client_done(&a);
	run();
	connect_as(&again, "a");
	run();
	assert_int_equal(mains_count(&mains, MAIN_LOST), 1);
	assert_int_equal(mains_count(&mains, MAIN_ALIVE), 1);
	channel_client_done(&b);
	run();
	assert_true(mains.is_done); /* whoever that is, is not waited for */
	channel_client_done(&again);
	run();
	assert_int_equal(mains_count(&mains, MAIN_LOST), 2);
	assert_int_equal(files_read_exit_code(root, "a", &code), 0);
	assert_int_equal(code, 137);
	stop();
}

/* Somebody else says that he is a, and leaves: the real one is still there. */
static void test_a_second_hello(void **state)
{
	struct channel_client a, forger;

	(void)state;
	unlink(scratch_path("ctr/a/exitcode"));
	unlink(scratch_path("ctr/b/exitcode"));
	start(30);
	connect_as(&a, "a");
	run();
	connect_as(&forger, "a");
	run();
	channel_client_done(&forger);
	run();
	assert_int_equal(mains_count(&mains, MAIN_ALIVE), 1);
	assert_int_equal(mains_count(&mains, MAIN_LOST), 0);
	channel_client_done(&a);
	run();
	assert_int_equal(mains_count(&mains, MAIN_LOST), 1);
	stop();
}

/* A signal file that is written in two pieces, and then again by who has it open. */
static void test_a_careless_signal_file(void **state)
{
	struct channel_client a;
	int fd;

	(void)state;
	unlink(scratch_path("ctr/a/exitcode"));
	unlink(scratch_path("ctr/b/exitcode"));
	start(30);
	connect_as(&a, "a");
	run();
	fd = open(scratch_path("ctr/a/signal"), O_WRONLY | O_CREAT | O_CLOEXEC, 0666);
	assert_int_equal(write(fd, "1", 1), 1);
	run();
	assert_int_equal(terminator_sent(&mains.terminator, 0), 0);
	assert_int_equal(write(fd, "5", 1), 1);
	run();
	assert_int_equal(terminator_sent(&mains.terminator, 0), SIGTERM);
	assert_int_equal(pwrite(fd, "9 ", 2, 0), 2);
	run();
	assert_int_equal(terminator_sent(&mains.terminator, 0), SIGKILL);
	close(fd);
	channel_client_done(&a);
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
	mains_finish_up(&mains, 0, 0);
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
	if (!loop || scratch_set_up(state) < 0)
		return -1;
	snprintf(root, sizeof(root), "%s", scratch_path(""));
	return 0;
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
		cmocka_unit_test(test_a_hello_after_the_loss),
		cmocka_unit_test(test_a_second_hello),
		cmocka_unit_test(test_a_careless_signal_file),
		cmocka_unit_test(test_finishing_up),
		cmocka_unit_test(test_finishing_up_with_wrappers_that_wait_to_be_heard),
		cmocka_unit_test(test_late_wrapper),
		cmocka_unit_test(test_endless_grace),
	};

	return cmocka_run_group_tests(tests, set_up, tear_down);
}
