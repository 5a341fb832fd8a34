#include "executor/base/text.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

static bool is_continuation(unsigned char c)
{
	return (c & 0xc0) == 0x80;
}

/* What each first byte allows: the length, and the range of the second byte, which is what rules
 * out overlong forms, surrogates and code points above U+10FFFF (RFC 3629, section 4). */
static const struct lead {
	unsigned char first, last, length, low, high;
} leads[] = {
	{ 0xc2, 0xdf, 2, 0x80, 0xbf }, { 0xe0, 0xe0, 3, 0xa0, 0xbf }, { 0xe1, 0xec, 3, 0x80, 0xbf },
	{ 0xed, 0xed, 3, 0x80, 0x9f }, { 0xee, 0xef, 3, 0x80, 0xbf }, { 0xf0, 0xf0, 4, 0x90, 0xbf },
	{ 0xf1, 0xf3, 4, 0x80, 0xbf }, { 0xf4, 0xf4, 4, 0x80, 0x8f },
};

static size_t match(const struct lead *lead, const unsigned char *s, size_t size)
{
	if (size < lead->length || s[1] < lead->low || s[1] > lead->high)
		return 0;
	for (size_t i = 2; i < lead->length; i++)
		if (!is_continuation(s[i]))
			return 0;
	return lead->length;
}

size_t text_utf8_length(const char *p, size_t size)
{
	const unsigned char *s = (const unsigned char *)p;

	if (size == 0)
		return 0;
	if (s[0] < 0x80)
		return 1;
	for (size_t i = 0; i < sizeof(leads) / sizeof(leads[0]); i++)
		if (s[0] >= leads[i].first && s[0] <= leads[i].last)
			return match(&leads[i], s, size);
	return 0;
}

size_t text_cut_utf8(const char *s, size_t size, size_t max)
{
	size_t cut = max;

	if (size <= max)
		return size;
	/* Step back over at most three continuation bytes to the start of the character. */
	while (cut > 0 && max - cut < 3 && is_continuation((unsigned char)s[cut]))
		cut--;
	return is_continuation((unsigned char)s[cut]) ? max : cut;
}

void text_trim_partial_utf8(char *s)
{
	size_t size = strlen(s);
	size_t start = size;

	while (start > 0 && size - start < 3 && is_continuation((unsigned char)s[start - 1]))
		start--;
	if (start > 0 && (unsigned char)s[start - 1] >= 0xc0)
		start--;
	if (start < size && (unsigned char)s[start] >= 0xc0 &&
	    text_utf8_length(s + start, size - start) == 0)
		s[start] = '\0';
}

void text_make_line(char *s)
{
	size_t left = strlen(s);

	while (left > 0) {
		size_t n = text_utf8_length(s, left);

		if (n == 0)
			*s = '?';
		else if ((unsigned char)*s < ' ' || *s == 0x7f)
			*s = ' ';
		s += n ? n : 1;
		left -= n ? n : 1;
	}
}

int text_parse_int64(const char *s, int64_t *ret)
{
	char *end = NULL;
	long long value;

	if ((*s < '0' || *s > '9') && *s != '-' && *s != '+')
		return -EINVAL;
	errno = 0;
	value = strtoll(s, &end, 10);
	if (end == s || *end != '\0')
		return -EINVAL;
	if (errno == ERANGE)
		return -ERANGE;
	*ret = value;
	return 0;
}

int text_parse_bool(const char *s, bool *ret)
{
	static const char *const yes[] = { "1", "t", "T", "true", "TRUE", "True" };
	static const char *const no[] = { "0", "f", "F", "false", "FALSE", "False" };

	for (size_t i = 0; i < sizeof(yes) / sizeof(yes[0]); i++) {
		if (strcmp(s, yes[i]) == 0) {
			*ret = true;
			return 0;
		}
		if (strcmp(s, no[i]) == 0) {
			*ret = false;
			return 0;
		}
	}
	return -EINVAL;
}

bool text_has_prefix(const char *s, const char *prefix)
{
	return strncmp(s, prefix, strlen(prefix)) == 0;
}

bool text_has_suffix(const char *s, const char *suffix)
{
	size_t a = strlen(s), b = strlen(suffix);

	return a >= b && strcmp(s + a - b, suffix) == 0;
}

bool text_is_dns_label(const char *s)
{
	size_t size = strlen(s);

	return size > 0 && size <= 63 && strspn(s, "abcdefghijklmnopqrstuvwxyz0123456789-") == size;
}
