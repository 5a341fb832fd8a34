#include "executor/json/json.h"

#include <errno.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>

#include <cmocka.h>

static struct json_object *parse(const char *text)
{
	struct json_object *value = NULL;
	struct error err = ERROR_NONE;

	if (json_parse(text, strlen(text), "document", &value, &err) < 0)
		fail_msg("%s: %s", text, err.message);
	return value;
}

static const char *print(struct json_object *value)
{
	static char text[8192];
	_cleanup_buffer_ struct buffer out = BUFFER_INIT(sizeof(text) - 1);
	struct error err = ERROR_NONE;

	if (json_print(value, &out, &err) < 0)
		fail_msg("%s", err.message);
	snprintf(text, sizeof(text), "%s", buffer_string(&out));
	return text;
}

/* Whatever comes in goes out again, unknown fields and the text of numbers included. */
static void test_round_trip(void **state)
{
	static const char *const documents[] = {
		"{}",
		"[]",
		"null",
		"true",
		"\"\"",
		"0",
		"9007199254740993",
		"9223372036854775807",
		"-9223372036854775808",
		"18446744073709551615",
		"0.1",
		"1.10",
		"100.000",
		"1e400",
		"1E+5",
		"-0.0",
		"3.141592653589793238462643383279502884197",
		"{\"z\":1,\"a\":{\"unknown\":[1,2.50,null,false]},\"\":\"\"}",
		"\"\xc3\xa4\xf0\x9f\x98\x80\\u0000\\u0001\\n\\\"\\\\/\"",
		"[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[1]]]]]]]]]]]]]]]]]]]]]]]]]]]]]]",
	};

	(void)state;
	for (size_t i = 0; i < sizeof(documents) / sizeof(documents[0]); i++) {
		_cleanup_json_ struct json_object *value = parse(documents[i]);
		_cleanup_json_ struct json_object *copy = json_copy(value);

		assert_string_equal(print(value), documents[i]);
		if (value)
			assert_string_equal(print(copy), documents[i]);
		assert_true(json_equal(value, copy));
	}
}

static void test_white_space_around(void **state)
{
	static const char *const documents[] = { " \t\r\n1\n", "1 \r\n\t ", "[ 1 , 2 ]", "1" };

	(void)state;
	for (size_t i = 0; i < sizeof(documents) / sizeof(documents[0]); i++)
		json_free(parse(documents[i]));
}

static const char *const refused[] = {
	"",
	" ",
	"[",
	"{",
	"[1",
	"{\"a\"",
	"{\"a\":",
	"\"abc",
	"tru",
	"nul",
	"-",
	"1e",
	"1.",
	/* more than one value */
	"1 2",
	"{}{}",
	"[] x",
	"1//x",
	"nullnull",
	"1,",
	"{},",
	/* grammar */
	"[1,]",
	"{\"a\":1,}",
	"[1 2]",
	"{a:1}",
	"{\"a\" 1}",
	"{'a':1}",
	"'a'",
	"[,]",
	"]",
	"}",
	"/**/1",
	"TRUE",
	"True",
	"Null",
	"{1:2}",
	"[\"a\":1]",
	/* numbers */
	"NaN",
	"-NaN",
	"Infinity",
	"-Infinity",
	"nan",
	"[NaN]",
	"{\"a\":-Infinity}",
	"01",
	"-01",
	"00",
	"-00.5",
	"1.e3",
	".5",
	"+1",
	"0x10",
	"1e+",
	"[1.]",
	"18446744073709551616",
	"-9223372036854775809",
	"[99999999999999999999999]",
	/* strings */
	"\"a\tb\"",
	"\"a\nb\"",
	"\"\x1f\"",
	"\"\\x\"",
	"\"\\u12\"",
	"\"\\u12g4\"",
	"\"\xff\"",
	"\"\xc0\x80\"",
	"\"\xed\xa0\x80\"",
	"\"\xf4\x90\x80\x80\"",
	"\"\xc3\"",
	"{\"\xff\":1}",
	"\xef\xbb\xbf{}",
	"\x0b"
	"1",
};

static void test_refused(void **state)
{
	(void)state;
	for (size_t i = 0; i < sizeof(refused) / sizeof(refused[0]); i++) {
		struct json_object *value = NULL;
		struct error err = ERROR_NONE;

		if (json_parse(refused[i], strlen(refused[i]), "the doc", &value, &err) != -EINVAL)
			fail_msg("%s was accepted", refused[i]);
		assert_null(value);
		assert_memory_equal(err.message, "the doc: ", 9);
	}
}

static void test_messages(void **state)
{
	static const char *const cases[][2] = {
		{ "{\"a\":1} x", "d: not valid JSON: trailing data at byte 8" },
		{ "[1,2", "d: not valid JSON: unexpected end at byte 4" },
		{ "[1,NaN]", "d: not valid JSON: unexpected character at byte 3" },
		{ "[\"a\xff\"]", "d: not valid JSON: invalid utf-8 string at byte 3" },
		{ "18446744073709551616",
		  "d: not valid JSON: integer of more than 64 bits at byte 20" },
	};

	(void)state;
	for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
		struct json_object *value;
		struct error err = ERROR_NONE;

		assert_int_equal(json_parse(cases[i][0], strlen(cases[i][0]), "d", &value, &err),
				 -EINVAL);
		assert_string_equal(err.message, cases[i][1]);
	}
}

static void test_nul_is_refused(void **state)
{
	struct json_object *value;
	struct error err = ERROR_NONE;

	(void)state;
	assert_int_equal(json_parse("1\0", 2, "d", &value, &err), -EINVAL);
	assert_int_equal(json_parse("\"a\0b\"", 5, "d", &value, &err), -EINVAL);
	assert_string_equal(err.message, "d: NUL byte in JSON");
}

/* Every prefix of a document that is not a document is refused, and nothing is read behind it. */
static void test_every_prefix(void **state)
{
	static const char document[] = "{\"a\":[1,-2.5e3,\"x\\u00e4\xc3\xa4\",true,null],\"b\":{}}";

	(void)state;
	for (size_t size = 0; size < sizeof(document) - 1; size++) {
		char *exact = malloc(size ? size : 1); /* the sanitizer guards its end */
		struct json_object *value = NULL;

		memcpy(exact, document, size);
		assert_int_equal(json_parse(exact, size, "d", &value, NULL), -EINVAL);
		free(exact);
	}
	json_free(parse(document));
}

static void check_depth(const char *open, const char *close, size_t depth, int expected)
{
	_cleanup_buffer_ struct buffer text = BUFFER_INIT(1 << 20);
	struct json_object *value = NULL;
	struct error err = ERROR_NONE;

	for (size_t i = 0; i < depth; i++)
		buffer_append_string(&text, open);
	buffer_append_string(&text, "1");
	for (size_t i = 0; i < depth; i++)
		buffer_append_string(&text, close);
	assert_int_equal(json_parse(text.data, text.size, "d", &value, &err), expected);
	json_free(value);
}

static void test_depth(void **state)
{
	(void)state;
	check_depth("[", "]", JSON_DEPTH_MAX - 1, 0);
	check_depth("[", "]", JSON_DEPTH_MAX + 1, -EINVAL);
	check_depth("[", "]", 100000, -EINVAL);
	check_depth("{\"a\":", "}", JSON_DEPTH_MAX - 1, 0);
	check_depth("{\"a\":", "}", 50000, -EINVAL);
}

static void test_big_input(void **state)
{
	_cleanup_buffer_ struct buffer text = BUFFER_INIT(8 << 20);
	_cleanup_json_ struct json_object *value = NULL;
	const size_t count = 50000;

	(void)state;
	for (size_t i = 0; i < count; i++)
		buffer_append_format(&text, "%s{\"name\":\"element %zu\",\"value\":%zu}",
				     i ? "," : "[", i, i);
	buffer_append_string(&text, "]");
	assert_int_equal(json_parse(text.data, text.size, "d", &value, NULL), 0);
	assert_int_equal(json_length(value), count);
	assert_int_equal(json_get_int(json_at(value, count - 1), "value", -1), count - 1);
}

static void test_last_duplicate_wins(void **state)
{
	_cleanup_json_ struct json_object *value = parse("{\"a\":1,\"b\":2,\"a\":3}");

	(void)state;
	assert_int_equal(json_length(value), 2);
	assert_int_equal(json_get_int(value, "a", 0), 3);
}

static void test_getters(void **state)
{
	_cleanup_json_ struct json_object *value =
		parse("{\"s\":\"x\\u0000y\",\"n\":-7,\"d\":1.5,\"t\":true,\"z\":null,"
		      "\"o\":{\"p\":{\"q\":\"deep\"}},\"l\":[1,2]}");
	size_t size = 0;

	(void)state;
	assert_memory_equal(json_string(json_get(value, "s"), &size), "x\0y", 4);
	assert_int_equal(size, 3);
	assert_null(json_string(json_get(value, "n"), &size));
	assert_string_equal(json_get_string(value, "s", "f"), "x");
	assert_string_equal(json_get_string(value, "n", "f"), "f");
	assert_string_equal(json_get_string(NULL, "n", "f"), "f");
	assert_int_equal(json_get_int(value, "n", 1), -7);
	assert_int_equal(json_get_int(value, "d", 1), 1);
	assert_int_equal(json_get_int(value, "missing", 1), 1);
	assert_true(json_get_bool(value, "t", false));
	assert_true(json_get_bool(value, "n", true));
	assert_null(json_get(value, "z"));
	assert_null(json_get(json_get(value, "l"), "a"));
	assert_string_equal(json_string(json_find(value, "o", "p", "q", NULL), NULL), "deep");
	assert_null(json_find(value, "o", "x", "q", NULL));
	assert_int_equal(json_length(json_get(value, "l")), 2);
	assert_int_equal(json_length(json_get(value, "s")), 0);
	assert_null(json_at(json_get(value, "l"), 2));
	assert_null(json_at(value, 0));
	assert_true(json_is_number(json_get(value, "d")) && json_is_number(json_get(value, "n")));
	assert_string_equal(json_kind_name(json_get(value, "d")), "number");
	assert_string_equal(json_kind_name(json_get(value, "t")), "boolean");
	assert_string_equal(json_kind_name(json_get(value, "l")), "array");
	assert_string_equal(json_kind_name(value), "object");
	assert_string_equal(json_kind_name(json_get(value, "s")), "string");
	assert_string_equal(json_kind_name(NULL), "null");
}

static void test_scalar_text(void **state)
{
	static const char *const cases[][2] = {
		{ "\"as it is\"", "as it is" },
		{ "12", "12" },
		{ "1.50", "1.50" },
		{ "true", "true" },
		{ "false", "false" },
		{ "\"\"", "" },
		{ "9007199254740993", "9007199254740993" },
	};
	_cleanup_json_ struct json_object *list = parse("[1]"), *object = parse("{}");
	_cleanup_buffer_ struct buffer out = BUFFER_INIT(100);

	(void)state;
	for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
		_cleanup_json_ struct json_object *value = parse(cases[i][0]);

		buffer_reset(&out);
		assert_int_equal(json_scalar_text(value, &out), 0);
		assert_string_equal(buffer_string(&out), cases[i][1]);
	}
	assert_int_equal(json_scalar_text(list, &out), -EINVAL);
	assert_int_equal(json_scalar_text(object, &out), -EINVAL);
	assert_int_equal(json_scalar_text(NULL, &out), -EINVAL);
}

static int count_until_c(const char *key, struct json_object *value, void *context)
{
	(void)value;
	++*(int *)context;
	return strcmp(key, "c") == 0 ? 17 : 0;
}

static void test_each(void **state)
{
	_cleanup_json_ struct json_object *value = parse("{\"a\":1,\"b\":null,\"c\":3,\"d\":4}");
	int count = 0;

	(void)state;
	assert_int_equal(json_each(value, count_until_c, &count), 17);
	assert_int_equal(count, 3);
	assert_int_equal(json_each(NULL, count_until_c, &count), 0);
	json_remove(value, "c");
	count = 0;
	assert_int_equal(json_each(value, count_until_c, &count), 0);
	assert_int_equal(count, 3);
}

static void test_building(void **state)
{
	_cleanup_json_ struct json_object *value = json_new_object(), *list = json_new_array();
	_cleanup_json_ struct json_object *other = NULL;

	(void)state;
	assert_int_equal(json_set(value, "n", parse("-9223372036854775808")), 0);
	assert_int_equal(json_set(value, "b", json_new_bool(true)), 0);
	assert_int_equal(json_set_string(value, "s", "http://x/\"y\""), 0);
	assert_int_equal(json_append(list, json_new_string("a\0b", 3)), 0);
	assert_int_equal(json_append(list, json_ref(value)), 0);
	assert_int_equal(json_set(value, "gone", NULL), -ENOMEM);
	assert_int_equal(json_append(list, NULL), -ENOMEM);
	assert_string_equal(print(list), "[\"a\\u0000b\",{\"n\":-9223372036854775808,\"b\":true,"
					 "\"s\":\"http://x/\\\"y\\\"\"}]");
	other = parse("{\"s\":\"http://x/\\\"y\\\"\",\"b\":true,\"n\":-9223372036854775808}");
	assert_true(json_equal(value, other));
	json_set_string(other, "s", "z");
	assert_false(json_equal(value, other));
	assert_null(json_copy(NULL));
}

static void test_strings_become_valid(void **state)
{
	static const char *const cases[][2] = {
		{ "plain", "plain" },
		{ "\xff", "\xef\xbf\xbd" },
		{ "a\xff\xfe z", "a\xef\xbf\xbd\xef\xbf\xbd z" },
		{ "\xc3\xa4\xc3", "\xc3\xa4\xef\xbf\xbd" },
		{ "\xed\xa0\x80", "\xef\xbf\xbd\xef\xbf\xbd\xef\xbf\xbd" },
		{ "", "" },
	};

	(void)state;
	for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
		_cleanup_json_ struct json_object *value =
			json_new_string(cases[i][0], strlen(cases[i][0]));

		assert_string_equal(json_string(value, NULL), cases[i][1]);
		json_free(parse(print(value)));
	}
}

static void test_print_limit(void **state)
{
	_cleanup_json_ struct json_object *value = parse("[1,2,3]");
	_cleanup_buffer_ struct buffer out = BUFFER_INIT(6);
	struct error err = ERROR_NONE;

	(void)state;
	assert_int_equal(json_print(value, &out, &err), -EMSGSIZE);
	assert_int_equal(out.size, 0);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_round_trip),
		cmocka_unit_test(test_white_space_around),
		cmocka_unit_test(test_refused),
		cmocka_unit_test(test_messages),
		cmocka_unit_test(test_nul_is_refused),
		cmocka_unit_test(test_every_prefix),
		cmocka_unit_test(test_depth),
		cmocka_unit_test(test_big_input),
		cmocka_unit_test(test_last_duplicate_wins),
		cmocka_unit_test(test_getters),
		cmocka_unit_test(test_scalar_text),
		cmocka_unit_test(test_each),
		cmocka_unit_test(test_building),
		cmocka_unit_test(test_strings_become_valid),
		cmocka_unit_test(test_print_limit),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
