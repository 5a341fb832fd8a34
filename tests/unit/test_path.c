#include "executor/base/path.h"

#include "executor/base/cleanup.h"

#include <errno.h>
#include <fcntl.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>

#include <cmocka.h>

#include "tests/unit/scratch.h"

/* Results as Go's documentation of path.Clean defines them. */
static void test_clean(void **state)
{
	static const char *const cases[][2] = {
		{ "", "." },
		{ ".", "." },
		{ "..", ".." },
		{ "/", "/" },
		{ "//", "/" },
		{ "/.", "/" },
		{ "/..", "/" },
		{ "/../..", "/" },
		{ "/../abc", "/abc" },
		{ "abc", "abc" },
		{ "abc/", "abc" },
		{ "abc/def", "abc/def" },
		{ "a/b/c", "a/b/c" },
		{ "/abc/", "/abc" },
		{ "abc//def//ghi", "abc/def/ghi" },
		{ "//abc//", "/abc" },
		{ "abc/./def", "abc/def" },
		{ "/./abc/def", "/abc/def" },
		{ "abc/.", "abc" },
		{ "./abc", "abc" },
		{ "abc/def/ghi/../jkl", "abc/def/jkl" },
		{ "abc/def/../ghi/../jkl", "abc/jkl" },
		{ "abc/def/..", "abc" },
		{ "abc/def/../..", "." },
		{ "/abc/def/../..", "/" },
		{ "abc/def/../../..", ".." },
		{ "/abc/def/../../..", "/" },
		{ "abc/def/../../../ghi/jkl/../../../mno", "../../mno" },
		{ "../..", "../.." },
		{ "../../abc", "../../abc" },
		{ "../abc/..", ".." },
		{ "a/../../b", "../b" },
		{ "abc/./../def", "def" },
		{ "abc//./../def", "def" },
		{ "abc/../../././../def", "../../def" },
		{ "...", "..." },
		{ "/a/...", "/a/..." },
		{ "..a/b..", "..a/b.." },
		{ ".a/..b/../c", ".a/c" },
	};

	(void)state;
	for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
		_cleanup_free_ char *clean = path_clean(cases[i][0]);
		_cleanup_free_ char *again = path_clean(clean);

		assert_string_equal(clean, cases[i][1]);
		assert_string_equal(again, clean);
	}
}

static void test_join(void **state)
{
	static const char *const cases[][3] = {
		{ "a", "b", "a/b" }, { "a/", "b", "a/b" }, { "a", "", "a" },
		{ "", "b", "b" },    { "", "", "." },      { "a/b", "../../../xyz", "../xyz" },
		{ "/", "/a", "/a" }, { "/a", "..", "/" },  { "wf/pod", "x.tgz", "wf/pod/x.tgz" },
	};

	(void)state;
	for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
		_cleanup_free_ char *joined = path_join(cases[i][0], cases[i][1]);

		assert_string_equal(joined, cases[i][2]);
	}
}

static void test_at_or_below(void **state)
{
	(void)state;
	assert_true(path_is_at_or_below("/a", "/a"));
	assert_true(path_is_at_or_below("/a/b/c", "/a"));
	assert_true(path_is_at_or_below("/a/b", "/a/b"));
	assert_true(path_is_at_or_below("/a", "/"));
	assert_true(path_is_at_or_below("/", "/"));
	assert_false(path_is_at_or_below("/ab", "/a"));
	assert_false(path_is_at_or_below("/a", "/a/b"));
	assert_false(path_is_at_or_below("a", "/"));
	assert_false(path_is_at_or_below("/b/a", "/a"));
}

static void test_basename(void **state)
{
	(void)state;
	assert_string_equal(path_basename("/a/b.txt"), "b.txt");
	assert_string_equal(path_basename("b.txt"), "b.txt");
	assert_string_equal(path_basename("/"), ".");
	assert_string_equal(path_basename(""), ".");
	assert_string_equal(path_basename("/a/"), ".");
}

static void make(const char *name, mode_t mode)
{
	struct error err = ERROR_NONE;

	if (path_make_directories(scratch_path(name), mode, &err) < 0)
		fail_msg("%s", err.message);
}

/* The mode is exact whatever the umask, on every level that was made and on no other. */
static void test_make_directories(void **state)
{
	mode_t saved = umask(0777);

	(void)state;
	make("make/a/b", 0751);
	umask(0);
	make("make/a/b/c/d", 02777);
	umask(saved);
	assert_int_equal(scratch_mode("make"), 0751);
	assert_int_equal(scratch_mode("make/a"), 0751);
	assert_int_equal(scratch_mode("make/a/b"), 0751);
	assert_int_equal(scratch_mode("make/a/b/c"), 02777);
	assert_int_equal(scratch_mode("make/a/b/c/d"), 02777);
	make("make/a//b/./c/../c/d/", 0700);
	assert_int_equal(scratch_mode("make/a/b/c/d"), 02777);
	make("", 0700);
	assert_int_equal(scratch_mode(""), 0755);
	assert_int_equal(path_make_directories("/", 0700, NULL), 0);
	assert_int_equal(path_make_directories(".", 0700, NULL), 0);
}

static void test_make_directories_through_links(void **state)
{
	(void)state;
	make("link-target", 0755);
	assert_int_equal(symlink("link-target", scratch_path("link")), 0);
	make("link/below", 0755);
	assert_int_equal(scratch_mode("link-target/below"), 0755);
}

static void test_make_directories_fails(void **state)
{
	struct error err = ERROR_NONE;

	(void)state;
	scratch_write("file", "");
	assert_int_equal(path_make_directories(scratch_path("file"), 0755, &err), -ENOTDIR);
	assert_int_equal(path_make_directories(scratch_path("file/a"), 0755, &err), -ENOTDIR);
	assert_int_equal(symlink("nowhere", scratch_path("dangling")), 0);
	assert_true(path_make_directories(scratch_path("dangling"), 0755, &err) < 0);
	assert_int_equal(path_make_directories("/proc/nowhere", 0755, &err), -ENOENT);
	assert_string_equal(err.message, "mkdir /proc/nowhere: no such file or directory");
}

static void test_make_parents(void **state)
{
	struct error err = ERROR_NONE;

	(void)state;
	assert_int_equal(path_make_parents(scratch_path("parents/a/file"), 0711, &err), 0);
	assert_int_equal(scratch_mode("parents/a"), 0711);
	assert_int_equal(scratch_count("parents/a"), 0);
	assert_int_equal(path_make_parents("/file", 0711, &err), 0);
	assert_int_equal(path_make_parents("file", 0711, &err), 0);
}

/* Links are removed, not followed; modes are no obstacle; the names beside it stay. */
static int remove_tree(void *context)
{
	struct error err = ERROR_NONE;
	const char *tree = context;

	if (path_remove_tree(tree, &err) < 0) {
		dprintf(2, "%s\n", err.message);
		return __LINE__;
	}
	return access(tree, F_OK) == 0 ? __LINE__ : 0;
}

static void make_hostile_tree(void)
{
	make("tree/a/closed", 0777);
	make("outside", 0755);
	scratch_write("outside/kept", "kept");
	scratch_write("tree/file", "");
	chmod(scratch_path("tree/file"), 0);
	assert_int_equal(symlink(scratch_path("outside"), scratch_path("tree/link")), 0);
	assert_int_equal(symlink("..", scratch_path("tree/a/up")), 0);
	assert_int_equal(symlink("nowhere", scratch_path("tree/a/dangling")), 0);
	assert_int_equal(mkfifo(scratch_path("tree/a/closed/fifo"), 0600), 0);
}

static void test_remove_tree(void **state)
{
	(void)state;
	make_hostile_tree();
	scratch_run_child(remove_tree, (void *)scratch_path("tree"));
	assert_string_equal(scratch_read("outside/kept"), "kept");
	assert_int_equal(path_remove_tree(scratch_path("tree"), NULL), 0);
	assert_int_equal(symlink("outside", scratch_path("link-to-outside")), 0);
	assert_int_equal(path_remove_tree(scratch_path("link-to-outside"), NULL), 0);
	assert_string_equal(scratch_read("outside/kept"), "kept");
	assert_int_equal(path_remove_tree(scratch_path("outside/kept"), NULL), 0);
	assert_int_equal(scratch_count("outside"), 0);
}

/* An ordinary user's directory without any permission is opened up first. */
static int remove_closed_tree(void *context)
{
	char below[4096];

	if (scratch_drop_privileges() < 0)
		return __LINE__;
	snprintf(below, sizeof(below), "%s/mine/closed", (char *)context);
	if (path_make_directories(below, 0700, NULL) < 0 || chmod(below, 0) < 0)
		return __LINE__;
	snprintf(below, sizeof(below), "%s/mine", (char *)context);
	return remove_tree(below);
}

static void test_remove_closed_directories(void **state)
{
	(void)state;
	make("users", 0777);
	scratch_run_child(remove_closed_tree, (void *)scratch_path("users"));
}

static void test_remove_deep_tree(void **state)
{
	int fd = open(scratch_path(""), O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	struct error err = ERROR_NONE;

	(void)state;
	assert_int_equal(mkdirat(fd, "deep", 0700), 0);
	for (int i = 0; i < 250; i++) {
		int next = openat(fd, i == 0 ? "deep" : "twenty-bytes-of-name",
				  O_RDONLY | O_DIRECTORY | O_CLOEXEC);

		assert_true(next >= 0);
		assert_int_equal(mkdirat(next, "twenty-bytes-of-name", 0700), 0);
		close(fd);
		fd = next;
	}
	close(fd);
	if (path_remove_tree(scratch_path("deep"), &err) < 0)
		fail_msg("%s", err.message);
	assert_int_equal(access(scratch_path("deep"), F_OK), -1);
}

static void test_remove_fails(void **state)
{
	struct error err = ERROR_NONE;

	(void)state;
	assert_true(path_remove_tree("/proc/self/status", &err) < 0);
	assert_memory_equal(err.message, "remove /proc/self/status: ", 26);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_clean),
		cmocka_unit_test(test_join),
		cmocka_unit_test(test_at_or_below),
		cmocka_unit_test(test_basename),
		cmocka_unit_test(test_make_directories),
		cmocka_unit_test(test_make_directories_through_links),
		cmocka_unit_test(test_make_directories_fails),
		cmocka_unit_test(test_make_parents),
		cmocka_unit_test(test_remove_tree),
		cmocka_unit_test(test_remove_closed_directories),
		cmocka_unit_test(test_remove_deep_tree),
		cmocka_unit_test(test_remove_fails),
	};

	return cmocka_run_group_tests(tests, scratch_set_up, scratch_tear_down);
}
