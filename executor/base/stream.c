#include "executor/base/stream.h"

#include "executor/base/cleanup.h"
#include "executor/base/fd.h"

#include <errno.h>
#include <string.h>

static ssize_t fd_read(struct reader *base, void *data, size_t size, struct error *err)
{
	struct fd_reader *self = (struct fd_reader *)base;
	ssize_t n;

	do
		n = read(self->fd, data, size);
	while (n < 0 && errno == EINTR);
	if (n < 0)
		return error_errno(err, -errno, "read %s", self->name);
	return n;
}

void fd_reader_init(struct fd_reader *reader, int fd, const char *name)
{
	*reader = (struct fd_reader){ .reader.read = fd_read, .fd = fd, .name = name };
}

static int fd_write(struct writer *base, const void *data, size_t size, struct error *err)
{
	struct fd_writer *self = (struct fd_writer *)base;
	int r = fd_write_all(self->fd, data, size);

	return r < 0 ? error_errno(err, r, "write %s", self->name) : 0;
}

void fd_writer_init(struct fd_writer *writer, int fd, const char *name)
{
	*writer = (struct fd_writer){ .writer.write = fd_write, .fd = fd, .name = name };
}

static ssize_t memory_read(struct reader *base, void *data, size_t size, struct error *err)
{
	struct memory_reader *self = (struct memory_reader *)base;
	size_t left = self->size - self->position;
	size_t n = size < left ? size : left;

	(void)err;
	if (n > 0)
		memcpy(data, self->data + self->position, n);
	self->position += n;
	return (ssize_t)n;
}

void memory_reader_init(struct memory_reader *reader, const void *data, size_t size)
{
	*reader = (struct memory_reader){ .reader.read = memory_read, .data = data, .size = size };
}

static ssize_t peek_read(struct reader *base, void *data, size_t size, struct error *err)
{
	struct peek_reader *self = (struct peek_reader *)base;
	size_t left = self->size - self->position;

	if (left == 0)
		return self->source->read(self->source, data, size, err);
	if (size > left)
		size = left;
	memcpy(data, self->data + self->position, size);
	self->position += size;
	return (ssize_t)size;
}

void peek_reader_init(struct peek_reader *reader, struct reader *source)
{
	*reader = (struct peek_reader){ .reader.read = peek_read, .source = source };
}

void peek_reader_done(struct peek_reader *reader)
{
	free(reader->data);
	reader->data = NULL;
	reader->size = 0;
	reader->position = 0;
}

ssize_t peek_reader_peek(struct peek_reader *reader, size_t want, const char **ret_data,
			 struct error *err)
{
	if (want > reader->size) {
		char *data = realloc(reader->data, want);

		if (!data)
			return error_set(err, -ENOMEM, "out of memory");
		reader->data = data;
		while (reader->size < want) {
			ssize_t n = reader->source->read(reader->source, data + reader->size,
							 want - reader->size, err);
			if (n < 0)
				return n;
			if (n == 0)
				break;
			reader->size += (size_t)n;
		}
	}
	*ret_data = reader->data;
	return (ssize_t)(want < reader->size ? want : reader->size);
}

int stream_copy(struct reader *reader, struct writer *writer, unsigned long long *ret_bytes,
		struct error *err)
{
	_cleanup_free_ char *chunk = malloc(STREAM_CHUNK_BYTES);
	unsigned long long total = 0;

	if (!chunk)
		return error_set(err, -ENOMEM, "out of memory");
	for (;;) {
		ssize_t n = reader->read(reader, chunk, STREAM_CHUNK_BYTES, err);
		int r;

		if (n < 0)
			return (int)n;
		if (n == 0)
			break;
		r = writer->write(writer, chunk, (size_t)n, err);
		if (r < 0)
			return r;
		total += (unsigned long long)n;
	}
	if (ret_bytes)
		*ret_bytes = total;
	return 0;
}
