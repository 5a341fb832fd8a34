/* YAML of kubeconfigs, friendly and hostile. */
#include "executor/kube/yaml.h"

#include <errno.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

static void expect_json(const char *yaml, const char *json)
{
	_cleanup_json_ struct json_object *value = NULL, *wanted = NULL;
	struct error err = ERROR_NONE;
	int r = yaml_parse(yaml, strlen(yaml), "doc", &value, &err);

	if (r < 0)
		fail_msg("%s: %s", yaml, err.message);
	assert_int_equal(json_parse(json, strlen(json), "json", &wanted, NULL), 0);
	if (!json_equal(value, wanted))
		fail_msg("%s is not %s", yaml, json);
}

static void expect_error(const char *yaml, size_t size, const char *part)
{
	struct json_object *value = NULL;
	struct error err = ERROR_NONE;

	assert_true(yaml_parse(yaml, size, "doc", &value, &err) < 0);
	assert_null(value);
	if (!strstr(err.message, part))
		fail_msg("\"%s\" is not in \"%s\"", part, err.message);
	assert_null(strchr(err.message, '\n'));
}

static void test_values(void **state)
{
	(void)state;
	expect_json("a: 1\nb: [x, 'true', \"y\\u00e9\"]\nc:\n  d: true\n  e: False\n",
		    "{\"a\":\"1\",\"b\":[\"x\",\"true\",\"y\xc3\xa9\"],"
		    "\"c\":{\"d\":true,\"e\":false}}");
	expect_json("{\"json\": {\"is\": [\"yaml\", \"too\"]}}",
		    "{\"json\":{\"is\":[\"yaml\",\"too\"]}}");
	expect_json("a: |\n  one\n  two\nb: >-\n  one\n  two\n",
		    "{\"a\":\"one\\ntwo\\n\",\"b\":\"one two\"}");
	expect_json("token: 0123456789\nfloat: 1e3\n",
		    "{\"token\":\"0123456789\",\"float\":\"1e3\"}");
}

static void test_nulls_are_absent(void **state)
{
	(void)state;
	expect_json("a: null\nb: ~\nc:\nd: 'null'\n", "{\"d\":\"null\"}");
	expect_json("", "null");
	expect_json("# only a comment\n", "null");
	expect_json("---\na: b\n---\nc: d\n", "{\"a\":\"b\"}");
}

static void test_broken(void **state)
{
	static const char nul[] = "a: b\0c: d\n";
	static const char bytes[] = "a: \xff\xfe\n";

	(void)state;
	expect_error(nul, sizeof(nul) - 1, "not valid YAML");
	expect_error(bytes, sizeof(bytes) - 1, "not valid YAML");
	expect_error("a: [b\n", 6, "doc:");
	expect_error("a: b\n\tc: d\n", 11, "doc:2");
	expect_error("? [x]\n: y\n", 10, "a key must be a plain word");
	expect_error("\"a\\0b\": y\n", 10, "NUL in a key");
}

static void test_bombs(void **state)
{
	static const char laughs[] = "a: &a [x, x]\nb: &b [*a, *a]\nc: [*b, *b]\n";
	static const char self[] = "a: &a\n  b: *a\n";
	static const char merge[] = "a: {b: c}\nd:\n  <<: {e: f}\n";

	(void)state;
	expect_error(laughs, sizeof(laughs) - 1, "anchors and aliases");
	expect_error(self, sizeof(self) - 1, "anchors and aliases");
	expect_error(merge, sizeof(merge) - 1, "merge keys");
}

static void test_depth_and_number(void **state)
{
	size_t size = 1024 * 1024;
	char *text = malloc(size);

	(void)state;
	memset(text, '[', size);
	expect_error(text, size, "doc:1");
	for (size_t i = 0; i < size; i++)
		text[i] = i % 2 ? ' ' : '-';
	expect_error(text, size, "nested too deeply");
	for (size_t i = 0; i < size; i++)
		text[i] = "- a\n"[i % 4];
	expect_error(text, size, "too many values");
	free(text);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_values),           cmocka_unit_test(test_nulls_are_absent),
		cmocka_unit_test(test_broken),           cmocka_unit_test(test_bombs),
		cmocka_unit_test(test_depth_and_number),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
