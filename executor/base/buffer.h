/*
 * A growable byte string with a named maximum. The contents are always followed by a NUL that is
 * not counted in size, so text can be used as a C string.
 */
#pragma once

#include "executor/base/cleanup.h"

#include <stdbool.h>
#include <stddef.h>

struct buffer {
	char *data; /* NULL until the first byte */
	size_t size;
	size_t capacity;
	size_t max; /* appending beyond it fails with -EMSGSIZE */
	bool is_secret; /* see sensitive.h: no copy of it is left behind */
};

#define BUFFER_INIT(max_bytes) ((struct buffer){ .max = (max_bytes) })
#define BUFFER_SECRET(max_bytes) ((struct buffer){ .max = (max_bytes), .is_secret = true })
#define _cleanup_buffer_ _cleanup_(buffer_done)

/* Releases the memory; the buffer is empty and usable again. */
void buffer_done(struct buffer *buffer);

/* Keeps the memory, drops the contents. */
void buffer_reset(struct buffer *buffer);

/* All appenders: 0, -ENOMEM, or -EMSGSIZE with the contents unchanged. */
int buffer_append(struct buffer *buffer, const void *data, size_t size);
int buffer_append_string(struct buffer *buffer, const char *s);
int buffer_append_format(struct buffer *buffer, const char *format, ...)
	__attribute__((format(printf, 2, 3)));

/* Makes room for `extra` more bytes and returns where they go (append them by raising size), or
 * NULL (out of memory, or over max). */
char *buffer_reserve(struct buffer *buffer, size_t extra);

/* Drops the first `count` bytes (count ≤ size). */
void buffer_consume(struct buffer *buffer, size_t count);

/* The contents as a C string, never NULL. Valid until the next append. */
const char *buffer_string(const struct buffer *buffer);

/* Hands the memory (NUL terminated) to the caller, who frees it (a secret: by sensitive_free()); NULL
 * if nothing was appended. */
char *buffer_take(struct buffer *buffer);
