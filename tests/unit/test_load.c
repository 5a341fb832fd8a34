/* Inputs into their places, with the one store that needs no server. */
#include "executor/stage/load.h"

#include "executor/base/path.h"

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

static int load(const char *template)
{
	const struct stage *stage = stage_fixture_begin(template);
	int r;

	err = ERROR_NONE;
	r = load_inputs(stage, &err);
	stage_fixture_end();
	return r;
}

static void test_files(void **state)
{
	const struct stage *stage =
		stage_fixture_begin("{\"script\":{\"source\":\"echo \\u0000hi\\n\"}}");

	(void)state;
	assert_int_equal(load_files(stage, &err), 0);
	assert_memory_equal(scratch_read("staging/script"), "echo \0hi\n", 10);
	assert_int_equal(scratch_mode("staging/script"), 0755);
	assert_int_equal(load_files(stage, &err), 0); /* once more: no obstacle */
	stage_fixture_end();
	stage = stage_fixture_begin("{\"resource\":{\"manifest\":\"kind: X\\n\"}}");
	assert_int_equal(load_files(stage, &err), 0);
	assert_string_equal(scratch_read("staging/manifest.yaml"), "kind: X\n");
	assert_int_equal(scratch_mode("staging/manifest.yaml"), 0644);
	unlink(scratch_path("staging/manifest.yaml"));
	stage_fixture_end();
	stage = stage_fixture_begin("{\"resource\":{\"manifestFrom\":{}}}");
	assert_int_equal(load_files(stage, &err), 0);
	assert_int_equal(scratch_count("staging"), 1);
	stage_fixture_end();
}

static void test_raw_into_the_inputs(void **state)
{
	mode_t saved = umask(0);

	(void)state;
	assert_int_equal(load("{\"container\":{},\"inputs\":{\"artifacts\":["
			      "{\"name\":\"a\",\"path\":\"/tmp/a\",\"raw\":{\"data\":\"one\"}},"
			      "{\"name\":\"b\",\"path\":\"/tmp/b\",\"mode\":320,"
			      "\"raw\":{\"data\":\"two\"}}]}}"),
			 0);
	umask(saved);
	assert_string_equal(scratch_read("inputs/a"), "one");
	assert_int_equal(scratch_mode("inputs/a"), 0666);
	assert_string_equal(scratch_read("inputs/b"), "two");
	assert_int_equal(scratch_mode("inputs/b"), 0500);
	assert_int_equal(scratch_count("inputs"), 2); /* no .tmp */
	/* A second run replaces them. */
	assert_int_equal(load("{\"container\":{},\"inputs\":{\"artifacts\":["
			      "{\"name\":\"a\",\"path\":\"/tmp/a\",\"raw\":{\"data\":\"new\"}}]}}"),
			 0);
	assert_string_equal(scratch_read("inputs/a"), "new");
}

static void test_raw_into_a_volume(void **state)
{
	(void)state;
	assert_int_equal(load("{\"container\":{\"volumeMounts\":[{\"mountPath\":\"/work\"}]},"
			      "\"inputs\":{\"artifacts\":[{\"name\":\"v\","
			      "\"path\":\"/work/deep/er/file\",\"archive\":{\"none\":{}},"
			      "\"raw\":{\"data\":\"text\"}}]}}"),
			 0);
	assert_string_equal(scratch_read("volumes/work/deep/er/file"), "text");
	assert_int_equal(scratch_mode("volumes/work/deep"), 0755);
	assert_int_equal(scratch_count("volumes/work/deep/er"), 1);
}

static void test_what_is_not_supplied(void **state)
{
	(void)state;
	assert_int_equal(load("{\"container\":{},\"inputs\":{\"artifacts\":["
			      "{\"name\":\"o\",\"path\":\"/o\",\"optional\":true}]}}"),
			 0);
	assert_int_equal(load("{\"container\":{},\"inputs\":{\"artifacts\":["
			      "{\"name\":\"m\",\"path\":\"/m\"}]}}"),
			 -ENOENT);
	assert_string_equal(err.message, "required artifact 'm' not supplied");
	assert_int_equal(load("{\"container\":{},\"inputs\":{\"artifacts\":["
			      "{\"name\":\"k\",\"path\":\"/k\",\"s3\":{\"key\":\"x\"}}]}}"),
			 -EINVAL);
	assert_string_equal(err.message,
			    "failed to load artifact 'k': template artifact location not set");
}

static void test_what_cannot_be_loaded(void **state)
{
	(void)state;
	assert_int_equal(load("{\"container\":{},\"inputs\":{\"artifacts\":["
			      "{\"name\":\"p\",\"raw\":{\"data\":\"x\"}}]}}"),
			 -EINVAL);
	assert_string_equal(err.message, "Artifact 'p' did not specify a path");
	assert_true(load("{\"container\":{},\"inputs\":{\"artifacts\":["
			 "{\"name\":\"h\",\"path\":\"/h\",\"hdfs\":{\"addresses\":[\"h:1\"],"
			 "\"path\":\"/x\"}}]}}") < 0);
	assert_non_null(strstr(err.message, "this executor has no store of type hdfs"));
	/* An archive was promised; text is none, and nothing is left of it. */
	assert_true(load("{\"container\":{},\"inputs\":{\"artifacts\":["
			 "{\"name\":\"t\",\"path\":\"/t\",\"archive\":{\"tar\":{}},"
			 "\"raw\":{\"data\":\"no tar\"}}]}}") < 0);
	assert_memory_equal(err.message, "artifact t failed to load: ", 27);
	assert_true(load("{\"container\":{},\"inputs\":{\"artifacts\":["
			 "{\"name\":\"z\",\"path\":\"/z\",\"archive\":{\"zip\":{}},"
			 "\"raw\":{\"data\":\"no zip\"}}]}}") < 0);
	assert_int_equal(access(scratch_path("inputs/t"), F_OK), -1);
	assert_int_equal(access(scratch_path("inputs/z"), F_OK), -1);
	assert_int_equal(access(scratch_path("inputs/z.tmp"), F_OK), -1);
}

/* A place that cannot be written is a failure even of an optional artifact. */
static void test_no_place(void **state)
{
	(void)state;
	scratch_write("volumes/file", "");
	assert_true(load("{\"container\":{\"volumeMounts\":[{\"mountPath\":\"/file\"}]},"
			 "\"inputs\":{\"artifacts\":[{\"name\":\"v\",\"optional\":true,"
			 "\"path\":\"/file/below\",\"raw\":{\"data\":\"x\"}}]}}") < 0);
	assert_memory_equal(err.message, "artifact v failed to load: open ", 32);
}

/* Links in volumes: what stays inside is followed, what leads out is not, and what is replaced is not
 * followed at all. */
static void test_links_on_the_way(void **state)
{
	(void)state;
	stage_fixture_put("volumes/links/real/kept", "");
	stage_fixture_put("outside/file", "kept");
	assert_int_equal(symlink("real", scratch_path("volumes/links/inside")), 0);
	assert_int_equal(symlink("../../outside", scratch_path("volumes/links/out")), 0);
	assert_int_equal(symlink("../../../outside/file", scratch_path("volumes/links/real/x")), 0);
	assert_int_equal(load("{\"container\":{\"volumeMounts\":[{\"mountPath\":\"/links\"}]},"
			      "\"inputs\":{\"artifacts\":[{\"name\":\"a\","
			      "\"path\":\"/links/inside/new/x\",\"raw\":{\"data\":\"one\"}},"
			      "{\"name\":\"b\",\"path\":\"/links/real/x\",\"mode\":384,"
			      "\"raw\":{\"data\":\"two\"}}]}}"),
			 0);
	assert_string_equal(scratch_read("volumes/links/real/new/x"), "one");
	assert_string_equal(scratch_read("volumes/links/real/x"), "two");
	assert_string_equal(scratch_read("outside/file"), "kept");
	assert_int_equal(scratch_mode("outside/file"), 0644);
	assert_int_equal(load("{\"container\":{\"volumeMounts\":[{\"mountPath\":\"/links\"}]},"
			      "\"inputs\":{\"artifacts\":[{\"name\":\"a\",\"optional\":true,"
			      "\"path\":\"/links/out/new\",\"raw\":{\"data\":\"one\"}}]}}"),
			 -EXDEV);
	assert_non_null(strstr(err.message, "leads out of"));
	assert_int_equal(scratch_count("outside"), 1);
}

/* Whoever writes to the outer volume cannot say where the inner one is. */
static void test_volume_inside_a_volume(void **state)
{
	static const char template[] =
		"{\"container\":{\"volumeMounts\":[{\"mountPath\":\"/outer\"},"
		"{\"mountPath\":\"/outer/way/inner\"}]},\"inputs\":{\"artifacts\":["
		"{\"name\":\"a\",\"path\":\"/outer/way/inner/d/x\",\"raw\":{\"data\":\"one\"}}]}}";

	(void)state;
	stage_fixture_put("volumes/outer/kept", "");
	stage_fixture_put("volumes/elsewhere/inner/kept", "");
	assert_int_equal(load(template), 0);
	assert_string_equal(scratch_read("volumes/outer/way/inner/d/x"), "one");
	assert_int_equal(
		rename(scratch_path("volumes/outer/way"), scratch_path("volumes/outer/was")), 0);
	assert_int_equal(symlink("../elsewhere", scratch_path("volumes/outer/way")), 0);
	assert_int_equal(load(template), -EXDEV);
	assert_int_equal(scratch_count("volumes/elsewhere/inner"), 1);
}

/* What a process that was killed has left under the names that it works with. */
static void test_leftovers(void **state)
{
	(void)state;
	stage_fixture_put("volumes/left/d/kept", "");
	stage_fixture_put("volumes/left/d/.argo-a/half", "");
	stage_fixture_put("volumes/left/.argo-b.tmp", "half");
	stage_fixture_put("inputs/c/half", "");
	stage_fixture_put("inputs/.argo-c.tmp", "half");
	assert_int_equal(load("{\"container\":{\"volumeMounts\":[{\"mountPath\":\"/left\"}]},"
			      "\"inputs\":{\"artifacts\":[{\"name\":\"a\",\"path\":\"/left/d\","
			      "\"archive\":{\"tar\":{}},\"raw\":{\"data\":\"no archive\"}}]}}") < 0,
			 true);
	assert_int_equal(scratch_count("volumes/left/d"), 1);
	assert_int_equal(load("{\"container\":{\"volumeMounts\":[{\"mountPath\":\"/left\"}]},"
			      "\"inputs\":{\"artifacts\":[{\"name\":\"b\",\"path\":\"/left/b\","
			      "\"raw\":{\"data\":\"whole\"}},{\"name\":\"c\",\"path\":\"/c\","
			      "\"raw\":{\"data\":\"whole\"}}]}}"),
			 0);
	assert_string_equal(scratch_read("volumes/left/b"), "whole");
	assert_string_equal(scratch_read("inputs/c"), "whole");
	assert_int_equal(access(scratch_path("volumes/left/.argo-b.tmp"), F_OK), -1);
	assert_int_equal(access(scratch_path("inputs/.argo-c.tmp"), F_OK), -1);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_files),
		cmocka_unit_test(test_raw_into_the_inputs),
		cmocka_unit_test(test_raw_into_a_volume),
		cmocka_unit_test(test_what_is_not_supplied),
		cmocka_unit_test(test_what_cannot_be_loaded),
		cmocka_unit_test(test_no_place),
		cmocka_unit_test(test_links_on_the_way),
		cmocka_unit_test(test_volume_inside_a_volume),
		cmocka_unit_test(test_leftovers),
	};

	return cmocka_run_group_tests(tests, stage_fixture_set_up, scratch_tear_down);
}
