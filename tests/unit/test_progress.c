/* What the last line of a progress file may be. */
#include "wait/progress.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <string.h>

#include <cmocka.h>

static void check_valid(const char *text, const char *expected)
{
	char value[PROGRESS_TEXT_MAX] = "";

	if (!progress_parse(text, value))
		fail_msg("refused: %s", text);
	assert_string_equal(value, expected);
}

static void check_invalid(const char *text)
{
	char value[PROGRESS_TEXT_MAX] = "before";

	if (progress_parse(text, value))
		fail_msg("taken: %s", text);
	assert_string_equal(value, "before");
}

static void test_valid(void **state)
{
	(void)state;
	check_valid("0/1", "0/1");
	check_valid("1/1\n", "1/1");
	check_valid("1/9\n2/9\n\n \t\r\n", "2/9");
	check_valid("junk\n  3/9  ", "3/9");
	check_valid("1/9\r\n2/9\r\n", "2/9");
	check_valid("007/9", "7/9");
	check_valid("9223372036854775807/9223372036854775807",
		    "9223372036854775807/9223372036854775807");
}

static void test_invalid(void **state)
{
	static const char *const texts[] = {
		"",
		"\n\n",
		"1",
		"/",
		"1/",
		"/1",
		"0/0",
		"2/1",
		"-1/2",
		"1/-2",
		"+1/2",
		"1 / 2",
		"1/2/3",
		"a/2",
		"1/2x",
		"x1/2",
		"1.0/2",
		"0x1/2",
		"1/2\nx",
		"50%",
		"\xff/2",
		"1/\xff",
		"9223372036854775808/9223372036854775808",
		"1/999999999999999999999999999999999999999999",
	};

	(void)state;
	for (size_t i = 0; i < sizeof(texts) / sizeof(texts[0]); i++)
		check_invalid(texts[i]);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_valid),
		cmocka_unit_test(test_invalid),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
