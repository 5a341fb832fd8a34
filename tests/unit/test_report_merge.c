/* What is sent for our outputs to be there beside those of another writer. */
#include "executor/base/buffer.h"
#include "executor/base/cleanup.h"
#include "executor/report/result_body.h"
#include "executor/report/result_merge.h"

#include <errno.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#define TEXT_MAX (8 * 1024 * 1024)

static struct json_object *parse(const char *text)
{
	struct json_object *value = NULL;

	if (text)
		assert_int_equal(json_parse(text, strlen(text), "test", &value, NULL), 0);
	return value;
}

/* The text, since the order matters. */
static void expect_within(size_t max, int code, const char *stored_text, const char *ours_text,
			  const char *wanted, const char *message)
{
	_cleanup_json_ struct json_object *stored = parse(stored_text), *ours = parse(ours_text);
	_cleanup_json_ struct json_object *merged = NULL;
	_cleanup_buffer_ struct buffer text = BUFFER_INIT(TEXT_MAX), before = BUFFER_INIT(TEXT_MAX);
	struct error err = ERROR_NONE;

	assert_int_equal(result_merge(stored, ours, max, &merged, &err), code);
	assert_int_equal(json_print(merged, &text, NULL), 0);
	assert_string_equal(buffer_string(&text), wanted);
	assert_int_equal(err.code, code);
	if (message && !strstr(err.message, message))
		fail_msg("\"%s\" is not in \"%s\"", message, err.message);
	/* Neither of the two is changed. */
	assert_int_equal(json_print(ours, &before, NULL), 0);
	assert_string_equal(buffer_string(&before), ours_text);
}

static void expect(const char *stored, const char *ours, const char *wanted)
{
	expect_within(TEXT_MAX, 0, stored, ours, wanted, NULL);
}

static void test_nothing_is_stored(void **state)
{
	static const char ours[] =
		"{\"parameters\":[{\"name\":\"p\"}],\"artifacts\":[{\"name\":\"a\"}]}";

	(void)state;
	expect(NULL, ours, ours);
	expect("{}", ours, ours);
	expect(NULL, "{}", "{}");
}

static void test_the_others_stay(void **state)
{
	(void)state;
	expect("{\"artifacts\":[{\"name\":\"x\"},{\"name\":\"y\"}]}",
	       "{\"artifacts\":[{\"name\":\"a\"}]}",
	       "{\"artifacts\":[{\"name\":\"x\"},{\"name\":\"y\"},{\"name\":\"a\"}]}");
	expect("{\"parameters\":[{\"name\":\"q\",\"value\":\"1\"}]}",
	       "{\"parameters\":[{\"name\":\"p\",\"value\":\"2\"}]}",
	       "{\"parameters\":[{\"name\":\"q\",\"value\":\"1\"},{\"name\":\"p\",\"value\":\"2\"}]}");
}

static void test_ours_replace_those_of_their_name(void **state)
{
	(void)state;
	/* As a whole: what it had of its own is gone. */
	expect("{\"artifacts\":[{\"name\":\"a\",\"s3\":{\"key\":\"1\"},\"mode\":7},{\"name\":\"x\"},"
	       "{\"name\":\"b\"}]}",
	       "{\"artifacts\":[{\"name\":\"b\",\"raw\":1},{\"name\":\"a\",\"oss\":{}}]}",
	       "{\"artifacts\":[{\"name\":\"b\",\"raw\":1},{\"name\":\"x\"},{\"name\":\"a\",\"oss\":{}}]}");
}

/* The order of the template, in which they are not stored. */
static void test_ours_keep_their_order(void **state)
{
	(void)state;
	expect("{\"artifacts\":[{\"name\":\"small\"}]}",
	       "{\"artifacts\":[{\"name\":\"large\"},{\"name\":\"small\"}]}",
	       "{\"artifacts\":[{\"name\":\"large\"},{\"name\":\"small\"}]}");
	expect("{\"artifacts\":[{\"name\":\"x\"},{\"name\":\"c\"},{\"name\":\"y\"}]}",
	       "{\"artifacts\":[{\"name\":\"a\"},{\"name\":\"b\"},{\"name\":\"c\"}]}",
	       "{\"artifacts\":[{\"name\":\"x\"},{\"name\":\"a\"},{\"name\":\"y\"},"
	       "{\"name\":\"b\"},{\"name\":\"c\"}]}");
}

/* What is not sent stays by the rules of a merge patch. */
static void test_members_of_the_other(void **state)
{
	(void)state;
	expect("{\"result\":\"r\",\"exitCode\":\"3\",\"parameters\":[{\"name\":\"q\"}]}",
	       "{\"artifacts\":[{\"name\":\"a\"}]}", "{\"artifacts\":[{\"name\":\"a\"}]}");
	expect("{\"result\":\"r\"}", "{\"result\":\"s\"}", "{\"result\":\"s\"}");
}

static void test_odd_arrays(void **state)
{
	(void)state;
	expect("{\"artifacts\":{\"name\":\"x\"}}", "{\"artifacts\":[{\"name\":\"a\"}]}",
	       "{\"artifacts\":[{\"name\":\"a\"}]}");
	expect("{\"artifacts\":null}", "{\"artifacts\":[]}", "{\"artifacts\":[]}");
	expect("{\"artifacts\":[null,7,{\"name\":\"x\"}]}", "{\"artifacts\":[{\"name\":\"a\"}]}",
	       "{\"artifacts\":[7,{\"name\":\"x\"},{\"name\":\"a\"}]}");
	/* Two of one name, here and there. */
	expect("{\"artifacts\":[{\"name\":\"a\",\"n\":1},{\"name\":\"x\",\"n\":1},{\"name\":\"x\",\"n\":2},"
	       "{\"name\":\"a\",\"n\":2},{\"name\":\"a\",\"n\":3}]}",
	       "{\"artifacts\":[{\"name\":\"a\",\"n\":4},{\"name\":\"a\",\"n\":5}]}",
	       "{\"artifacts\":[{\"name\":\"a\",\"n\":4},{\"name\":\"x\",\"n\":1},{\"name\":\"x\",\"n\":2},"
	       "{\"name\":\"a\",\"n\":5}]}");
}

static struct json_object *random_outputs(unsigned *seed, const char *who)
{
	static const char *const arrays[] = { "parameters", "artifacts" };
	struct json_object *outputs = json_new_object();

	for (size_t i = 0; i < 2; i++) {
		struct json_object *array = json_new_array();
		int count = rand_r(seed) % 5;

		for (int n = 0; n < count; n++) {
			struct json_object *entry = json_new_object();
			char name[2] = { (char)('a' + rand_r(seed) % 6), '\0' };

			assert_int_equal(json_set_string(entry, "name", name), 0);
			assert_int_equal(json_set_string(entry, "by", who), 0);
			assert_int_equal(json_append(array, entry), 0);
		}
		assert_int_equal(json_set(outputs, arrays[i], array), 0);
	}
	return outputs;
}

static bool has_name(struct json_object *array, const char *name)
{
	for (size_t i = 0; i < json_length(array); i++)
		if (!strcmp(json_get_string(json_at(array, i), "name", ""), name))
			return true;
	return false;
}

static size_t count_of(struct json_object *array, const char *who)
{
	size_t count = 0;

	for (size_t i = 0; i < json_length(array); i++)
		count += !strcmp(json_get_string(json_at(array, i), "by", ""), who);
	return count;
}

/* Merged twice is as it was, ours are all there, and of the other's all that have a name of their own. */
static void test_any_two(void **state)
{
	(void)state;
	for (unsigned run = 0; run < 2000; run++) {
		unsigned seed = run;
		_cleanup_json_ struct json_object *stored = random_outputs(&seed, "other");
		_cleanup_json_ struct json_object *ours = random_outputs(&seed, "us");
		_cleanup_json_ struct json_object *once = NULL, *twice = NULL;
		struct json_object *a, *b, *both;
		size_t kept = 0;

		assert_int_equal(result_merge(stored, ours, TEXT_MAX, &once, NULL), 0);
		assert_int_equal(result_merge(once, ours, TEXT_MAX, &twice, NULL), 0);
		assert_true(json_equal(once, twice));
		assert_true(result_body_contains(once, twice));
		a = json_get(stored, "artifacts");
		b = json_get(ours, "artifacts");
		both = json_get(once, "artifacts");
		for (size_t i = 0; i < json_length(a); i++)
			kept += !has_name(b, json_get_string(json_at(a, i), "name", ""));
		assert_int_equal(count_of(both, "us"), json_length(b));
		assert_int_equal(count_of(both, "other"), kept);
		assert_int_equal(json_length(both), json_length(b) + kept);
	}
}

static void test_the_limit_is_that_of_both(void **state)
{
	static const char stored[] =
		"{\"result\":\"xxxxxxxxxx\",\"parameters\":[{\"name\":\"q\"}]}";
	static const char ours[] = "{\"parameters\":[{\"name\":\"p\",\"value\":\"yyyyy\"}]}";
	static const char both[] =
		"{\"parameters\":[{\"name\":\"q\"},{\"name\":\"p\",\"value\":\"yyyyy\"}]}";
	static const char whole[] = "{\"result\":\"xxxxxxxxxx\",\"parameters\":[{\"name\":\"q\"},"
				    "{\"name\":\"p\",\"value\":\"yyyyy\"}]}";

	(void)state;
	expect_within(sizeof(whole) - 1, 0, stored, ours, both, NULL);
	expect_within(
		sizeof(whole) - 2, -EMSGSIZE, stored, ours,
		"{\"parameters\":[{\"name\":\"q\"},{\"name\":\"p\"}]}",
		"outputs of 80 bytes (another writer's are 35 of them) exceed the limit of 79; use "
		"artifacts for large values; not reported: parameter p (7 bytes)");
	/* The other's are not ours to cut. */
	expect_within(20, -EMSGSIZE, stored, ours,
		      "{\"parameters\":[{\"name\":\"q\"},{\"name\":\"p\"}]}",
		      "what is left is still too large");
	/* Of the same name: it makes room. */
	expect_within(45, 0,
		      "{\"parameters\":[{\"name\":\"p\",\"value\":\"xxxxxxxxxxxxxxxxxxxx\"}]}",
		      ours, ours, NULL);
}

static void append_entries(struct buffer *text, const char *prefix, int count)
{
	buffer_append_string(text, "{\"artifacts\":[");
	for (int i = 0; i < count; i++)
		buffer_append_format(text, "%s{\"name\":\"%s%d\"}", i ? "," : "", prefix, i);
	buffer_append_string(text, "]}");
}

/* Names are looked up: as many as an object has room for, of which none is the same. */
static void test_many_of_each(void **state)
{
	_cleanup_buffer_ struct buffer theirs = BUFFER_INIT(TEXT_MAX), own = BUFFER_INIT(TEXT_MAX);
	_cleanup_json_ struct json_object *stored, *ours, *merged = NULL;

	(void)state;
	append_entries(&theirs, "x", 40000);
	append_entries(&own, "a", 40000);
	stored = parse(buffer_string(&theirs));
	ours = parse(buffer_string(&own));
	assert_int_equal(result_merge(stored, ours, TEXT_MAX, &merged, NULL), 0);
	assert_int_equal(json_length(json_get(merged, "artifacts")), 80000);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_nothing_is_stored),
		cmocka_unit_test(test_the_others_stay),
		cmocka_unit_test(test_ours_replace_those_of_their_name),
		cmocka_unit_test(test_ours_keep_their_order),
		cmocka_unit_test(test_members_of_the_other),
		cmocka_unit_test(test_odd_arrays),
		cmocka_unit_test(test_any_two),
		cmocka_unit_test(test_the_limit_is_that_of_both),
		cmocka_unit_test(test_many_of_each),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
