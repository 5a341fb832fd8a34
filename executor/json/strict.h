/* What RFC 8259 forbids and json-c lets pass even in its strict mode. */
#pragma once

#include <stddef.h>

/*
 * Looks at the characters, not at the structure, which json-c checks: numbers in their exact
 * grammar, integers within 64 bits (json-c would silently change larger ones), no NaN and no
 * Infinity, no single quotes, strings of valid UTF-8 without raw control characters. Returns NULL,
 * or the reason, with *ret_offset where it was found.
 */
const char *strict_check(const char *text, size_t size, size_t *ret_offset);
