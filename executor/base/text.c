#include "executor/base/text.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

static bool is_continuation(unsigned char c)
{
	return (c & 0xc0) == 0x80;
}

size_t text_utf8_length(const char *p, size_t size)
{
	const unsigned char *s = (const unsigned char *)p;

	if (size == 0)
		return 0;
	if (s[0] < 0x80)
		return 1;
	if (s[0] >= 0xc2 && s[0] <= 0xdf)
		return size >= 2 && is_continuation(s[1]) ? 2 : 0;
	if (s[0] >= 0xe0 && s[0] <= 0xef) {
		if (size < 3 || !is_continuation(s[1]) || !is_continuation(s[2]))
			return 0;
		if ((s[0] == 0xe0 && s[1] < 0xa0) || (s[0] == 0xed && s[1] > 0x9f))
			return 0;
		return 3;
	}
	if (s[0] >= 0xf0 && s[0] <= 0xf4) {
		if (size < 4 || !is_continuation(s[1]) || !is_continuation(s[2]) ||
		    !is_continuation(s[3]))
			return 0;
		if ((s[0] == 0xf0 && s[1] < 0x90) || (s[0] == 0xf4 && s[1] > 0x8f))
			return 0;
		return 4;
	}
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
