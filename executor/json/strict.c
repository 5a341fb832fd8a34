#include "executor/json/strict.h"

#include "executor/base/text.h"

#include <stdbool.h>
#include <stdint.h>

struct scan {
	const char *p, *end;
};

static bool is_at(const struct scan *scan, char c)
{
	return scan->p < scan->end && *scan->p == c;
}

static bool is_at_digit(const struct scan *scan)
{
	return scan->p < scan->end && *scan->p >= '0' && *scan->p <= '9';
}

static bool skip_digits(struct scan *scan)
{
	const char *start = scan->p;

	while (is_at_digit(scan))
		scan->p++;
	return scan->p > start;
}

/* The digits of an integer part. */
static const char *check_digits(struct scan *scan, bool *ret_is_large, uint64_t *ret_value)
{
	const char *start = scan->p;

	*ret_value = 0;
	*ret_is_large = false;
	for (; is_at_digit(scan); scan->p++)
		if (__builtin_mul_overflow(*ret_value, 10, ret_value) ||
		    __builtin_add_overflow(*ret_value, (unsigned)(*scan->p - '0'), ret_value))
			*ret_is_large = true;
	if (scan->p == start)
		return "number expected";
	return *start == '0' && scan->p - start > 1 ? "number with a leading zero" : NULL;
}

static const char *check_number(struct scan *scan)
{
	bool is_negative = is_at(scan, '-'), is_integer = true, is_large;
	const char *reason;
	uint64_t value;

	scan->p += is_negative;
	reason = check_digits(scan, &is_large, &value);
	if (reason)
		return reason;
	if (is_at(scan, '.')) {
		is_integer = false;
		scan->p++;
		if (!skip_digits(scan))
			return "number expected";
	}
	if (is_at(scan, 'e') || is_at(scan, 'E')) {
		is_integer = false;
		scan->p++;
		if (is_at(scan, '+') || is_at(scan, '-'))
			scan->p++;
		if (!skip_digits(scan))
			return "number expected";
	}
	if (is_integer && (is_large || (is_negative && value > (uint64_t)INT64_MAX + 1)))
		return "integer of more than 64 bits";
	return NULL;
}

/* Behind the opening quote. An end that is missing is json-c's to tell. */
static const char *check_string(struct scan *scan)
{
	while (scan->p < scan->end && *scan->p != '"') {
		size_t n = text_utf8_length(scan->p, (size_t)(scan->end - scan->p));

		if (n == 0)
			return "invalid utf-8 string";
		if ((unsigned char)*scan->p < 0x20)
			return "control character in a string";
		scan->p += *scan->p == '\\' && scan->end - scan->p > 1 ? 2 : n;
	}
	scan->p += scan->p < scan->end;
	return NULL;
}

const char *strict_check(const char *text, size_t size, size_t *ret_offset)
{
	struct scan scan = { .p = text, .end = text + size };
	const char *reason = NULL;

	while (!reason && scan.p < scan.end) {
		if (*scan.p == '"') {
			scan.p++;
			reason = check_string(&scan);
		} else if (*scan.p == '-' || is_at_digit(&scan)) {
			reason = check_number(&scan);
		} else if (*scan.p == 'N' || *scan.p == 'I' || *scan.p == '\'') {
			reason = "unexpected character";
		} else {
			scan.p++;
		}
	}
	*ret_offset = (size_t)(scan.p - text);
	return reason;
}
