/* Base 64 with the standard alphabet and padding (RFC 4648, section 4). */
#pragma once

#include "executor/base/buffer.h"

#include <stddef.h>

/* Appends the encoding of `size` bytes; 0, -ENOMEM or -EMSGSIZE. */
int base64_encode(const void *data, size_t size, struct buffer *out);

/* Appends the decoded bytes; white space is skipped. -EINVAL for anything else that is no base 64,
 * also for missing padding. */
int base64_decode(const char *text, size_t size, struct buffer *out);
