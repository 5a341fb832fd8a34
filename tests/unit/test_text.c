#include "executor/base/text.h"

#include <errno.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

/* Encodes as RFC 3629 section 3 draws it; no judgement about what may be encoded. */
static size_t encode(unsigned long c, size_t size, char *out)
{
	static const unsigned char leads[] = { 0, 0, 0xc0, 0xe0, 0xf0 };

	if (size == 1) {
		out[0] = (char)c;
		return 1;
	}
	for (size_t i = size - 1; i > 0; i--, c >>= 6)
		out[i] = (char)(0x80 | (c & 0x3f));
	out[0] = (char)(leads[size] | c);
	return size;
}

static size_t shortest(unsigned long c)
{
	return c < 0x80 ? 1 : c < 0x800 ? 2 : c < 0x10000 ? 3 : 4;
}

/* Every code point that four bytes can hold, in every length that can hold it. */
static void test_utf8_of_every_code_point(void **state)
{
	static const unsigned long limits[] = { 0, 0x80, 0x800, 0x10000, 0x200000 };
	char text[4];

	(void)state;
	for (size_t size = 1; size <= 4; size++) {
		for (unsigned long c = 0; c < limits[size]; c++) {
			bool is_valid = size == shortest(c) && c <= 0x10ffff &&
					(c < 0xd800 || c > 0xdfff);
			size_t n = encode(c, size, text);

			if (text_utf8_length(text, n) != (is_valid ? size : 0))
				fail_msg("U+%04lX in %zu bytes", c, size);
			if (size > 1 && text_utf8_length(text, n - 1) != 0)
				fail_msg("U+%04lX in %zu bytes, cut", c, size);
		}
	}
	assert_int_equal(text_utf8_length("", 0), 0);
}

static void test_utf8_of_stray_bytes(void **state)
{
	char text[4];

	(void)state;
	for (unsigned c = 0x80; c <= 0xff; c++) {
		bool is_lead = c >= 0xc2 && c <= 0xf4;

		memset(text, (int)c, sizeof(text));
		assert_int_equal(text_utf8_length(text, 4), 0);
		memset(text, 'x', sizeof(text));
		text[0] = (char)c;
		assert_int_equal(text_utf8_length(text, 4), 0);
		memcpy(text, "\0\x90\x90\x90", 4);
		text[0] = (char)c;
		/* E0 and F0 followed by 90: the first is overlong, the second is not. */
		assert_int_equal(text_utf8_length(text, 4) > 0, is_lead && c != 0xe0 && c != 0xf4);
	}
}

static const char alphabet[] = { 'a', '\x80', '\xbf', '\xc3', '\xe2', '\xed', '\xf0', '\xff' };

/* The next word of `size` letters; false after the last. */
static bool advance(size_t *digits, size_t size)
{
	for (size_t i = 0; i < size; i++) {
		if (++digits[i] < sizeof(alphabet))
			return true;
		digits[i] = 0;
	}
	return false;
}

static bool is_valid(const char *s, size_t size)
{
	size_t n = 1;

	for (size_t i = 0; i < size; i += n) {
		n = text_utf8_length(s + i, size - i);
		if (n == 0)
			return false;
	}
	return true;
}

static void check_cut(const char *s, size_t size)
{
	for (size_t max = 0; max <= size + 1; max++) {
		size_t cut = text_cut_utf8(s, size, max);

		assert_true(cut <= max && cut <= size);
		assert_true(max >= size ? cut == size : max - cut <= 3);
		if (is_valid(s, size))
			assert_true(is_valid(s, cut) && is_valid(s + cut, size - cut));
	}
}

static void check_trim(const char *s, size_t size)
{
	char copy[8], again[8];
	size_t kept;

	snprintf(copy, sizeof(copy), "%s", s);
	text_trim_partial_utf8(copy);
	kept = strlen(copy);
	assert_true(size - kept <= 4);
	assert_memory_equal(copy, s, kept);
	if (is_valid(s, size))
		assert_int_equal(kept, size);
	/* What goes is one lead byte and what follows it, never a whole character. */
	if (kept < size) {
		assert_true((unsigned char)s[kept] >= 0xc0);
		assert_int_equal(text_utf8_length(s + kept, size - kept), 0);
	}
	if (is_valid(s, kept)) {
		memcpy(again, copy, sizeof(again));
		text_trim_partial_utf8(again);
		assert_string_equal(again, copy);
	}
}

/* All words of up to five letters over bytes of every kind: 37,449 of them. */
static void test_cut_and_trim_of_all_small_inputs(void **state)
{
	(void)state;
	for (size_t size = 0; size <= 5; size++) {
		size_t digits[5] = { 0 };
		char s[6] = "";

		do {
			for (size_t i = 0; i < size; i++)
				s[i] = alphabet[digits[i]];
			check_cut(s, size);
			check_trim(s, size);
		} while (advance(digits, size));
	}
}

static void test_trim_of_a_cut_character(void **state)
{
	static const char *const cut[] = { "a\xc3",         "a\xe2\x82", "a\xe2",
					   "a\xf0\x9f\x98", "a\xf0\x9f", "a\xf0" };
	char s[8];

	(void)state;
	for (size_t i = 0; i < sizeof(cut) / sizeof(cut[0]); i++) {
		snprintf(s, sizeof(s), "%s", cut[i]);
		text_trim_partial_utf8(s);
		assert_string_equal(s, "a");
	}
}

static void test_parse_int64(void **state)
{
	static const struct {
		const char *text;
		int r;
		int64_t value;
	} cases[] = {
		{ "0", 0, 0 },
		{ "-0", 0, 0 },
		{ "+7", 0, 7 },
		{ "0042", 0, 42 },
		{ "9223372036854775807", 0, INT64_MAX },
		{ "-9223372036854775808", 0, INT64_MIN },
		{ "9223372036854775808", -ERANGE, 0 },
		{ "-9223372036854775809", -ERANGE, 0 },
		{ "99999999999999999999999999", -ERANGE, 0 },
		{ "", -EINVAL, 0 },
		{ "-", -EINVAL, 0 },
		{ "+", -EINVAL, 0 },
		{ "+-1", -EINVAL, 0 },
		{ "- 1", -EINVAL, 0 },
		{ " 1", -EINVAL, 0 },
		{ "1 ", -EINVAL, 0 },
		{ "1\n", -EINVAL, 0 },
		{ "0x10", -EINVAL, 0 },
		{ "1e3", -EINVAL, 0 },
		{ "1.0", -EINVAL, 0 },
		{ "99999999999999999999x", -EINVAL, 0 },
	};

	(void)state;
	for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
		int64_t value = 4711;

		if (text_parse_int64(cases[i].text, &value) != cases[i].r)
			fail_msg("\"%s\"", cases[i].text);
		assert_true(value == (cases[i].r < 0 ? 4711 : cases[i].value));
	}
}

static void test_parse_bool(void **state)
{
	static const char *const yes[] = { "1", "t", "T", "true", "TRUE", "True" };
	static const char *const no[] = { "0", "f", "F", "false", "FALSE", "False" };
	static const char *const bad[] = { "", "yes", "tRUE", "true ", "2", "on" };
	bool value;

	(void)state;
	for (size_t i = 0; i < 6; i++) {
		value = false;
		assert_int_equal(text_parse_bool(yes[i], &value), 0);
		assert_true(value);
		assert_int_equal(text_parse_bool(no[i], &value), 0);
		assert_false(value);
		assert_int_equal(text_parse_bool(bad[i], &value), -EINVAL);
	}
}

static void test_affixes(void **state)
{
	(void)state;
	assert_true(text_has_prefix("abc", "ab") && text_has_prefix("abc", ""));
	assert_false(text_has_prefix("ab", "abc") || text_has_prefix("xabc", "abc"));
	assert_true(text_has_suffix("abc", "bc") && text_has_suffix("abc", ""));
	assert_false(text_has_suffix("bc", "abc") || text_has_suffix("abcx", "abc"));
}

static void test_dns_label(void **state)
{
	char s[2] = "", longest[65];

	(void)state;
	for (unsigned c = 1; c < 256; c++) {
		bool expected = (c >= 'a' && c <= 'z') || (c >= '0' && c <= '9') || c == '-';

		s[0] = (char)c;
		assert_int_equal(text_is_dns_label(s), expected);
	}
	memset(longest, 'a', 64);
	longest[64] = '\0';
	assert_false(text_is_dns_label(longest));
	assert_true(text_is_dns_label(longest + 1));
	assert_false(text_is_dns_label(""));
	assert_false(text_is_dns_label("../main"));
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_utf8_of_every_code_point),
		cmocka_unit_test(test_utf8_of_stray_bytes),
		cmocka_unit_test(test_cut_and_trim_of_all_small_inputs),
		cmocka_unit_test(test_trim_of_a_cut_character),
		cmocka_unit_test(test_parse_int64),
		cmocka_unit_test(test_parse_bool),
		cmocka_unit_test(test_affixes),
		cmocka_unit_test(test_dns_label),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
