/* Small facts about bytes and UTF-8 that several rooms need. */
#pragma once

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

/* Length of the valid UTF-8 sequence at p (1 to 4), or 0 if the bytes there are not one
 * (RFC 3629: no overlong forms, no surrogates, nothing above U+10FFFF). */
size_t text_utf8_length(const char *p, size_t size);

/* Cuts an incomplete UTF-8 sequence off the end of a NUL-terminated string. */
void text_trim_partial_utf8(char *s);

/* The largest length ≤ max at which `s` (size bytes) may be cut without splitting a character. */
size_t text_cut_utf8(const char *s, size_t size, size_t max);

/* Makes a NUL-terminated string one line of valid UTF-8, in place: '?' for each byte that is none,
 * a blank for each control character. */
void text_make_line(char *s);

/* Decimal integer, whole string, optional sign; -EINVAL or -ERANGE. */
int text_parse_int64(const char *s, int64_t *ret);

/* "true"/"false" and the other spellings of Go's strconv.ParseBool (1, t, T, TRUE, …). */
int text_parse_bool(const char *s, bool *ret);

/* True if s starts with prefix. */
bool text_has_prefix(const char *s, const char *prefix);

/* True if s ends with suffix. */
bool text_has_suffix(const char *s, const char *suffix);

/* True for an RFC 1123 label (1 to 63 of a-z 0-9 -), which is what container names are; such a
 * name is a safe file name too. */
bool text_is_dns_label(const char *s);
