#include "executor/process/files.h"

#include "executor/base/path.h"

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
	int code;
} cases[] = {
	{ "0", 0 },
	{ "1", 1 },
	{ "15\n", 15 },
	{ " \t9\r\n", 9 },
	{ "64", 64 },
	{ "65", 65 },
	{ "143", 143 },
	{ "255", 255 },
	{ "256", -EINVAL },
	{ "-1", -EINVAL },
	{ "-9223372036854775808", -EINVAL },
	{ "99999999999999999999", -EINVAL },
	{ "", -EAGAIN },
	{ "\n", -EAGAIN },
	{ "junk", -EINVAL },
	{ "15 15", -EINVAL },
	{ "15x", -EINVAL },
	{ "0x0f", -EINVAL },
	{ "SIGTERM", -EINVAL },
	{ "1.5", -EINVAL },
};

static int read_code(void)
{
	int code = 4711, r = files_read_exit_code(scratch_path(""), "main", &code);

	assert_true(r == 0 || code == 4711);
	return r < 0 ? r : code;
}

static void test_numbers(void **state)
{
	(void)state;
	for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
		scratch_write("ctr/main/exitcode", cases[i].content);
		if (read_code() != cases[i].code)
			fail_msg("exit code \"%s\": %d", cases[i].content, read_code());
	}
	unlink(scratch_path("ctr/main/exitcode"));
	assert_int_equal(read_code(), -ENOENT);
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

/* Links are not followed, nothing blocks, and the code comes in the place of anything. */
static void test_odd_files(void **state)
{
	char path[200];

	(void)state;
	snprintf(path, sizeof(path), "%s", scratch_path("ctr/main/exitcode"));
	scratch_write("outside", "15");
	for (int kind = 0; kind < 4; kind++) {
		if (kind == 0)
			assert_int_equal(symlink(scratch_path("outside"), path), 0);
		else if (kind == 1)
			assert_int_equal(mkfifo(path, 0600), 0);
		else
			assert_int_equal(mkdir(path, 0700), 0);
		if (kind == 3)
			scratch_write("ctr/main/exitcode/full", "x");
		assert_int_equal(read_code(), kind == 1 ? -EAGAIN : -EINVAL);
		assert_int_equal(files_write_exit_code(scratch_path(""), "main", kind, NULL), 0);
		assert_int_equal(read_code(), kind);
		unlink(path);
	}
	assert_string_equal(scratch_read("outside"), "15");
}

/* A link in the place of the directory leads nobody elsewhere. */
static void test_odd_directories(void **state)
{
	static const char *const names[] = { "ctr/odd", "ctr" };
	char path[200], other[200];
	struct stat st;

	(void)state;
	snprintf(other, sizeof(other), "%s", scratch_path("elsewhere"));
	assert_int_equal(mkdir(other, 0777), 0);
	assert_int_equal(rename(scratch_path("ctr"), scratch_path("aside")), 0);
	assert_int_equal(mkdir(scratch_path("ctr"), 0777), 0);
	for (size_t i = 0; i < 2; i++) {
		snprintf(path, sizeof(path), "%s", scratch_path(names[i]));
		path_remove_tree(path, NULL);
		assert_int_equal(symlink(other, path), 0);
		assert_true(files_write_exit_code(scratch_path(""), "odd", 3, NULL) < 0);
		assert_true(files_write_signal(scratch_path(""), "odd", 15, NULL) < 0);
		assert_true(files_remove(scratch_path(""), "odd", "x") < 0);
		assert_int_equal(files_make_container_directory(scratch_path(""), "odd", NULL), 0);
		assert_int_equal(files_write_exit_code(scratch_path(""), "odd", 3, NULL), 0);
		assert_int_equal(lstat(path, &st), 0);
		assert_true(S_ISDIR(st.st_mode));
	}
	assert_int_equal(rmdir(other), 0); /* nothing has come into it */
	path_remove_tree(scratch_path("ctr"), NULL);
	scratch_write("ctr", "a file");
	assert_int_equal(files_make_container_directory(scratch_path(""), "odd", NULL), 0);
	assert_int_equal(scratch_mode("ctr"), 0777);
	path_remove_tree(scratch_path("ctr"), NULL);
	assert_int_equal(rename(scratch_path("aside"), scratch_path("ctr")), 0);
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
		 scratch_path("ctr/nobody"));
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
		cmocka_unit_test(test_odd_directories),
		cmocka_unit_test(test_written_is_read),
		cmocka_unit_test(test_errors_name_the_file),
		cmocka_unit_test(test_directories_are_everybodys),
	};

	return cmocka_run_group_tests(tests, set_up, scratch_tear_down);
}
