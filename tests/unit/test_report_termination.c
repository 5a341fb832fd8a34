/* The termination message and the list of errors behind it. */
#include "executor/report/termination.h"

#include <errno.h>
#include <fcntl.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cmocka.h>

static char path[] = "/tmp/test_report_termination.XXXXXX";
static char text[2 * TERMINATION_MESSAGE_MAX];

static int set_up(void **state)
{
	int fd = mkstemp(path);

	(void)state;
	return fd < 0 ? -1 : close(fd);
}

static int tear_down(void **state)
{
	(void)state;
	return unlink(path);
}

static size_t read_back(void)
{
	int fd = open(path, O_RDONLY | O_CLOEXEC);
	ssize_t n = read(fd, text, sizeof(text) - 1);

	close(fd);
	assert_true(n >= 0);
	text[n] = '\0';
	return (size_t)n;
}

static void test_replaces(void **state)
{
	struct error err = ERROR_NONE;

	(void)state;
	assert_int_equal(termination_write(path, "a longer message", &err), 0);
	assert_int_equal(termination_write(path, "short", &err), 0);
	read_back();
	assert_string_equal(text, "short");
	assert_int_equal(termination_write(path, "", &err), 0);
	assert_int_equal(read_back(), 0);
}

static void test_cuts_at_a_character(void **state)
{
	char *message = malloc(TERMINATION_MESSAGE_MAX + 10);

	(void)state;
	memset(message, 'x', TERMINATION_MESSAGE_MAX - 1);
	memcpy(message + TERMINATION_MESSAGE_MAX - 1, "\xe2\x82\xac!", 5);
	assert_int_equal(termination_write(path, message, NULL), 0);
	assert_int_equal(read_back(), TERMINATION_MESSAGE_MAX - 1);
	memset(message, 'x', TERMINATION_MESSAGE_MAX + 5);
	message[TERMINATION_MESSAGE_MAX + 5] = '\0';
	assert_int_equal(termination_write(path, message, NULL), 0);
	assert_int_equal(read_back(), TERMINATION_MESSAGE_MAX);
	free(message);
}

static void test_adds_to_what_a_command_has_left(void **state)
{
	char *long_text = malloc(TERMINATION_MESSAGE_MAX);

	(void)state;
	assert_int_equal(termination_write(path, "", NULL), 0);
	assert_int_equal(termination_add(path, "ours", NULL), 0);
	read_back();
	assert_string_equal(text, "ours");
	assert_int_equal(termination_write(path, "the user's\n\n", NULL), 0);
	assert_int_equal(termination_add(path, "ours", NULL), 0);
	read_back();
	assert_string_equal(text, "the user's; ours");

	/* What is ours has room. */
	memset(long_text, 'x', TERMINATION_MESSAGE_MAX - 1);
	long_text[TERMINATION_MESSAGE_MAX - 1] = '\0';
	assert_int_equal(termination_write(path, long_text, NULL), 0);
	assert_int_equal(termination_add(path, "ours", NULL), 0);
	assert_int_equal(read_back(), TERMINATION_MESSAGE_MAX);
	assert_string_equal(text + TERMINATION_MESSAGE_MAX - strlen("x; ours"), "x; ours");
	assert_int_equal(termination_write(path, "x", NULL), 0);
	assert_int_equal(termination_add(path, long_text, NULL), 0);
	read_back();
	assert_string_equal(text, long_text);
	assert_int_equal(termination_add("/nonexistent/log", "x", NULL), -ENOENT);
	assert_int_equal(termination_add("/dev/null", "x", NULL), -EINVAL);
	free(long_text);
}

static void test_absence_and_odd_files_are_errors_only(void **state)
{
	struct error err = ERROR_NONE;
	char fifo[] = "/tmp/test_report_fifo.XXXXXX";

	(void)state;
	assert_int_equal(termination_write("/nonexistent/log", "x", &err), -ENOENT);
	assert_string_equal(
		err.message,
		"termination message: open /nonexistent/log: no such file or directory");
	assert_int_equal(termination_write("/dev/null", "x", &err), -EINVAL);
	assert_non_null(mkdtemp(fifo));
	assert_int_equal(termination_write(fifo, "x", &err), -EISDIR);
	assert_int_equal(rmdir(fifo), 0);
	assert_int_equal(mkfifo(fifo, 0600), 0);
	assert_int_equal(termination_write(fifo, "x", &err), -ENXIO);
	unlink(fifo);
}

static void test_first_error_counts(void **state)
{
	struct error_list list = { .count = 0 };
	struct error err = ERROR_NONE;

	(void)state;
	assert_int_equal(truncate(path, 0), 0);
	assert_false(error_list_add(&list, &err));
	assert_int_equal(error_list_terminate(&list, path, &err), 0);
	assert_int_equal(read_back(), 0);
	error_set(&err, -EIO, "first");
	assert_true(error_list_add(&list, &err));
	error_set(&err, -EPERM, "second");
	assert_false(error_list_add(&list, &err));
	assert_int_equal(list.count, 2);
	assert_int_equal(list.first.code, -EIO);
	assert_int_equal(error_list_terminate(&list, path, &err), 0);
	read_back();
	assert_string_equal(text, "first");
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_replaces),
		cmocka_unit_test(test_cuts_at_a_character),
		cmocka_unit_test(test_adds_to_what_a_command_has_left),
		cmocka_unit_test(test_absence_and_odd_files_are_errors_only),
		cmocka_unit_test(test_first_error_counts),
	};

	return cmocka_run_group_tests(tests, set_up, tear_down);
}
