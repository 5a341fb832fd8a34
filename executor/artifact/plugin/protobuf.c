#include "executor/artifact/plugin/protobuf.h"

#include <errno.h>

/* 64 bits in groups of seven. */
#define VARINT_BYTES_MAX 10

static int add_varint(struct buffer *out, uint64_t value)
{
	unsigned char bytes[VARINT_BYTES_MAX];
	size_t size = 0;

	for (; value > 0x7f; value >>= 7)
		bytes[size++] = (unsigned char)(value | 0x80);
	bytes[size++] = (unsigned char)value;
	return buffer_append(out, bytes, size);
}

static int add_tag(struct buffer *out, unsigned number, enum protobuf_type type)
{
	return add_varint(out, (uint64_t)number << 3 | type);
}

static int add_sized(struct buffer *out, unsigned number, const void *data, size_t size)
{
	int r = add_tag(out, number, PROTOBUF_BYTES);

	if (r == 0)
		r = add_varint(out, size);
	return r < 0 ? r : buffer_append(out, data, size);
}

int protobuf_add_bytes(struct buffer *out, unsigned number, const void *data, size_t size)
{
	return size == 0 ? 0 : add_sized(out, number, data, size);
}

int protobuf_add_integer(struct buffer *out, unsigned number, int64_t value)
{
	int r = value == 0 ? 0 : add_tag(out, number, PROTOBUF_VARINT);

	return r < 0 || value == 0 ? r : add_varint(out, (uint64_t)value);
}

int protobuf_add_message(struct buffer *out, unsigned number, const struct buffer *message)
{
	return add_sized(out, number, buffer_string(message), message->size);
}

static int take_varint(struct protobuf_reader *reader, uint64_t *ret)
{
	uint64_t value = 0;

	for (size_t i = 0; i < VARINT_BYTES_MAX && i < reader->size; i++) {
		value |= (uint64_t)(reader->data[i] & 0x7f) << (7 * i);
		if (reader->data[i] & 0x80)
			continue;
		reader->data += i + 1;
		reader->size -= i + 1;
		*ret = value;
		return 0;
	}
	return -EBADMSG;
}

static int take_bytes(struct protobuf_reader *reader, uint64_t size, struct protobuf_field *ret)
{
	if (size > reader->size)
		return -EBADMSG;
	ret->data = (const char *)reader->data;
	ret->size = (size_t)size;
	reader->data += size;
	reader->size -= (size_t)size;
	return 0;
}

static int take_value(struct protobuf_reader *reader, struct protobuf_field *ret)
{
	uint64_t size;

	switch (ret->type) {
	case PROTOBUF_VARINT:
		return take_varint(reader, &ret->value);
	case PROTOBUF_FIXED64:
		return take_bytes(reader, 8, ret);
	case PROTOBUF_FIXED32:
		return take_bytes(reader, 4, ret);
	case PROTOBUF_BYTES:
		return take_varint(reader, &size) < 0 ? -EBADMSG : take_bytes(reader, size, ret);
	}
	return -EBADMSG;
}

int protobuf_next(struct protobuf_reader *reader, struct protobuf_field *ret)
{
	uint64_t tag;
	int r;

	if (reader->size == 0)
		return 0;
	r = take_varint(reader, &tag);
	if (r < 0 || tag >> 3 == 0 || tag > UINT32_MAX)
		return -EBADMSG;
	*ret = (struct protobuf_field){ .number = (unsigned)(tag >> 3),
					.type = (enum protobuf_type)(tag & 7) };
	r = take_value(reader, ret);
	return r < 0 ? r : 1;
}
