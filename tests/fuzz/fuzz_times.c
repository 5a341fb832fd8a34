/* Numbers, times and lines of text. Required: what is parsed and printed is parsed as the same; whole
 * numbers are what the C library makes of them; a line is a line, whatever went in. */
#include "executor/base/clock.h"
#include "executor/base/text.h"
#include "executor/http/retry.h"
#include "tests/fuzz/fuzz.h"
#include "tests/fuzz/targets.h"

#include "executor/base/cleanup.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

static void check_duration(const char *text)
{
	char printed[CLOCK_DURATION_MAX];
	int64_t ns = 7, again;
	int r = clock_parse_duration(text, &ns);

	fuzz_require(r == 0 || ((r == -EINVAL || r == -ERANGE) && ns == 7));
	if (r < 0)
		return;
	fuzz_require(clock_parse_duration(clock_format_duration(ns, printed), &again) == 0);
	fuzz_require(again == ns);
}

static void check_rfc3339(const char *text)
{
	struct timespec time = { .tv_nsec = 123456789 };
	char printed[CLOCK_RFC3339_MAX];
	int64_t s, again;

	if (clock_parse_rfc3339(text, &s) < 0)
		return;
	time.tv_sec = (time_t)s;
	clock_format_rfc3339(&time, 9, printed);
	/* An offset may lead into the years before 0 and after 9999, which have no such form. */
	if (printed[0] == '-' || strcspn(printed + 1, "-") > 3)
		return;
	fuzz_require(clock_parse_rfc3339(printed, &again) == 0 && again == s);
	clock_format_rfc3339(&time, 3, printed);
	fuzz_require(clock_parse_rfc3339(printed, &again) == 0 && again == s);
}

static void check_numbers(const char *text)
{
	char *end;
	int64_t value = 0;
	bool flag;
	int r = text_parse_int64(text, &value);
	long long judge;

	errno = 0;
	judge = strtoll(text, &end, 10);
	if (r == 0)
		fuzz_require(*text && !*end && errno == 0 && judge == value);
	else
		fuzz_require(r == -EINVAL || (r == -ERANGE && errno == ERANGE));
	text_parse_bool(text, &flag);
	fuzz_require(retry_parse_after(text) >= -1);
}

static void check_line(const char *data, size_t size)
{
	_cleanup_free_ char *text = fuzz_text(data, size);
	size_t length = strlen(text), cut;

	for (size_t max = 0; max <= 8; max++) {
		cut = text_cut_utf8(text, length, max);
		fuzz_require(cut <= max && cut <= length);
	}
	if (text_is_dns_label(text))
		fuzz_require(length <= 63 && !strpbrk(text, "/._ "));
	text_make_line(text);
	fuzz_require(strlen(text) == length);
	fuzz_check_line(text);
}

void fuzz_times(const char *data, size_t size)
{
	_cleanup_free_ char *text = fuzz_text(data, size);

	check_duration(text);
	check_rfc3339(text);
	check_numbers(text);
	check_line(data, size);
}
