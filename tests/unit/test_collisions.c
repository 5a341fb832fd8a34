/* Outputs that would become one object in the store. */
#include "executor/stage/collisions.h"

#include "executor/base/cleanup.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cmocka.h>

#include "tests/unit/scratch.h"
#include "tests/unit/stage_fixture.h"

#define TEMPLATE_MAX 4096
#define REPOSITORY "\"s3\":{\"endpoint\":\"e\",\"bucket\":\"b\",\"key\":\"wf/pod\"}"
#define NONE "\"archive\":{\"none\":{}}"

/* Of outputs in a volume: what lies in /v is there. */
static const struct stage *begin(const char *artifacts)
{
	static char text[TEMPLATE_MAX];

	snprintf(text, sizeof(text),
		 "{\"container\":{\"volumeMounts\":[{\"name\":\"v\",\"mountPath\":\"/v\"}]},"
		 "\"archiveLocation\":{\"archiveLogs\":true," REPOSITORY "},"
		 "\"outputs\":{\"artifacts\":[%s]}}",
		 artifacts);
	stage_fixture_put("volumes/v/a/f", "1");
	stage_fixture_put("volumes/v/b/f", "2");
	stage_fixture_put("volumes/v/c/f", "3");
	if (access(scratch_path("run/ctr/main/combined"), F_OK) < 0)
		stage_fixture_put("run/ctr/main/combined", "log");
	return stage_fixture_begin(text);
}

/* "0 0 2 …": in whose place each would be stored; the last one is the log. `stored` is there already
 * (SIZE_MAX = none). True if the log tells of directories that are merged. */
static bool check(const char *artifacts, size_t stored, const char *expected)
{
	const struct stage *stage = begin(artifacts);
	_cleanup_free_ size_t *over = NULL;
	struct error err = ERROR_NONE;
	struct saving saving;
	char found[64] = "";
	bool is_merged;

	assert_int_equal(saving_init(&saving, stage, true, &err), 0);
	if (stored < saving.count)
		saving.items[stored].stored = json_new_object();
	assert_int_equal(collisions_find(&saving, &over, &err), 0);
	for (size_t i = 0; i < saving.count; i++)
		snprintf(found + strlen(found), sizeof(found) - strlen(found), i ? " %zu" : "%zu",
			 over[i]);
	if (strcmp(found, expected) != 0)
		fail_msg("%s: %s instead of %s", artifacts, found, expected);
	saving_done(&saving);
	is_merged = strstr(stage_fixture_logged(), "are stored below one key") != NULL;
	stage_fixture_end();
	return is_merged;
}

#define OUTPUT(name, path, more) "{\"name\":\"" name "\",\"path\":\"" path "\"," more "}"
#define KEY(key) "\"s3\":{\"key\":\"" key "\"}"

static void test_keys(void **state)
{
	(void)state;
	check(OUTPUT("x", "/v/a/f", NONE), SIZE_MAX, "0 1");
	/* Default keys: of what is packed by name, of what is not by the end of its path. */
	check(OUTPUT("x", "/v/a/f", "\"mode\":1") "," OUTPUT("y", "/v/b/f", "\"mode\":1"), SIZE_MAX,
	      "0 1 2");
	check(OUTPUT("x", "/v/a/f", NONE) "," OUTPUT("y", "/v/b/f", NONE), SIZE_MAX, "0 0 2");
	check(OUTPUT("x", "/v/a/f", NONE) "," OUTPUT("y", "/v/b/f", NONE) "," OUTPUT("z", "/v/c/f",
										     NONE),
	      SIZE_MAX, "0 0 0 3");
	/* Keys of their own, also against default ones and that of a log. */
	check(OUTPUT("x", "/v/a/f", KEY("k")) "," OUTPUT("y", "/v/b/f", KEY("l")), SIZE_MAX,
	      "0 1 2");
	check(OUTPUT("x", "/v/a/f", KEY("k")) "," OUTPUT("y", "/v/b/f", KEY("k")), SIZE_MAX,
	      "0 0 2");
	check(OUTPUT("x", "/v/a/f", KEY("wf/pod/f")) "," OUTPUT("y", "/v/b/f", NONE), SIZE_MAX,
	      "0 0 2");
	check(OUTPUT("x", "/v/a/f", KEY("wf/pod/main.log")), SIZE_MAX, "0 0");
	/* A key is moved into the repository, whatever type it was written for. */
	check(OUTPUT("x", "/v/a/f", KEY("k")) "," OUTPUT("y", "/v/b/f", "\"gcs\":{\"key\":\"k\"}"),
	      SIZE_MAX, "0 0 2");
}

static void test_places(void **state)
{
	(void)state;
#define FULL(endpoint, bucket) \
	"\"s3\":{\"endpoint\":\"" endpoint "\",\"bucket\":\"" bucket \
	"\",\"key\":\"k\",\"accessKeySecret\":{\"name\":\"s\",\"key\":\"a\"}}"
	check(OUTPUT("x", "/v/a/f", KEY("k")) "," OUTPUT("y", "/v/b/f", FULL("e", "b")), SIZE_MAX,
	      "0 0 2");
	check(OUTPUT("x", "/v/a/f", KEY("k")) "," OUTPUT("y", "/v/b/f", FULL("e", "c")), SIZE_MAX,
	      "0 1 2");
	check(OUTPUT("x", "/v/a/f", KEY("k")) "," OUTPUT("y", "/v/b/f", FULL("f", "b")), SIZE_MAX,
	      "0 1 2");
#define URL(url) "\"http\":{\"url\":\"" url "\"}"
	check(OUTPUT("x", "/v/a/f", URL("http://h/x")) "," OUTPUT("y", "/v/b/f", URL("http://h/x")),
	      SIZE_MAX, "0 0 2");
	check(OUTPUT("x", "/v/a/f", URL("http://h/x?1")) "," OUTPUT("y", "/v/b/f",
								    URL("http://h/x?2")),
	      SIZE_MAX, "0 1 2");
	/* What has no object is nobody's rival. */
	check(OUTPUT("x", "/v/a/f", "\"raw\":{\"data\":\"x\"}") "," OUTPUT(
		      "y", "/v/b/f", "\"raw\":{\"data\":\"x\"}"),
	      SIZE_MAX, "0 1 2");
}

static void test_who_comes_first(void **state)
{
	(void)state;
	/* One of two that exists, as a step may choose. */
	check(OUTPUT("x", "/v/none", KEY("k")) "," OUTPUT("y", "/v/b/f", KEY("k")), SIZE_MAX,
	      "0 1 2");
	check(OUTPUT("x", "/v/none", KEY("k")) "," OUTPUT("y", "/v/b/f", KEY("k")) "," OUTPUT(
		      "z", "/v/c/f", KEY("k")),
	      SIZE_MAX, "0 1 1 3");
	/* Who is there already. */
	check(OUTPUT("x", "/v/a/f", KEY("k")) "," OUTPUT("y", "/v/b/f", KEY("k")), 1, "1 1 2");
	check(OUTPUT("x", "/v/a/f", KEY("k")) "," OUTPUT("y", "/v/b/f", KEY("k")), 0, "0 0 2");
}

static void test_what_harms_nobody(void **state)
{
	(void)state;
	/* The same file in the same form, under two names. */
	check(OUTPUT("x", "/v/a/f", KEY("k")) "," OUTPUT("y", "/v/a/f", KEY("k")), SIZE_MAX,
	      "0 1 2");
	check(OUTPUT("x", "/v/a/f", KEY("k")) "," OUTPUT("y", "/v/a/f",
							 KEY("k") ",\"archive\":{\"tar\":{}}"),
	      SIZE_MAX, "0 1 2");
	check(OUTPUT("x", "/v/a/f", KEY("k")) "," OUTPUT("y", "/v/a/f", KEY("k") "," NONE),
	      SIZE_MAX, "0 0 2");
	/* Directories that are merged, and packed ones, which are not. */
	assert_true(check(OUTPUT("x", "/v/a", KEY("k") "," NONE) "," OUTPUT("y", "/v/b",
									    KEY("k") "," NONE),
			  SIZE_MAX, "0 1 2"));
	assert_false(check(OUTPUT("x", "/v/a", KEY("k")) "," OUTPUT("y", "/v/b", KEY("k")),
			   SIZE_MAX, "0 0 2"));
	check(OUTPUT("x", "/v/a", KEY("k") "," NONE) "," OUTPUT("y", "/v/b/f", KEY("k") "," NONE),
	      SIZE_MAX, "0 0 2");
}

/* What should be a file, and was replaced. */
static void test_a_directory_for_a_log(void **state)
{
	(void)state;
	assert_int_equal(unlink(scratch_path("run/ctr/main/combined")), 0);
	assert_int_equal(mkdir(scratch_path("run/ctr/main/combined"), 0755), 0);
	check(OUTPUT("x", "/v/a/f", KEY("wf/pod/main.log")), SIZE_MAX, "0 0");
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_keys),
		cmocka_unit_test(test_places),
		cmocka_unit_test(test_who_comes_first),
		cmocka_unit_test(test_what_harms_nobody),
		cmocka_unit_test(test_a_directory_for_a_log),
	};

	return cmocka_run_group_tests(tests, stage_fixture_set_up, scratch_tear_down);
}
