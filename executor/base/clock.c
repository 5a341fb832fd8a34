#include "executor/base/clock.h"

#include <errno.h>
#include <stdbool.h>
#include <stdio.h>
#include <string.h>

#define NS_PER_S 1000000000LL

int64_t clock_now_ms(void)
{
	struct timespec t;

	clock_gettime(CLOCK_MONOTONIC, &t);
	return (int64_t)t.tv_sec * 1000 + t.tv_nsec / 1000000;
}

static const struct {
	const char *name;
	uint64_t ns;
} units[] = {
	{ "ns", 1 },       { "us", 1000 },    { "\xc2\xb5s", 1000 },  { "\xce\xbcs", 1000 },
	{ "ms", 1000000 }, { "s", NS_PER_S }, { "m", 60 * NS_PER_S }, { "h", 3600 * NS_PER_S },
};

/* One "12.5ms" at *s; adds to *total. */
static int parse_part(const char **s, uint64_t *total)
{
	const char *p = *s;
	uint64_t whole = 0, fraction = 0, scale = 1, value, rest;
	bool has_digits = false;
	size_t unit_size;

	for (; *p >= '0' && *p <= '9'; p++, has_digits = true)
		if (__builtin_mul_overflow(whole, 10, &whole) ||
		    __builtin_add_overflow(whole, (unsigned)(*p - '0'), &whole))
			return -ERANGE;
	if (*p == '.')
		for (p++; *p >= '0' && *p <= '9'; p++, has_digits = true)
			if (scale < NS_PER_S * 1000) {
				fraction = fraction * 10 + (unsigned)(*p - '0');
				scale *= 10;
			}
	if (!has_digits)
		return -EINVAL;
	unit_size = strcspn(p, ".0123456789");
	for (size_t i = 0; i < sizeof(units) / sizeof(units[0]); i++) {
		if (strlen(units[i].name) != unit_size || strncmp(units[i].name, p, unit_size) != 0)
			continue;
		rest = (uint64_t)((unsigned __int128)fraction * units[i].ns / scale);
		if (__builtin_mul_overflow(whole, units[i].ns, &value) ||
		    __builtin_add_overflow(value, rest, &value) ||
		    __builtin_add_overflow(*total, value, total))
			return -ERANGE;
		*s = p + unit_size;
		return 0;
	}
	return -EINVAL;
}

int clock_parse_duration(const char *s, int64_t *ret_ns)
{
	bool is_negative = *s == '-';
	/* The most negative duration has no positive twin. */
	uint64_t total = 0, max = (uint64_t)INT64_MAX + is_negative;
	int r;

	if (*s == '-' || *s == '+')
		s++;
	if (strcmp(s, "0") == 0) {
		*ret_ns = 0;
		return 0;
	}
	if (!*s)
		return -EINVAL;
	while (*s) {
		r = parse_part(&s, &total);
		if (r < 0)
			return r;
	}
	if (total > max)
		return -ERANGE;
	*ret_ns = (int64_t)(is_negative ? -total : total);
	return 0;
}

/* Prints value/unit with a fraction whose trailing zeros are cut. */
static void print_decimal(char *out, size_t size, uint64_t value, uint64_t unit)
{
	char digits[24];
	uint64_t fraction = value % unit;
	int width = 0, n;

	for (uint64_t u = unit; u > 1; u /= 10)
		width++;
	if (fraction == 0) {
		snprintf(out, size, "%llu", (unsigned long long)(value / unit));
		return;
	}
	n = snprintf(digits, sizeof(digits), "%0*llu", width, (unsigned long long)fraction);
	while (n > 0 && digits[n - 1] == '0')
		digits[--n] = '\0';
	snprintf(out, size, "%llu.%.9s", (unsigned long long)(value / unit), digits);
}

const char *clock_format_duration(int64_t ns, char buffer[CLOCK_DURATION_MAX])
{
	uint64_t value = ns < 0 ? -(uint64_t)ns : (uint64_t)ns;
	char *p = buffer;
	size_t left = CLOCK_DURATION_MAX;
	char number[32];

	if (ns < 0) {
		*p++ = '-';
		left--;
	}
	if (value == 0) {
		snprintf(p, left, "0s");
	} else if (value < 1000) {
		snprintf(p, left, "%lluns", (unsigned long long)value);
	} else if (value < NS_PER_S) {
		bool is_micro = value < 1000000;

		print_decimal(number, sizeof(number), value, is_micro ? 1000 : 1000000);
		snprintf(p, left, "%s%s", number, is_micro ? "\xc2\xb5s" : "ms");
	} else {
		uint64_t minutes = value / (60 * NS_PER_S);

		print_decimal(number, sizeof(number), value % (60 * NS_PER_S), NS_PER_S);
		if (minutes >= 60)
			snprintf(p, left, "%lluh%llum%ss", (unsigned long long)(minutes / 60),
				 (unsigned long long)(minutes % 60), number);
		else if (minutes > 0)
			snprintf(p, left, "%llum%ss", (unsigned long long)minutes, number);
		else
			snprintf(p, left, "%ss", number);
	}
	return buffer;
}

static int two_digits(const char *s, int low, int high, int *ret)
{
	if (s[0] < '0' || s[0] > '9' || s[1] < '0' || s[1] > '9')
		return -EINVAL;
	*ret = (s[0] - '0') * 10 + (s[1] - '0');
	return *ret < low || *ret > high ? -EINVAL : 0;
}

/* "Z" or "+hh:mm" at the end of the string; *ret_s is what must be subtracted. */
static int parse_offset(const char *s, int64_t *ret_s)
{
	int hours, minutes;

	*ret_s = 0;
	if (strcmp(s, "Z") == 0 || strcmp(s, "z") == 0)
		return 0;
	if ((*s != '+' && *s != '-') || strlen(s) != 6 || s[3] != ':' ||
	    two_digits(s + 1, 0, 23, &hours) < 0 || two_digits(s + 4, 0, 59, &minutes) < 0)
		return -EINVAL;
	*ret_s = (hours * 60 + minutes) * (*s == '-' ? -60LL : 60LL);
	return 0;
}

int clock_parse_rfc3339(const char *s, int64_t *ret_s)
{
	int century, year, month, day, hour, minute, second;
	struct tm tm = { 0 };
	int64_t offset, time_s;
	const char *p;

	if (strlen(s) < 20 || s[4] != '-' || s[7] != '-' || (s[10] != 'T' && s[10] != 't') ||
	    s[13] != ':' || s[16] != ':')
		return -EINVAL;
	if (two_digits(s, 0, 99, &century) < 0 || two_digits(s + 2, 0, 99, &year) < 0 ||
	    two_digits(s + 5, 1, 12, &month) < 0 || two_digits(s + 8, 1, 31, &day) < 0 ||
	    two_digits(s + 11, 0, 23, &hour) < 0 || two_digits(s + 14, 0, 59, &minute) < 0 ||
	    two_digits(s + 17, 0, 59, &second) < 0)
		return -EINVAL;
	p = s + 19;
	if (*p == '.') {
		size_t n = strspn(p + 1, "0123456789");

		if (n == 0)
			return -EINVAL;
		p += 1 + n;
	}
	if (parse_offset(p, &offset) < 0)
		return -EINVAL;
	tm.tm_year = century * 100 + year - 1900;
	tm.tm_mon = month - 1;
	tm.tm_mday = day;
	tm.tm_hour = hour;
	tm.tm_min = minute;
	tm.tm_sec = second;
	time_s = (int64_t)timegm(&tm) - offset;
	if (tm.tm_mday != day) /* timegm normalises February 30 away */
		return -EINVAL;
	*ret_s = time_s;
	return 0;
}

const char *clock_format_rfc3339(const struct timespec *t, int digits,
				 char buffer[CLOCK_RFC3339_MAX])
{
	struct tm tm;
	size_t n;

	gmtime_r(&t->tv_sec, &tm);
	/* Not strftime(3) alone: its %Y has no zeros in front, and Go's zero time is in the year 1. */
	n = (size_t)snprintf(buffer, CLOCK_RFC3339_MAX, "%04lld", tm.tm_year + 1900LL);
	n += strftime(buffer + n, CLOCK_RFC3339_MAX - n, "-%m-%dT%H:%M:%S", &tm);
	if (digits == 3) {
		snprintf(buffer + n, CLOCK_RFC3339_MAX - n, ".%03ldZ", t->tv_nsec / 1000000);
		return buffer;
	}
	if (digits > 0) {
		n += (size_t)snprintf(buffer + n, CLOCK_RFC3339_MAX - n, ".%09ld", t->tv_nsec);
		while (buffer[n - 1] == '0')
			n--;
		if (buffer[n - 1] == '.')
			n--;
	}
	snprintf(buffer + n, CLOCK_RFC3339_MAX - n, "Z");
	return buffer;
}
