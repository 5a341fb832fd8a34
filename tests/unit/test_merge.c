#include "executor/stage/merge.h"

#include <errno.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdint.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cmocka.h>

#include "tests/unit/scratch.h"
#include "tests/unit/stage_fixture.h"

static struct error err;

static int merge(void)
{
	err = ERROR_NONE;
	return merge_directories(spot_by_path(scratch_path("from")),
				 spot_by_path(scratch_path("to")), &err);
}

static bool is_there(const char *name)
{
	struct stat st;

	return lstat(scratch_path(name), &st) == 0;
}

static void test_joined(void **state)
{
	(void)state;
	stage_fixture_put("from/file", "new");
	stage_fixture_put("from/both/inner/new", "new");
	stage_fixture_put("from/only/x", "x");
	assert_int_equal(symlink("/etc/passwd", scratch_path("from/link")), 0);
	stage_fixture_put("to/file", "old");
	stage_fixture_put("to/both/inner/kept", "kept");
	stage_fixture_put("to/link", "was a file");
	assert_int_equal(merge(), 0);
	assert_string_equal(scratch_read("to/file"), "new");
	assert_string_equal(scratch_read("to/both/inner/new"), "new");
	assert_string_equal(scratch_read("to/both/inner/kept"), "kept");
	assert_string_equal(scratch_read("to/only/x"), "x");
	assert_int_equal(scratch_count("to"), 4);
	assert_false(is_there("from"));
	assert_int_equal(unlink(scratch_path("to/link")), 0);
}

/* A user's link in the target is replaced, never entered. */
static void test_links_are_not_followed(void **state)
{
	(void)state;
	stage_fixture_put("outside/kept", "kept");
	stage_fixture_put("from/file", "new");
	stage_fixture_put("to/x", "");
	assert_int_equal(symlink("../outside/kept", scratch_path("to/link")), 0);
	stage_fixture_put("from/link", "new");
	assert_int_equal(merge(), 0);
	assert_string_equal(scratch_read("to/link"), "new");
	stage_fixture_put("from/way/file", "new");
	assert_int_equal(symlink("../outside", scratch_path("to/way")), 0);
	assert_true(merge() < 0);
	assert_non_null(strstr(err.message, "way"));
	assert_int_equal(scratch_count("outside"), 1);
	assert_string_equal(scratch_read("outside/kept"), "kept");
}

static void test_kinds_that_clash(void **state)
{
	(void)state;
	stage_fixture_put("from/clash/below", "new");
	stage_fixture_put("to/clash", "old");
	assert_true(merge() < 0);
	assert_non_null(strstr(err.message, "clash"));
	assert_string_equal(scratch_read("to/clash"), "old");
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test_setup_teardown(test_joined, scratch_set_up, scratch_tear_down),
		cmocka_unit_test_setup_teardown(test_links_are_not_followed, scratch_set_up,
						scratch_tear_down),
		cmocka_unit_test_setup_teardown(test_kinds_that_clash, scratch_set_up,
						scratch_tear_down),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
