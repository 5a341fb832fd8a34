#include "executor/base/buffer.h"

#include "executor/base/sensitive.h"

#include <errno.h>
#include <stdarg.h>
#include <string.h>

#define FIRST_CAPACITY 256

void buffer_done(struct buffer *buffer)
{
	if (buffer->is_secret)
		sensitive_free(buffer->data, buffer->capacity);
	else
		free(buffer->data);
	buffer->data = NULL;
	buffer->size = 0;
	buffer->capacity = 0;
}

void buffer_reset(struct buffer *buffer)
{
	buffer->size = 0;
	if (buffer->data)
		buffer->data[0] = '\0';
}

/* As realloc(3), which leaves bytes where they were. */
static char *grow_secret(struct buffer *buffer, size_t capacity)
{
	char *data = malloc(capacity);

	if (!data)
		return NULL;
	sensitive_lock(data, capacity);
	if (buffer->data)
		memcpy(data, buffer->data, buffer->size);
	sensitive_free(buffer->data, buffer->capacity);
	return data;
}

static int grow(struct buffer *buffer, size_t extra)
{
	size_t wanted, capacity;
	char *data;

	if (extra > buffer->max || buffer->size > buffer->max - extra)
		return -EMSGSIZE;
	wanted = buffer->size + extra + 1;
	if (wanted <= buffer->capacity)
		return 0;
	capacity = buffer->capacity ? buffer->capacity : FIRST_CAPACITY;
	while (capacity < wanted)
		capacity *= 2;
	data = buffer->is_secret ? grow_secret(buffer, capacity) : realloc(buffer->data, capacity);
	if (!data)
		return -ENOMEM;
	buffer->data = data;
	buffer->capacity = capacity;
	buffer->data[buffer->size] = '\0'; /* a reserve need not be followed by bytes */
	return 0;
}

char *buffer_reserve(struct buffer *buffer, size_t extra)
{
	return grow(buffer, extra) < 0 ? NULL : buffer->data + buffer->size;
}

int buffer_append(struct buffer *buffer, const void *data, size_t size)
{
	int r = grow(buffer, size);

	if (r < 0)
		return r;
	if (size > 0)
		memcpy(buffer->data + buffer->size, data, size);
	buffer->size += size;
	buffer->data[buffer->size] = '\0';
	return 0;
}

int buffer_append_string(struct buffer *buffer, const char *s)
{
	return buffer_append(buffer, s, strlen(s));
}

int buffer_append_format(struct buffer *buffer, const char *format, ...)
{
	va_list ap;
	int size, r;

	va_start(ap, format);
	size = vsnprintf(NULL, 0, format, ap);
	va_end(ap);
	if (size < 0)
		return -EINVAL;
	r = grow(buffer, (size_t)size);
	if (r < 0)
		return r;
	va_start(ap, format);
	vsnprintf(buffer->data + buffer->size, (size_t)size + 1, format, ap);
	va_end(ap);
	buffer->size += (size_t)size;
	return 0;
}

void buffer_consume(struct buffer *buffer, size_t count)
{
	if (count == 0)
		return;
	memmove(buffer->data, buffer->data + count, buffer->size - count);
	buffer->size -= count;
	buffer->data[buffer->size] = '\0';
}

const char *buffer_string(const struct buffer *buffer)
{
	return buffer->data ? buffer->data : "";
}

char *buffer_take(struct buffer *buffer)
{
	char *data = buffer->data;

	buffer->data = NULL;
	buffer->size = 0;
	buffer->capacity = 0;
	return data;
}
