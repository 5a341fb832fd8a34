/* Results, parameters and logs as `wait` finds them; uploads are for the tests of the stores. */
#include "executor/stage/save.h"

#include "executor/stage/saving.h"
#include "executor/stage/source.h"

#include <errno.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cmocka.h>

#include "tests/unit/scratch.h"
#include "tests/unit/stage_fixture.h"

static void check_result(const char *output, size_t size, const char *expected,
			 size_t expected_size)
{
	_cleanup_buffer_ struct buffer result = BUFFER_INIT(SAVE_RESULT_BYTES_MAX + 1);
	const struct stage *stage = stage_fixture_begin("{\"container\":{}}");
	struct error err = ERROR_NONE;

	stage_fixture_put("run/ctr/main/stdout", "");
	scratch_write_bytes("run/ctr/main/stdout", output, size);
	assert_int_equal(save_result(stage, &result, &err), 0);
	assert_int_equal(result.size, expected_size);
	assert_memory_equal(buffer_string(&result), expected, expected_size);
	stage_fixture_end();
}

static void test_result(void **state)
{
	static char large[SAVE_RESULT_BYTES_MAX + 100];

	(void)state;
	check_result("", 0, "", 0);
	check_result("\n", 1, "", 0);
	check_result("a\n\n", 3, "a\n", 2);
	check_result("a\r\n", 3, "a\r", 2);
	check_result("a\0b", 3, "a\0b", 3);
	for (size_t i = 0; i < sizeof(large); i++)
		large[i] = (char)('a' + i % 26);
	/* The end of it, with and without the newline that does not count. */
	check_result(large, SAVE_RESULT_BYTES_MAX, large, SAVE_RESULT_BYTES_MAX);
	check_result(large, sizeof(large), large + 100, SAVE_RESULT_BYTES_MAX);
	check_result(large, SAVE_RESULT_BYTES_MAX + 1, large + 1, SAVE_RESULT_BYTES_MAX);
	large[sizeof(large) - 1] = '\n';
	check_result(large, sizeof(large), large + 99, SAVE_RESULT_BYTES_MAX);
}

static void test_result_is_no_link(void **state)
{
	_cleanup_buffer_ struct buffer result = BUFFER_INIT(100);
	const struct stage *stage = stage_fixture_begin("{\"container\":{}}");
	struct error err = ERROR_NONE;

	(void)state;
	stage_fixture_put("run/ctr/main/other", "secret");
	unlink(scratch_path("run/ctr/main/stdout"));
	assert_int_equal(save_result(stage, &result, &err), -ENOENT);
	assert_memory_equal(err.message, "failed to read the result: open ", 32);
	assert_int_equal(symlink("other", scratch_path("run/ctr/main/stdout")), 0);
	assert_int_equal(save_result(stage, &result, &err), -ELOOP);
	unlink(scratch_path("run/ctr/main/stdout"));
	assert_int_equal(mkfifo(scratch_path("run/ctr/main/stdout"), 0600), 0);
	assert_int_equal(save_result(stage, &result, &err), -EINVAL);
	unlink(scratch_path("run/ctr/main/stdout"));
	assert_int_equal(result.size, 0);
	stage_fixture_end();
}

/* One parameter "p" with that source; *ret is its value, or what went wrong. */
static int save_parameter(const char *from, const char **ret)
{
	static char text[ERROR_MESSAGE_MAX];
	char template[500];
	_cleanup_json_ struct json_object *values = json_new_object();
	struct error err = ERROR_NONE;
	int r;

	snprintf(template, sizeof(template),
		 "{\"container\":{\"volumeMounts\":[{\"mountPath\":\"/work\"}]},\"outputs\":"
		 "{\"parameters\":[{\"name\":\"p\",\"valueFrom\":%s}]}}",
		 from);
	r = save_parameters(stage_fixture_begin(template), values, &err);
	snprintf(text, sizeof(text), "%s",
		 r < 0 ? err.message : json_get_string(values, "p", "(none)"));
	*ret = text;
	stage_fixture_end();
	return r;
}

static void test_parameters(void **state)
{
	const char *text;

	(void)state;
	stage_fixture_put("run/outputs/parameters/tmp/p", "from main\n");
	assert_int_equal(save_parameter("{\"path\":\"/tmp//p\"}", &text), 0);
	assert_string_equal(text, "from main");
	stage_fixture_put("volumes/work/sub/p", "from a volume\n\n");
	assert_int_equal(save_parameter("{\"path\":\"/work/sub/p\"}", &text), 0);
	assert_string_equal(text, "from a volume\n");
	/* Not UTF-8: the report has to be. */
	stage_fixture_put("volumes/work/sub/p", "\xff");
	assert_int_equal(save_parameter("{\"path\":\"/work/sub/p\"}", &text), 0);
	assert_string_equal(text, "\xef\xbf\xbd");
	assert_int_equal(save_parameter("{\"path\":\"/no\",\"default\":\"d\"}", &text), 0);
	assert_string_equal(text, "d");
	assert_int_equal(save_parameter("{\"path\":\"/no\",\"default\":12}", &text), 0);
	assert_string_equal(text, "12");
	assert_int_equal(save_parameter("{\"supplied\":{}}", &text), 0);
	assert_string_equal(text, "(none)");
	assert_int_equal(save_parameter("{\"path\":\"/no\"}", &text), -ENOENT);
	assert_non_null(strstr(text, "/run/outputs/parameters/no: no such file or directory"));
}

/* A user's link leads nowhere but within its volume. */
static void test_parameters_behind_links(void **state)
{
	const char *text;

	(void)state;
	stage_fixture_put("volumes/work/real", "inside");
	assert_int_equal(symlink("real", scratch_path("volumes/work/good")), 0);
	assert_int_equal(symlink("/etc/passwd", scratch_path("volumes/work/bad")), 0);
	assert_int_equal(symlink("../../run/template", scratch_path("volumes/work/up")), 0);
	assert_int_equal(symlink("/etc/passwd", scratch_path("run/outputs/parameters/bad")), 0);
	assert_int_equal(save_parameter("{\"path\":\"/work/good\"}", &text), 0);
	assert_string_equal(text, "inside");
	assert_int_equal(save_parameter("{\"path\":\"/work/bad\"}", &text), -EXDEV);
	assert_int_equal(save_parameter("{\"path\":\"/work/up\"}", &text), -EXDEV);
	assert_int_equal(save_parameter("{\"path\":\"/bad\"}", &text), -ELOOP);
}

static const char places[] =
	"{\"container\":{\"volumeMounts\":[{\"mountPath\":\"/work\"}]},"
	"\"inputs\":{\"artifacts\":[{\"name\":\"in\",\"path\":\"/in\",\"raw\":{}},"
	"{\"name\":\"o\",\"path\":\"/optional\",\"optional\":true}]}}";

static void test_where_paths_lie(void **state)
{
	struct stage stage = *stage_fixture_begin(places);

	(void)state;
	assert_true(stage_is_in_base(&stage, "/tmp/x"));
	assert_true(stage_is_in_base(&stage, "/workshop"));
	assert_true(stage_is_in_base(&stage, "/input"));
	assert_true(stage_is_in_base(&stage, "/optional")); /* was not supplied */
	assert_false(stage_is_in_base(&stage, "/work"));
	assert_false(stage_is_in_base(&stage, "/work/x"));
	assert_false(stage_is_in_base(&stage, "/in"));
	assert_false(stage_is_in_base(&stage, "/in/x"));
	stage.is_initless = true; /* inputs are links into main's own file system there */
	assert_true(stage_is_in_base(&stage, "/in/x"));
	assert_false(stage_is_in_base(&stage, "/work/x"));
	stage_fixture_end();
}

static int open_source(const struct stage *stage, const char *path, struct source *source,
		       struct error *err)
{
	const struct template_artifact artifact = { .name = "a", .path = path };

	return source_open(stage, &artifact, source, err);
}

static void test_sources(void **state)
{
	const struct stage *stage = stage_fixture_begin(places);
	struct error err = ERROR_NONE;
	struct source source;

	(void)state;
	stage_fixture_put("run/outputs/artifacts/tmp/x.tgz", "12345");
	assert_int_equal(open_source(stage, "/tmp/x", &source, &err), 0);
	assert_true(source.is_collected && !source.is_directory);
	assert_int_equal(source.size, 5);
	source_close(&source);
	source_close(&source);
	stage_fixture_put("volumes/work/tree/file", "abc");
	assert_int_equal(open_source(stage, "/work/tree", &source, &err), 0);
	assert_true(source.is_directory && !source.is_collected);
	source_close(&source);
	assert_int_equal(open_source(stage, "/work/tree/file", &source, &err), 0);
	assert_int_equal(source.size, 3);
	source_close(&source);
	assert_int_equal(open_source(stage, "/work/none", &source, &err), -ENOENT);
	assert_int_equal(err.class, ERROR_NOT_FOUND);
	assert_non_null(strstr(err.message, "/volumes/work/none: no such file or directory"));
	assert_int_equal(mkfifo(scratch_path("volumes/work/fifo"), 0600), 0);
	assert_int_equal(open_source(stage, "/work/fifo", &source, &err), -EINVAL);
	source_close(&source);
	assert_int_equal(mkdir(scratch_path("run/outputs/artifacts/d.tgz"), 0755), 0);
	assert_int_equal(open_source(stage, "/d", &source, &err), -EINVAL);
	source_close(&source);
	stage_fixture_end();
}

/* All failures are joined, a missing optional one is none of them, and nothing is reported. */
static void test_artifacts_without_a_store(void **state)
{
	const struct stage *stage = stage_fixture_begin(
		"{\"container\":{},\"archiveLocation\":{\"archiveLogs\":true,\"raw\":{}},"
		"\"outputs\":{\"artifacts\":[{\"name\":\"a\",\"path\":\"/tmp/a/../b\"},"
		"{\"name\":\"o\",\"path\":\"/gone\",\"optional\":true},"
		"{\"name\":\"r\",\"path\":\"/r\",\"raw\":{}}]}}");
	struct error err = ERROR_NONE;
	struct saving saving;

	(void)state;
	stage_fixture_put("run/outputs/artifacts/r.tgz", "x");
	assert_int_equal(saving_init(&saving, stage, true, &err), 0);
	saving_run(&saving);
	assert_true(saving_error(&saving, SAVING_ARTIFACTS, &err) < 0);
	assert_string_equal(err.message,
			    "Artifact 'a' attempted to use a path containing '..'. Directory "
			    "traversal is not permitted; artifact r failed to save: output "
			    "artifacts of type raw are not supported (raw, permanent); ");
	for (size_t i = 0; i < saving.count; i++)
		assert_null(saving.items[i].stored);
	assert_non_null(strstr(stage_fixture_logged(), "Skipped an optional artifact"));
	/* A container that never ran has no log, which is no failure. */
	assert_int_equal(saving_error(&saving, SAVING_LOGS, &err), 0);
	stage_fixture_put("run/ctr/main/combined", "log");
	saving_run(&saving);
	assert_true(saving_error(&saving, SAVING_LOGS, &err) < 0);
	saving_done(&saving);
	stage_fixture_end();
}

#define ORDER_MAX 8

static struct {
	char names[ORDER_MAX][16];
	size_t count;
} settled;

static void on_settled(struct saving *saving)
{
	for (size_t i = 0; i < saving->count; i++) {
		bool is_known = false;

		for (size_t j = 0; j < settled.count; j++)
			is_known |= strcmp(settled.names[j], saving->items[i].name) == 0;
		if (saving->items[i].is_settled && !is_known)
			snprintf(settled.names[settled.count++], sizeof(settled.names[0]), "%s",
				 saving->items[i].name);
	}
}

/* Whatever the template's order is; nothing of it can be stored, which does not matter here. */
static void test_smallest_first(void **state)
{
	static const char *const expected[] = { "empty", "none", "main", "small", "large", "tree" };
	const struct stage *stage = stage_fixture_begin(
		"{\"container\":{\"volumeMounts\":[{\"name\":\"v\",\"mountPath\":\"/v\"}]},"
		"\"archiveLocation\":{\"archiveLogs\":true,\"raw\":{}},"
		"\"outputs\":{\"artifacts\":[{\"name\":\"tree\",\"path\":\"/v/tree\"},"
		"{\"name\":\"large\",\"path\":\"/large\"},{\"name\":\"small\",\"path\":"
		"\"/small\"},{\"name\":\"empty\",\"path\":\"/empty\"},{\"name\":\"none\","
		"\"path\":\"/none\",\"optional\":true}]}}");
	char missing[8];
	struct error err = ERROR_NONE;
	struct saving saving;

	(void)state;
	settled.count = 0;
	stage_fixture_put("volumes/v/tree/file", "x");
	stage_fixture_put("run/outputs/artifacts/large.tgz", "four");
	stage_fixture_put("run/ctr/main/combined", "22");
	stage_fixture_put("run/outputs/artifacts/small.tgz", "333");
	stage_fixture_put("run/outputs/artifacts/empty.tgz", "");
	assert_int_equal(saving_init(&saving, stage, true, &err), 0);
	assert_int_equal(saving_missing(&saving, missing, sizeof(missing)), 6);
	assert_string_equal(missing, "tree, l");
	saving.on_settled = on_settled;
	saving_run(&saving);
	assert_int_equal(saving_missing(&saving, missing, sizeof(missing)), 0);
	assert_int_equal(settled.count, 6);
	/* What is empty and what is not there measure the same: the template's order decides. */
	for (size_t i = 0; i < 6; i++)
		assert_string_equal(settled.names[i], expected[i]);
	saving_done(&saving);
	/* Nothing to save is no error. */
	assert_int_equal(saving_init(&saving, stage, false, &err), 0);
	assert_int_equal(saving.count, 1);
	saving_done(&saving);
	stage_fixture_end();
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_result),
		cmocka_unit_test(test_result_is_no_link),
		cmocka_unit_test(test_parameters),
		cmocka_unit_test(test_parameters_behind_links),
		cmocka_unit_test(test_where_paths_lie),
		cmocka_unit_test(test_sources),
		cmocka_unit_test(test_artifacts_without_a_store),
		cmocka_unit_test(test_smallest_first),
	};

	return cmocka_run_group_tests(tests, stage_fixture_set_up, scratch_tear_down);
}
