#include "executor/process/files.h"

#include <errno.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cmocka.h>

#include "tests/unit/scratch.h"

static const struct {
	const char *content;
	int code; /* as an exit code */
	int signo; /* as a signal */
} cases[] = {
	{ "0", 0, -EINVAL },
	{ "1", 1, 1 },
	{ "15\n", 15, 15 },
	{ " \t9\r\n", 9, 9 },
	{ "64", 64, 64 },
	{ "65", 65, -EINVAL },
	{ "143", 143, -EINVAL },
	{ "255", 255, -EINVAL },
	{ "256", -EINVAL, -EINVAL },
	{ "-1", -EINVAL, -EINVAL },
	{ "-9223372036854775808", -EINVAL, -EINVAL },
	{ "99999999999999999999", -EINVAL, -EINVAL },
	{ "", -EAGAIN, -EAGAIN },
	{ "\n", -EAGAIN, -EAGAIN },
	{ "junk", -EINVAL, -EINVAL },
	{ "15 15", -EINVAL, -EINVAL },
	{ "15x", -EINVAL, -EINVAL },
	{ "0x0f", -EINVAL, -EINVAL },
	{ "SIGTERM", -EINVAL, -EINVAL },
	{ "1.5", -EINVAL, -EINVAL },
};

static int read_code(void)
{
	int code = 4711, r = files_read_exit_code(scratch_path(""), "main", &code);

	assert_true(r == 0 || code == 4711);
	return r < 0 ? r : code;
}

static bool has_signal(void)
{
	struct stat st;

	return lstat(scratch_path("ctr/main/signal"), &st) == 0;
}

static void test_numbers(void **state)
{
	(void)state;
	for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
		scratch_write("ctr/main/exitcode", cases[i].content);
		scratch_write("ctr/main/signal", cases[i].content);
		if (read_code() != cases[i].code)
			fail_msg("exit code \"%s\": %d", cases[i].content, read_code());
		assert_int_equal(files_take_signal(scratch_path(""), "main"), cases[i].signo);
		/* Taken, unless its writer is not ready. */
		assert_int_equal(has_signal(), cases[i].signo == -EAGAIN);
	}
	unlink(scratch_path("ctr/main/exitcode"));
	unlink(scratch_path("ctr/main/signal"));
	assert_int_equal(read_code(), -ENOENT);
	assert_int_equal(files_take_signal(scratch_path(""), "main"), -ENOENT);
	assert_int_equal(files_take_signal(scratch_path(""), "nobody"), -ENOENT);
}

static void test_nul_and_size(void **state)
{
	static char huge[1 << 20];

	(void)state;
	scratch_write_bytes("ctr/main/exitcode", "15\0junk", 7);
	assert_int_equal(read_code(), -EINVAL);
	memset(huge, '1', sizeof(huge));
	scratch_write_bytes("ctr/main/exitcode", huge, sizeof(huge));
	assert_int_equal(read_code(), -EINVAL);
	/* What lies behind the part that is looked at is not overlooked. */
	memset(huge, ' ', sizeof(huge));
	huge[0] = '7';
	huge[40] = 'x';
	scratch_write_bytes("ctr/main/exitcode", huge, 41);
	assert_int_equal(read_code(), -EINVAL);
	unlink(scratch_path("ctr/main/exitcode"));
}

/* Links are not followed, nothing blocks, and what can be removed is. */
static void test_odd_files(void **state)
{
	char signal_file[200];

	(void)state;
	snprintf(signal_file, sizeof(signal_file), "%s", scratch_path("ctr/main/signal"));
	scratch_write("outside", "15");
	assert_int_equal(symlink(scratch_path("outside"), signal_file), 0);
	assert_int_equal(files_take_signal(scratch_path(""), "main"), -EINVAL);
	assert_false(has_signal());
	assert_string_equal(scratch_read("outside"), "15");
	assert_int_equal(mkfifo(signal_file, 0600), 0);
	assert_true(files_take_signal(scratch_path(""), "main") < 0);
	unlink(signal_file);
	assert_int_equal(mkdir(signal_file, 0700), 0);
	assert_int_equal(files_take_signal(scratch_path(""), "main"), -EINVAL);
	rmdir(signal_file);
	assert_int_equal(symlink(scratch_path("outside"), scratch_path("ctr/main/exitcode")), 0);
	assert_int_equal(read_code(), -EINVAL);
	assert_true(files_write_exit_code(scratch_path(""), "main", 3, NULL) < 0);
	assert_string_equal(scratch_read("outside"), "15");
	unlink(scratch_path("ctr/main/exitcode"));
}

static void test_written_is_read(void **state)
{
	mode_t saved = umask(0);

	(void)state;
	for (int code = 0; code < 256; code++) {
		assert_int_equal(files_write_exit_code(scratch_path(""), "main", code, NULL), 0);
		assert_int_equal(read_code(), code);
	}
	assert_string_equal(scratch_read("ctr/main/exitcode"), "255"); /* no newline */
	assert_int_equal(scratch_mode("ctr/main/exitcode"), 0644);
	for (int signo = 1; signo <= 64; signo++) {
		assert_int_equal(files_write_signal(scratch_path(""), "main", signo, NULL), 0);
		assert_int_equal(scratch_mode("ctr/main/signal"), 0666);
		assert_int_equal(files_take_signal(scratch_path(""), "main"), signo);
		assert_false(has_signal());
	}
	umask(saved);
}

static void test_errors_name_the_file(void **state)
{
	struct error err = ERROR_NONE;
	char expected[200];

	(void)state;
	assert_int_equal(files_write_exit_code(scratch_path(""), "nobody", 0, &err), -ENOENT);
	snprintf(expected, sizeof(expected), "open %s: no such file or directory",
		 scratch_path("ctr/nobody/exitcode"));
	assert_string_equal(err.message, expected);
}

static void test_directories_are_everybodys(void **state)
{
	mode_t saved = umask(077);
	char path[64];

	(void)state;
	assert_int_equal(mkdir(scratch_path("other"), 0755), 0);
	assert_int_equal(files_make_container_directory(scratch_path("other"), "a", NULL), 0);
	assert_int_equal(files_make_container_directory(scratch_path("other"), "a", NULL), 0);
	umask(saved);
	assert_int_equal(scratch_mode("other/ctr"), 0777);
	assert_int_equal(scratch_mode("other/ctr/a"), 0777);
	assert_string_equal(files_container_path("/r", "c", "f", path, sizeof(path)), "/r/ctr/c/f");
	assert_string_equal(files_container_path("/r", "c", "", path, sizeof(path)), "/r/ctr/c");
}

static int set_up(void **state)
{
	return scratch_set_up(state) < 0 || mkdir(scratch_path("ctr"), 0755) < 0 ?
		       -1 :
		       mkdir(scratch_path("ctr/main"), 0755);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_numbers),
		cmocka_unit_test(test_nul_and_size),
		cmocka_unit_test(test_odd_files),
		cmocka_unit_test(test_written_is_read),
		cmocka_unit_test(test_errors_name_the_file),
		cmocka_unit_test(test_directories_are_everybodys),
	};

	return cmocka_run_group_tests(tests, set_up, scratch_tear_down);
}
