#include "executor/kube/base64.h"

#include <errno.h>
#include <stdbool.h>
#include <stdint.h>
#include <string.h>

static const char alphabet[] = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";

int base64_encode(const void *data, size_t size, struct buffer *out)
{
	const unsigned char *p = data;
	int r = 0;

	for (size_t i = 0; i < size && r == 0; i += 3) {
		size_t left = size - i;
		uint32_t group = (uint32_t)p[i] << 16 | (left > 1 ? (uint32_t)p[i + 1] << 8 : 0) |
				 (left > 2 ? p[i + 2] : 0);
		char text[4] = {
			alphabet[group >> 18],
			alphabet[group >> 12 & 63],
			left > 1 ? alphabet[group >> 6 & 63] : '=',
			left > 2 ? alphabet[group & 63] : '=',
		};

		r = buffer_append(out, text, sizeof(text));
	}
	return r;
}

static bool is_blank(char c)
{
	return c == ' ' || c == '\t' || c == '\r' || c == '\n';
}

/* The six bits of a digit, 0 for the padding, -1 for anything else. */
static int value_of(char c)
{
	const char *digit = c ? strchr(alphabet, c) : NULL;

	if (c == '=')
		return 0;
	return digit ? (int)(digit - alphabet) : -1;
}

int base64_decode(const char *text, size_t size, struct buffer *out)
{
	uint32_t group = 0;
	unsigned digits = 0, padding = 0;

	for (size_t i = 0; i < size; i++) {
		int value = value_of(text[i]);
		char bytes[3];
		int r;

		if (is_blank(text[i]))
			continue;
		/* Padding ends it: after it there is padding only, up to the end of the group. */
		if (value < 0 || (padding && (text[i] != '=' || digits == 0)))
			return -EINVAL;
		if (text[i] == '=' && (digits < 2 || ++padding > 2))
			return -EINVAL;
		group = group << 6 | (uint32_t)value;
		if (++digits < 4)
			continue;
		bytes[0] = (char)(group >> 16);
		bytes[1] = (char)(group >> 8);
		bytes[2] = (char)group;
		r = buffer_append(out, bytes, 3 - padding);
		if (r < 0)
			return r;
		digits = 0;
		group = 0;
	}
	return digits ? -EINVAL : 0;
}
