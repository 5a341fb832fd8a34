#include "executor/base/clock.h"

#include <errno.h>
#include <inttypes.h>
#include <limits.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>

#include <cmocka.h>

#define NS 1LL
#define US (1000 * NS)
#define MS (1000 * US)
#define S (1000 * MS)
#define M (60 * S)
#define H (60 * M)

/* Values and renderings as Go's documentation of time.Duration describes them. */
static const struct {
	int64_t ns;
	const char *text;
} canonical[] = {
	{ 0, "0s" },
	{ 1 * NS, "1ns" },
	{ 999 * NS, "999ns" },
	{ 1 * US, "1\xc2\xb5s" },
	{ 1100 * NS, "1.1\xc2\xb5s" },
	{ 999999 * NS, "999.999\xc2\xb5s" },
	{ 2 * MS + 200 * US, "2.2ms" },
	{ 10 * MS, "10ms" },
	{ 250 * MS, "250ms" },
	{ 999999999 * NS, "999.999999ms" },
	{ 1 * S, "1s" },
	{ 1500 * MS, "1.5s" },
	{ 3 * S + 1 * NS, "3.000000001s" },
	{ 59 * S + 999 * MS, "59.999s" },
	{ 1 * M, "1m0s" },
	{ 4 * M + 5 * S + 1 * MS, "4m5.001s" },
	{ 8 * M + 1 * NS, "8m0.000000001s" },
	{ 1 * H, "1h0m0s" },
	{ 1 * H + 30 * M, "1h30m0s" },
	{ 5 * H + 6 * M + 7 * S + 1 * MS, "5h6m7.001s" },
	{ 100 * H, "100h0m0s" },
	{ -1 * NS, "-1ns" },
	{ -3 * S, "-3s" },
	{ -90 * M, "-1h30m0s" },
	{ INT64_MAX, "2562047h47m16.854775807s" },
	{ INT64_MIN, "-2562047h47m16.854775808s" },
};

static void test_durations_there_and_back(void **state)
{
	char text[CLOCK_DURATION_MAX];

	(void)state;
	for (size_t i = 0; i < sizeof(canonical) / sizeof(canonical[0]); i++) {
		int64_t ns = 4711;

		assert_string_equal(clock_format_duration(canonical[i].ns, text),
				    canonical[i].text);
		assert_int_equal(clock_parse_duration(canonical[i].text, &ns), 0);
		if (ns != canonical[i].ns)
			fail_msg("%s: %" PRId64, canonical[i].text, ns);
	}
}

static void test_any_duration_survives(void **state)
{
	char text[CLOCK_DURATION_MAX];
	uint64_t x = 88172645463325252ULL;

	(void)state;
	for (unsigned i = 0; i < 20000; i++) {
		int64_t ns, back;

		x ^= x << 13; /* xorshift64 */
		x ^= x >> 7;
		x ^= x << 17;
		ns = (int64_t)x >> (x % 60);
		assert_int_equal(clock_parse_duration(clock_format_duration(ns, text), &back), 0);
		if (ns != back)
			fail_msg("%" PRId64 " became %s", ns, text);
	}
}

static void test_accepted_durations(void **state)
{
	static const struct {
		const char *text;
		int64_t ns;
	} cases[] = {
		{ "0", 0 },
		{ "-0", 0 },
		{ "+0", 0 },
		{ "0s", 0 },
		{ "0.0h", 0 },
		{ "5.s", 5 * S },
		{ ".5s", 500 * MS },
		{ "-.5s", -500 * MS },
		{ "+5s", 5 * S },
		{ "10us", 10 * US },
		{ "10\xc2\xb5s", 10 * US }, /* U+00B5, micro sign */
		{ "10\xce\xbcs", 10 * US }, /* U+03BC, Greek mu */
		{ "1h15m30.918273645s", H + 15 * M + 30 * S + 918273645 },
		{ "3m1h2s1h", 2 * H + 3 * M + 2 * S }, /* any order, repeated */
		{ "1.5h", 90 * M },
		{ "0.000001ms", 1 },
		{ "0.0000001ms", 0 },
		{ "0.100000000000000000000h", 6 * M },
		{ "39h9m14.425s", 39 * H + 9 * M + 14 * S + 425 * MS },
		{ "9223372036854775807ns", INT64_MAX },
		{ "9223372036854775.807us", INT64_MAX },
		{ "9223372036s854ms775us807ns", INT64_MAX },
		{ "-9223372036854775808ns", INT64_MIN },
	};

	(void)state;
	for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
		int64_t ns = 4711;

		if (clock_parse_duration(cases[i].text, &ns) != 0 || ns != cases[i].ns)
			fail_msg("%s: %" PRId64, cases[i].text, ns);
	}
}

static void test_refused_durations(void **state)
{
	static const char *const malformed[] = {
		"",    "3",  "-",      "s",    ".",     "-.",     ".s",   "+.s",  "1d",
		"1 s", " 1", "1s ",    "--1s", "+-1s",  "1S",     "1mss", "1s2",  "1e3s",
		"1h3", "0x", "1.2.3s", "1s-1", "\xb5s", "1\xc2s", "00",   "1,5s", "inf",
	};
	static const char *const too_large[] = {
		"9223372036854775808ns",
		"9223372036854775.808us",
		"9223372036854ms775us808ns",
		"3000000h",
		"-3000000h",
		"-9223372036854775809ns",
		"99999999999999999999s",
		"2562047h47m16.854775808s",
	};
	int64_t ns = 4711;

	(void)state;
	for (size_t i = 0; i < sizeof(malformed) / sizeof(malformed[0]); i++)
		if (clock_parse_duration(malformed[i], &ns) != -EINVAL)
			fail_msg("\"%s\"", malformed[i]);
	for (size_t i = 0; i < sizeof(too_large) / sizeof(too_large[0]); i++)
		if (clock_parse_duration(too_large[i], &ns) != -ERANGE)
			fail_msg("\"%s\"", too_large[i]);
	assert_int_equal(ns, 4711);
}

static void test_accepted_times(void **state)
{
	static const struct {
		const char *text;
		int64_t s;
	} cases[] = {
		{ "1970-01-01T00:00:00Z", 0 },
		{ "1969-12-31T23:59:59Z", -1 },
		{ "0001-01-01T00:00:00Z", CLOCK_ZERO_TIME_S },
		{ "0000-01-01T00:00:00Z", -62167219200LL },
		{ "9999-12-31T23:59:59Z", 253402300799LL },
		{ "2026-08-21T12:39:06Z", 1787315946 },
		{ "2026-08-21t12:39:06z", 1787315946 },
		{ "2026-08-21T12:39:06.5Z", 1787315946 },
		{ "2026-08-21T12:39:06.123456789123Z", 1787315946 },
		{ "2026-08-21T14:39:06+02:00", 1787315946 },
		{ "2026-08-21T07:09:06-05:30", 1787315946 },
		{ "2026-08-21T12:39:06-00:00", 1787315946 },
		{ "2026-08-22T12:38:06.25+23:59", 1787315946 },
		{ "2024-02-29T00:00:00Z", 1709164800 },
		{ "2000-02-29T23:59:59Z", 951868799 },
		{ "2024-03-01T00:30:00+01:00", 1709249400 },
		{ "2038-01-19T03:14:08Z", 2147483648LL },
	};

	(void)state;
	for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
		int64_t s = 4711;

		if (clock_parse_rfc3339(cases[i].text, &s) != 0 || s != cases[i].s)
			fail_msg("%s: %" PRId64, cases[i].text, s);
	}
}

static void test_refused_times(void **state)
{
	static const char *const cases[] = {
		"",
		"2026-08-21",
		"2026-08-21T12:39:06",
		"2026-08-21 12:39:06Z",
		"2026-08-21T12:39Z",
		"2026-8-21T12:39:06Z",
		"2026-08-21T12:39:06ZZ",
		"2026-08-21T12:39:06.Z",
		"2026-08-21T12:39:06.5",
		"2026-08-21T12:39:06+0200",
		"2026-08-21T12:39:06+02",
		"2026-08-21T12:39:06+02:0",
		"2026-08-21T12:39:06+24:00",
		"2026-08-21T12:39:06+02:60",
		"2026-08-21T12:39:06*02:00",
		"2026-13-21T12:39:06Z",
		"2026-00-21T12:39:06Z",
		"2026-08-00T12:39:06Z",
		"2026-08-32T12:39:06Z",
		"2026-08-21T24:00:00Z",
		"2026-08-21T12:60:06Z",
		"2026-08-21T12:39:61Z",
		/* Go has no leap seconds and refuses them. */
		"2016-12-31T23:59:60Z",
		"2026-08-21T12:39:60Z",
		"2026-02-29T00:00:00Z",
		"1900-02-29T00:00:00Z",
		"2026-04-31T00:00:00Z",
		"2026-02-30T00:00:00+01:00",
		"-026-08-21T12:39:06Z",
		"2026-08-21T12:39:0xZ",
		"12026-08-21T12:39:06Z",
	};
	int64_t s = 4711;

	(void)state;
	for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++)
		if (clock_parse_rfc3339(cases[i], &s) != -EINVAL)
			fail_msg("\"%s\"", cases[i]);
	assert_int_equal(s, 4711);
}

static void test_rendered_times(void **state)
{
	static const struct {
		struct timespec t;
		int digits;
		const char *text;
	} cases[] = {
		{ { 1787315946, 123456789 }, 3, "2026-08-21T12:39:06.123Z" },
		{ { 1787315946, 0 }, 3, "2026-08-21T12:39:06.000Z" },
		{ { 1787315946, 999999999 }, 3, "2026-08-21T12:39:06.999Z" },
		{ { 1787315946, 123456789 }, 9, "2026-08-21T12:39:06.123456789Z" },
		{ { 1787315946, 120000000 }, 9, "2026-08-21T12:39:06.12Z" },
		{ { 1787315946, 1 }, 9, "2026-08-21T12:39:06.000000001Z" },
		{ { 1787315940, 0 }, 9, "2026-08-21T12:39:00Z" },
		{ { 1787315946, 999999999 }, 0, "2026-08-21T12:39:06Z" },
		{ { 1787315940, 0 }, 0, "2026-08-21T12:39:00Z" },
		{ { 0, 0 }, 9, "1970-01-01T00:00:00Z" },
		{ { CLOCK_ZERO_TIME_S, 0 }, 9, "0001-01-01T00:00:00Z" },
		{ { -30628713600, 500000000 }, 3, "0999-06-01T00:00:00.500Z" },
	};
	char text[CLOCK_RFC3339_MAX];

	(void)state;
	for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
		int64_t s;

		assert_string_equal(clock_format_rfc3339(&cases[i].t, cases[i].digits, text),
				    cases[i].text);
		assert_int_equal(clock_parse_rfc3339(text, &s), 0);
		assert_int_equal(s, cases[i].t.tv_sec);
	}
}

static void test_now_goes_on(void **state)
{
	struct timespec pause = { .tv_nsec = 5000000 };
	int64_t before = clock_now_ms();

	(void)state;
	assert_true(before > 0);
	nanosleep(&pause, NULL);
	assert_in_range(clock_now_ms() - before, 4, 2000);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_durations_there_and_back),
		cmocka_unit_test(test_any_duration_survives),
		cmocka_unit_test(test_accepted_durations),
		cmocka_unit_test(test_refused_durations),
		cmocka_unit_test(test_accepted_times),
		cmocka_unit_test(test_refused_times),
		cmocka_unit_test(test_rendered_times),
		cmocka_unit_test(test_now_goes_on),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
