#include "executor/process/inbox.h"

#include "executor/base/cleanup.h"
#include "executor/base/clock.h"

#include <errno.h>
#include <fcntl.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/wait.h>

#include <cmocka.h>

#include "tests/unit/scratch.h"

#define SIGNALS_SEEN_MAX 4096

static struct event_loop *loop;
static struct event_watch watch;
static struct inbox inbox;
static int seen[SIGNALS_SEEN_MAX];
static char root[64];
static int seen_count;
static void (*meanwhile)(void); /* once, at the next signal */

static void on_signal(struct inbox *source, int signo)
{
	void (*call)(void) = meanwhile;

	assert_ptr_equal(source, &inbox);
	assert_in_range(seen_count, 0, SIGNALS_SEEN_MAX - 1);
	seen[seen_count++] = signo;
	meanwhile = NULL;
	if (call)
		call();
}

static void on_change(struct event_watch *changed)
{
	inbox_look(&inbox, changed);
}

static void pump(int64_t ms)
{
	assert_int_equal(event_loop_pause(loop, ms), 0);
}

/* What has been asked for since the last call, as text: "15 9". */
static const char *asked(void)
{
	static char text[256];
	size_t size = 0;

	text[0] = '\0';
	for (int i = 0; i < seen_count; i++)
		size += (size_t)snprintf(text + size, sizeof(text) - size, i ? " %d" : "%d",
					 seen[i]);
	seen_count = 0;
	return text;
}

static const char *signal_path(void)
{
	return scratch_path("ctr/main/signal");
}

static bool is_there(void)
{
	struct stat st;

	return lstat(signal_path(), &st) == 0;
}

static int open_signal(void)
{
	int fd = open(signal_path(), O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0666);

	assert_true(fd >= 0);
	return fd;
}

static void say(int fd, const char *text)
{
	assert_int_equal(write(fd, text, strlen(text)), strlen(text));
}

static void test_what_a_file_asks_for(void **state)
{
	static const struct {
		const char *content, *wanted;
	} cases[] = {
		{ "1", "1" },     { "6", "6" },
		{ "9", "9" },     { "15", "15" },
		{ "15\n", "15" }, { " \t9\r\n", "9" },
		{ "64", "64" },   { "2\n", "2" },
		{ "0", "" },      { "65", "" },
		{ "143", "" },    { "-1", "" },
		{ "junk", "" },   { "15 15", "" },
		{ "15x", "" },    { "0x0f", "" },
		{ "1.5", "" },    { "SIGTERM", "" },
		{ "+9 ", "9" },   { "99999999999999999999", "" },
	};

	(void)state;
	for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
		scratch_write("ctr/main/signal", cases[i].content);
		pump(2 * INBOX_SETTLE_MS);
		assert_string_equal(asked(), cases[i].wanted);
		assert_false(is_there());
	}
}

static void test_an_empty_file_is_left_alone(void **state)
{
	(void)state;
	scratch_write("ctr/main/signal", "");
	pump(2 * INBOX_SETTLE_MS);
	assert_true(is_there());
	scratch_write("ctr/main/signal", "\n");
	pump(2 * INBOX_SETTLE_MS);
	assert_true(is_there());
	scratch_write("ctr/main/signal", "15");
	pump(5);
	assert_string_equal(asked(), "15");
}

static void test_written_in_two_pieces(void **state)
{
	int fd = open_signal();

	(void)state;
	pump(5);
	say(fd, "1");
	pump(INBOX_SETTLE_MS / 5);
	assert_string_equal(asked(), "");
	say(fd, "5");
	pump(5); /* still open: nothing but the write itself can tell */
	assert_string_equal(asked(), "15");
	close(fd);
	pump(2 * INBOX_SETTLE_MS);
	assert_string_equal(asked(), "");
}

/* A digit that stands alone for long is a number; what is added to it later is another. */
static void test_a_digit_that_stays_alone(void **state)
{
	int fd = open_signal();

	(void)state;
	say(fd, "2");
	pump(2 * INBOX_SETTLE_MS);
	assert_string_equal(asked(), "2");
	assert_true(inbox.is_settled);
	say(fd, "3");
	pump(5);
	assert_string_equal(asked(), "23");
	close(fd);
	/* The same digit has to wait again in another file. */
	scratch_write("ctr/main/signal", "2");
	pump(INBOX_SETTLE_MS / 5);
	assert_string_equal(asked(), "");
	scratch_write("ctr/main/signal", "20");
	pump(2 * INBOX_SETTLE_MS);
	assert_string_equal(asked(), "20");
}

static void test_a_writer_who_keeps_it_open(void **state)
{
	int fd = open_signal();

	(void)state;
	say(fd, "15");
	pump(5);
	assert_string_equal(asked(), "15");
	assert_false(is_there());
	assert_int_equal(ftruncate(fd, 0), 0);
	lseek(fd, 0, SEEK_SET);
	pump(5);
	say(fd, "9");
	pump(5);
	assert_string_equal(asked(), "9");
	assert_int_equal(pwrite(fd, "10", 2, 0), 2);
	pump(5);
	assert_string_equal(asked(), "10");
	assert_int_equal(pwrite(fd, "xx", 2, 0), 2);
	pump(5);
	assert_string_equal(asked(), "");
	close(fd);
}

static int meanwhile_fd;

static void rewrite(void)
{
	assert_int_equal(pwrite(meanwhile_fd, "12", 2, 0), 2);
}

static void leave_another(void)
{
	scratch_write("ctr/main/signal", "9");
}

/* Between our reading it and our removing it. */
static void test_a_writer_who_comes_in_between(void **state)
{
	(void)state;
	meanwhile_fd = open_signal();
	meanwhile = rewrite;
	say(meanwhile_fd, "15");
	pump(5);
	assert_string_equal(asked(), "15 12");
	close(meanwhile_fd);
	meanwhile = leave_another;
	scratch_write("ctr/main/signal", "15");
	pump(5);
	assert_string_equal(asked(), "15 9");
	assert_false(is_there());
}

/* As `echo 15 >signal` and as rename do it, at full speed: the last word is always heard, last. */
static void hurry(int round)
{
	for (int i = 0; i < 20; i++) {
		char text[8];
		int signo = 10 + (round * 7 + i) % 50;

		snprintf(text, sizeof(text), "%d", signo);
		scratch_write((round + i) % 3 ? "ctr/main/signal" : "ctr/main/new", text);
		if ((round + i) % 3 == 0)
			rename(scratch_path("ctr/main/new"), signal_path());
	}
}

static void test_writers_in_a_hurry(void **state)
{
	(void)state;
	for (int round = 0; round < 200; round++) {
		int last = 10 + (round * 7 + 19) % 50;
		pid_t pid = fork();

		if (pid == 0) {
			hurry(round);
			_exit(0);
		}
		while (waitpid(pid, NULL, WNOHANG) == 0)
			event_loop_poll(loop);
		event_loop_poll(loop);
		assert_in_range(seen_count, 1, 41);
		assert_int_equal(seen[seen_count - 1], last);
		seen_count = 0;
		assert_false(is_there());
	}
}

static void test_what_cannot_be_removed(void **state)
{
	char full[200];

	(void)state;
	snprintf(full, sizeof(full), "%s", scratch_path("ctr/main/signal"));
	assert_int_equal(mkdir(full, 0777), 0);
	scratch_write("ctr/main/signal/x", "");
	for (int i = 0; i < 3; i++)
		inbox_look(&inbox, &watch);
	assert_string_equal(asked(), "");
	unlink(scratch_path("ctr/main/signal/x"));
	inbox_look(&inbox, &watch);
	assert_false(is_there());
	/* Two names for one file: rename(2) does nothing then. */
	scratch_write("ctr/main/signal.taken", "15");
	assert_int_equal(link(scratch_path("ctr/main/signal.taken"), full), 0);
	pump(5);
	assert_string_equal(asked(), "15");
	unlink(full);
}

/* Not followed, not waited for, and removed. */
static void test_other_kinds_of_file(void **state)
{
	(void)state;
	scratch_write("outside", "15");
	assert_int_equal(symlink(scratch_path("outside"), signal_path()), 0);
	pump(5);
	assert_false(is_there());
	assert_string_equal(scratch_read("outside"), "15");
	assert_int_equal(mkfifo(signal_path(), 0600), 0);
	pump(5);
	assert_false(is_there());
	assert_string_equal(asked(), "");
}

static void test_without_a_watch(void **state)
{
	(void)state;
	scratch_write("ctr/main/signal", "15");
	inbox_look(&inbox, NULL);
	assert_string_equal(asked(), "15");
	inbox_look(&inbox, NULL);
	assert_string_equal(asked(), "");
}

static int set_up(void **state)
{
	if (scratch_set_up(state) < 0 ||
	    files_make_container_directory(scratch_path(""), "main", NULL) < 0)
		return -1;
	snprintf(root, sizeof(root), "%s", scratch_path(""));
	loop = event_loop_new();
	if (!loop || event_watch_init(&watch, loop, on_change) < 0 ||
	    inbox_init(&inbox, loop, root, "main") < 0)
		return -1;
	inbox.on_signal = on_signal;
	event_watch_add(&watch, scratch_path("ctr/main"), EVENT_WATCH_NAMES);
	return 0;
}

static int tear_down(void **state)
{
	inbox_done(&inbox);
	event_watch_done(&watch);
	event_loop_free(loop);
	return scratch_tear_down(state);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_what_a_file_asks_for),
		cmocka_unit_test(test_an_empty_file_is_left_alone),
		cmocka_unit_test(test_written_in_two_pieces),
		cmocka_unit_test(test_a_digit_that_stays_alone),
		cmocka_unit_test(test_a_writer_who_keeps_it_open),
		cmocka_unit_test(test_a_writer_who_comes_in_between),
		cmocka_unit_test(test_writers_in_a_hurry),
		cmocka_unit_test(test_what_cannot_be_removed),
		cmocka_unit_test(test_other_kinds_of_file),
		cmocka_unit_test(test_without_a_watch),
	};

	return cmocka_run_group_tests(tests, set_up, tear_down);
}
