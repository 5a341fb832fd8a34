/*
 * As much of the protocol buffers wire format (protobuf.dev, "Encoding") as the messages between an
 * executor and its artifact plugins need: strings, 64-bit and smaller integers, booleans, nested
 * messages. Groups, which proto3 does not have, are refused.
 */
#pragma once

#include "executor/base/buffer.h"

#include <stddef.h>
#include <stdint.h>

/* Appenders: 0 or the buffer's error. A value that is its type's default (0, "") is left out, as
 * proto3 has it; an empty message is not. */
int protobuf_add_bytes(struct buffer *out, unsigned number, const void *data, size_t size);
int protobuf_add_integer(struct buffer *out, unsigned number, int64_t value);
int protobuf_add_message(struct buffer *out, unsigned number, const struct buffer *message);

enum protobuf_type {
	PROTOBUF_VARINT = 0,
	PROTOBUF_FIXED64 = 1,
	PROTOBUF_BYTES = 2, /* strings and messages, too */
	PROTOBUF_FIXED32 = 5,
};

struct protobuf_reader {
	const unsigned char *data; /* not owned */
	size_t size; /* what is left of it */
};

struct protobuf_field {
	unsigned number;
	enum protobuf_type type;
	uint64_t value; /* of a PROTOBUF_VARINT */
	const char *data; /* of PROTOBUF_BYTES; lent by the reader's data, no NUL behind it */
	size_t size;
};

/* The next field, known or not: 1, 0 at the end, -EBADMSG for what is no message (whatever lengths
 * it claims, nothing beyond the data is looked at). */
int protobuf_next(struct protobuf_reader *reader, struct protobuf_field *ret);
