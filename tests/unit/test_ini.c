#include "executor/artifact/object/ini.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdint.h>
#include <string.h>

#include <cmocka.h>

static const char text[] = "outside = 1\n"
			   "[default]\r\n"
			   "key = value\r\n"
			   "# key = comment\n"
			   ";key = comment\n"
			   "nested =\n"
			   "  key = inner\n"
			   "spaced\t=\t a b \t\n"
			   "noted = x # a note\n"
			   "kept = a#b;c=d\n"
			   "no sign\n"
			   "[ profile x ] # a note\n"
			   "key=first\n"
			   "key=last\n"
			   "[empty]\n"
			   "[default]\n"
			   "more = y";

static void check(const char *section, const char *name, const char *expected)
{
	char value[64];

	assert_int_equal(ini_get(text, section, name, value, sizeof(value)), expected != NULL);
	assert_string_equal(value, expected ? expected : "");
}

static void test_values(void **state)
{
	(void)state;
	check("default", "key", "value");
	check("default", "nested", "");
	check("default", "spaced", "a b");
	check("default", "noted", "x");
	check("default", "kept", "a#b;c=d");
	check("default", "more", "y");
	check("default", "outside", NULL);
	check("default", "no sign", NULL);
	check("profile x", "key", "last");
	check("empty", "key", NULL);
	check("missing", "key", NULL);
}

static void test_sections(void **state)
{
	(void)state;
	assert_true(ini_has_section(text, "profile x"));
	assert_true(ini_has_section(text, "empty"));
	assert_false(ini_has_section(text, "x"));
	assert_false(ini_has_section("", "x"));
	assert_false(ini_has_section("[x", "x"));
}

static void test_cut(void **state)
{
	char value[4];

	(void)state;
	assert_true(ini_get("[s]\nk = abcdef", "s", "k", value, sizeof(value)));
	assert_string_equal(value, "abc");
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_values),
		cmocka_unit_test(test_sections),
		cmocka_unit_test(test_cut),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
