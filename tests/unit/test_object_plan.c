/* The arithmetic of uploads, and which names of a listing are safe. */
#include "executor/artifact/object/content_type.h"
#include "executor/artifact/object/list.h"
#include "executor/artifact/object/put_file.h"
#include "executor/artifact/object/put_stream.h"
#include "executor/artifact/s3/client.h"

#include <errno.h>
#include <fcntl.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#define PART_SIZE "ARTIFACT_S3_UPLOAD_PART_SIZE_MIB"
#define THREADS "ARTIFACT_S3_UPLOAD_THREADS"

static struct object_file_plan plan_of(uint64_t size)
{
	struct object_file_plan plan = { 0 };
	struct error err = ERROR_NONE;

	if (object_file_plan(&plan, &s3_protocol, size, NULL, &err) < 0)
		fail_msg("%s", err.message);
	return plan;
}

static void test_part_size(void **state)
{
	(void)state;
	unsetenv(PART_SIZE);
	unsetenv(THREADS);
	assert_int_equal(plan_of(0).part_bytes, 16 * OBJECT_MIB);
	assert_int_equal(plan_of(1 << 30).part_bytes, 16 * OBJECT_MIB);
	assert_int_equal(plan_of(160000 * OBJECT_MIB).part_bytes, 16 * OBJECT_MIB);
	assert_int_equal(plan_of(160000 * OBJECT_MIB + 1).part_bytes, 17 * OBJECT_MIB);
	assert_int_equal(plan_of(10000 * OBJECT_PART_BYTES_MAX).part_bytes, OBJECT_PART_BYTES_MAX);
	assert_int_equal(object_file_plan(&(struct object_file_plan){ 0 }, &s3_protocol,
					  10000 * OBJECT_PART_BYTES_MAX + 1, NULL, NULL),
			 -EFBIG);
}

static void test_part_size_wanted(void **state)
{
	static const char *const ignored[] = { "4", "5121", "x", "-7", "", "5.5", "101" };

	(void)state;
	setenv(PART_SIZE, "5", 1);
	assert_int_equal(plan_of(100 * OBJECT_MIB).part_bytes, 5 * OBJECT_MIB);
	assert_int_equal(plan_of(5 * OBJECT_MIB).part_bytes, 5 * OBJECT_MIB);
	assert_int_equal(plan_of(5 * OBJECT_MIB - 1).part_bytes, 16 * OBJECT_MIB);
	assert_int_equal(plan_of(100000 * OBJECT_MIB).part_bytes, 10 * OBJECT_MIB);
	for (size_t i = 0; i < sizeof(ignored) / sizeof(ignored[0]); i++) {
		setenv(PART_SIZE, ignored[i], 1);
		assert_int_equal(plan_of(100 * OBJECT_MIB).part_bytes, 16 * OBJECT_MIB);
	}
	unsetenv(PART_SIZE);
}

static void test_threads(void **state)
{
	static const struct {
		const char *value;
		unsigned threads;
	} rows[] = { { "1", 1 }, { "7", 7 },  { "100000", OBJECT_THREADS_MAX },
		     { "0", 4 }, { "-1", 4 }, { "four", 4 },
		     { "", 4 } };

	(void)state;
	for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++) {
		setenv(THREADS, rows[i].value, 1);
		assert_int_equal(plan_of(1).threads, rows[i].threads);
	}
	unsetenv(THREADS);
	assert_int_equal(plan_of(1).threads, 4);
}

static void test_warning(void **state)
{
	char text[4096] = "";
	int pipe_fds[2];
	struct object_file_plan plan;

	(void)state;
	assert_int_equal(pipe2(pipe_fds, O_CLOEXEC), 0);
	setenv(PART_SIZE, "4", 1);
	setenv(THREADS, "many", 1);
	assert_int_equal(object_file_plan(&plan, &s3_protocol, 1,
					  &(struct log){ .fd = pipe_fds[1] }, NULL),
			 0);
	close(pipe_fds[1]);
	assert_true(read(pipe_fds[0], text, sizeof(text) - 1) > 0);
	close(pipe_fds[0]);
	assert_non_null(strstr(text, PART_SIZE));
	assert_non_null(strstr(text, THREADS));
	unsetenv(PART_SIZE);
	unsetenv(THREADS);
}

static void test_stream_parts(void **state)
{
	uint64_t total = 0;

	(void)state;
	for (unsigned number = 1; number <= OBJECT_PARTS_MAX; number++) {
		uint64_t bytes = object_stream_part_bytes(number, BUDGET_BYTES);

		assert_true(bytes >= OBJECT_PART_BYTES_MIN && bytes <= 32 * OBJECT_MIB);
		assert_true(bytes == object_stream_part_bytes(number, UINT64_MAX));
		total += bytes;
	}
	assert_true(total == OBJECT_STREAM_BYTES_MAX);
	assert_int_equal(object_stream_part_bytes(1, BUDGET_BYTES), 5 * OBJECT_MIB);
	assert_int_equal(object_stream_part_bytes(1001, BUDGET_BYTES), 8 * OBJECT_MIB);
	assert_int_equal(object_stream_part_bytes(1001, 18 * OBJECT_MIB), 8 * OBJECT_MIB);
	assert_int_equal(object_stream_part_bytes(2001, 18 * OBJECT_MIB), 5 * OBJECT_MIB);
	assert_int_equal(object_stream_part_bytes(10000, BUDGET_BYTES_MIN), 5 * OBJECT_MIB);
}

static void test_prefix(void **state)
{
	static const struct {
		const char *key, *prefix;
	} rows[] = {
		{ "a", "a/" },  { "a/", "a/" },   { "a//b/./c/..", "a/b/" },
		{ "", "" },     { "/a/", "/a/" }, { "/", "/" },
		{ "a/..", "" },
	};

	(void)state;
	for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++) {
		char *prefix = object_list_prefix(rows[i].key);

		assert_string_equal(prefix, rows[i].prefix);
		free(prefix);
	}
}

static void test_safe_names(void **state)
{
	static const char *const safe[] = { "a",   "a/b",      "..a",   "a..",
					    "...", "a/...b/c", "a/./b", "a\\b" };
	static const char *const unsafe[] = { "",   "/",    "/a",     "a/",   "a//b",
					      "..", "../a", "a/../b", "a/..", "a/b/../../..",
					      ".",  "a/." };

	(void)state;
	for (size_t i = 0; i < sizeof(safe) / sizeof(safe[0]); i++)
		assert_true(object_list_is_safe(safe[i]));
	for (size_t i = 0; i < sizeof(unsafe) / sizeof(unsafe[0]); i++)
		assert_false(object_list_is_safe(unsafe[i]));
}

static void test_content_type(void **state)
{
	(void)state;
	assert_string_equal(object_content_type("main.log"), "text/plain; charset=utf-8");
	assert_string_equal(object_content_type("/tmp/out.TGZ"), "application/gzip");
	assert_string_equal(object_content_type("a.tar.gz"), "application/gzip");
	assert_string_equal(object_content_type("noextension"), "application/octet-stream");
	assert_string_equal(object_content_type("a.zip/b"), "application/octet-stream");
	assert_string_equal(object_content_type("a."), "application/octet-stream");
	assert_string_equal(object_content_type(""), "application/octet-stream");
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_part_size),    cmocka_unit_test(test_part_size_wanted),
		cmocka_unit_test(test_threads),      cmocka_unit_test(test_warning),
		cmocka_unit_test(test_stream_parts), cmocka_unit_test(test_prefix),
		cmocka_unit_test(test_safe_names),   cmocka_unit_test(test_content_type),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
