#include "executor/stage/permissions.h"

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

static void make_tree(const char *name)
{
	char below[100];

	snprintf(below, sizeof(below), "%s/a/b", name);
	assert_int_equal(path_make_directories(scratch_path(below), 0755, NULL), 0);
	snprintf(below, sizeof(below), "%s/a/file", name);
	scratch_write(below, "");
	snprintf(below, sizeof(below), "%s/link", name);
	assert_int_equal(symlink(scratch_path("outside"), scratch_path(below)), 0);
}

static void test_one(void **state)
{
	(void)state;
	make_tree("one");
	assert_int_equal(permissions_set(spot_by_path(scratch_path("one")), 0711, false, NULL), 0);
	assert_int_equal(scratch_mode("one"), 0711);
	assert_int_equal(scratch_mode("one/a"), 0755);
	assert_int_equal(
		permissions_set(spot_by_path(scratch_path("one/a/file")), 0600, true, NULL), 0);
	assert_int_equal(scratch_mode("one/a/file"), 0600);
}

static void test_everything_below_but_links(void **state)
{
	(void)state;
	make_tree("all");
	assert_int_equal(permissions_set(spot_by_path(scratch_path("all")), 0740, true, NULL), 0);
	assert_int_equal(scratch_mode("all"), 0740);
	assert_int_equal(scratch_mode("all/a"), 0740);
	assert_int_equal(scratch_mode("all/a/b"), 0740);
	assert_int_equal(scratch_mode("all/a/file"), 0740);
	assert_int_equal(scratch_mode("outside"), 0644);
}

/* An ordinary user who takes the right to enter away from himself. */
static int close_tree(void *context)
{
	char path[4096];

	if (scratch_drop_privileges() < 0)
		return __LINE__;
	snprintf(path, sizeof(path), "%s/mine/a/b", (char *)context);
	if (path_make_directories(path, 0755, NULL) < 0)
		return __LINE__;
	snprintf(path, sizeof(path), "%s/mine", (char *)context);
	return permissions_set(spot_by_path(path), 0444, true, NULL) == 0 ? 0 : __LINE__;
}

static void test_directories_come_last(void **state)
{
	(void)state;
	assert_int_equal(mkdir(scratch_path("users"), 0755), 0);
	assert_int_equal(chmod(scratch_path("users"), 0777), 0);
	scratch_run_child(close_tree, (void *)scratch_path("users"));
	assert_int_equal(scratch_mode("users/mine"), 0444);
	if (getuid() == 0)
		assert_int_equal(scratch_mode("users/mine/a/b"), 0444);
}

static void test_missing(void **state)
{
	struct error err = ERROR_NONE;

	(void)state;
	assert_int_equal(permissions_set(spot_by_path("/nonexistent"), 0644, true, &err), -ENOENT);
	assert_string_equal(err.message, "chmod /nonexistent: no such file or directory");
}

static void test_open_to_everybody(void **state)
{
	(void)state;
	make_tree("open");
	assert_int_equal(permissions_open(spot_by_path(scratch_path("open")), false, NULL), 0);
	assert_int_equal(scratch_mode("open"), 0777);
	assert_int_equal(scratch_mode("open/a"), 0755);
	assert_int_equal(permissions_open(spot_by_path(scratch_path("open")), true, NULL), 0);
	assert_int_equal(scratch_mode("open/a/b"), 0777);
	assert_int_equal(scratch_mode("open/a/file"), 0666);
	assert_int_equal(scratch_mode("outside"), 0644);
	assert_int_equal(chmod(scratch_path("open/a/file"), 0), 0);
	assert_int_equal(permissions_open(spot_by_path(scratch_path("open/a/file")), true, NULL),
			 0);
	assert_int_equal(scratch_mode("open/a/file"), 0666);
}

static int set_up(void **state)
{
	int r = scratch_set_up(state);

	if (r == 0) {
		scratch_write("outside", "");
		chmod(scratch_path("outside"), 0644);
	}
	return r;
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_one),
		cmocka_unit_test(test_everything_below_but_links),
		cmocka_unit_test(test_directories_come_last),
		cmocka_unit_test(test_missing),
		cmocka_unit_test(test_open_to_everybody),
	};

	return cmocka_run_group_tests(tests, set_up, scratch_tear_down);
}
