/* JSON that stays text: what is accepted, and what is found in it. */
#include "executor/json/span.h"

#include <errno.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>

#include <cmocka.h>

static struct json_span check(const char *text)
{
	struct error err = ERROR_NONE;
	struct json_span span = { .text = NULL };

	if (json_span_check(text, strlen(text), "text", &span, &err) < 0)
		fail_msg("%s", err.message);
	return span;
}

static void assert_text(struct json_span span, const char *text)
{
	assert_non_null(span.text);
	assert_int_equal(span.size, strlen(text));
	assert_memory_equal(span.text, text, span.size);
}

/* clang-format off */
static const char *const texts[] = {
	"", " ", "{", "}", "{}", " {} ", "{} {}", "[]", "[", "[1", "[1,", "[1,]", "[,1]", "[1 2]",
	"{\"a\"", "{\"a\":", "{\"a\":}", "{\"a\":1", "{\"a\":1,}", "{\"a\":1}", "{a:1}", "{\"a\" 1}",
	"{1:2}", "{\"a\":1 \"b\":2}", "nul", "null", "nulll", "true", "false", "True", "tru e", "1",
	"-1", "-", "01", "1.", "1.5", "1.5e", "1.5e+3", "1-2", "1e5e5", "1.2.3", ".5", "+1", "\"", "\"a\"",
	"\"a", "\"\\", "\"\\\"", "\"\\\"\"", "\"\\x\"", "\"\\u12\"", "\"\\u12ab\"", "\"\\u12ag\"",
	"\"a\"b", "[\"a\":1]", "{\"a\":[{\"b\":[]}]}", "\"\xff\"", "\"\t\"", "'a'", "[}", "{]", "//",
	"{\"a\":1}x", "[true,false,null]", "9223372036854775808000", "NaN", "[1,2],", "\"\\ud800\"",
};
/* clang-format on */

/* Whatever one of the two refuses, the other does. */
static void test_same_as_values(void **state)
{
	(void)state;
	for (size_t i = 0; i < sizeof(texts) / sizeof(texts[0]); i++) {
		struct json_object *value = NULL;
		struct json_span span;
		struct error err = ERROR_NONE;
		int r = json_parse(texts[i], strlen(texts[i]), "text", &value, &err);

		if ((json_span_check(texts[i], strlen(texts[i]), "text", &span, NULL) < 0) !=
		    (r < 0))
			fail_msg("%s: as a value %s", texts[i], r < 0 ? err.message : "accepted");
		json_free(value);
	}
}

static void test_depth(void **state)
{
	char text[2 * JSON_DEPTH_MAX + 3];
	struct error err = ERROR_NONE;

	(void)state;
	for (int depth = JSON_DEPTH_MAX - 2; depth <= JSON_DEPTH_MAX + 1; depth++) {
		struct json_object *value = NULL;
		struct json_span span;
		int r, s;

		memset(text, '[', (size_t)depth);
		memset(text + depth, ']', (size_t)depth);
		text[2 * depth] = '\0';
		r = json_parse(text, strlen(text), "text", &value, NULL);
		s = json_span_check(text, strlen(text), "text", &span, &err);
		assert_int_equal(r < 0, s < 0);
		json_free(value);
	}
	assert_string_equal(err.message, "text: not valid JSON: nesting too deep at byte 64");
}

static int count_members(const char *key, struct json_span value, void *context)
{
	(void)key;
	(void)value;
	return ++*(int *)context == 2 ? 7 : 0;
}

static int count_nulls(const char *key, struct json_span value, void *context)
{
	if (value.text)
		return 0;
	assert_string_equal(key, "n");
	++*(int *)context;
	return 0;
}

static int count_elements(struct json_span value, void *context)
{
	(void)value;
	++*(int *)context;
	return 0;
}

static void test_members(void **state)
{
	struct json_span object = check(
		" { \"a\" : [ 1 , \"]\" ] , \"b\\u0062\\n\":{\"c\":\"x\\\"y\"},\"n\":null , \"a\":2 } ");
	struct json_span inner;
	char *text;
	int count = 0;

	(void)state;
	assert_text(json_span_get(object, "a"), "[ 1 , \"]\" ]");
	inner = json_span_get(object, "bb\n");
	assert_text(json_span_get(inner, "c"), "\"x\\\"y\"");
	text = json_span_string(json_span_get(inner, "c"), "none");
	assert_string_equal(text, "x\"y");
	free(text);
	text = json_span_string(json_span_get(object, "a"), "none");
	assert_string_equal(text, "none");
	free(text);
	text = json_span_string(json_span_get(object, "z"), "none");
	assert_string_equal(text, "none");
	free(text);
	assert_null(json_span_get(object, "n").text);
	assert_null(json_span_get(json_span_get(object, "a"), "a").text);
	assert_int_equal(json_span_each(object, count_members, &count), 7);
	count = 0;
	assert_int_equal(json_span_each(object, count_nulls, &count), 0);
	assert_int_equal(json_span_each_name(object, count_nulls, &count), 0);
	assert_int_equal(count, 1);
	count = 0;
	assert_int_equal(json_span_elements(json_span_get(object, "a"), count_elements, &count), 0);
	assert_int_equal(count, 2);
	count = 0;
	assert_int_equal(json_span_elements(object, count_elements, &count), 0);
	assert_int_equal(json_span_elements(check("[ ]"), count_elements, &count), 0);
	assert_int_equal(json_span_each(check("{ }"), count_members, &count), 0);
	assert_int_equal(count, 0);
}

static void test_values(void **state)
{
	struct json_span object = check("{\"a\":{\"b\":[1,2.50]}}");
	struct json_object *value = NULL;

	(void)state;
	assert_int_equal(json_span_parse(json_span_get(object, "a"), "a", &value, NULL), 0);
	assert_int_equal(json_length(json_get(value, "b")), 2);
	json_free(value);
	assert_int_equal(json_span_parse(json_span_get(object, "x"), "x", &value, NULL), 0);
	assert_null(value);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_same_as_values),
		cmocka_unit_test(test_depth),
		cmocka_unit_test(test_members),
		cmocka_unit_test(test_values),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
