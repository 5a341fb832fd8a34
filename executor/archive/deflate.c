#include "executor/archive/deflate.h"

#include <errno.h>
#include <stdbool.h>
#define ZLIB_CONST
#include <zlib.h>

#define OUT_BYTES (64 * 1024)
#define RAW_WINDOW_BITS (-15)
#define DEFAULT_MEMORY_LEVEL 8
/* zlib counts in unsigned int. */
#define STEP_BYTES (1u << 30)

struct deflater {
	struct writer *out;
	z_stream stream;
	bool is_ready;
	struct deflate_totals totals;
	unsigned char chunk[OUT_BYTES];
};

int deflater_new(int level, struct writer *out, struct deflater **ret, struct error *err)
{
	_cleanup_deflater_ struct deflater *deflater = NULL;
	int strategy = level == DEFLATE_HUFFMAN ? Z_HUFFMAN_ONLY : Z_DEFAULT_STRATEGY;

	if (level < DEFLATE_HUFFMAN || level > DEFLATE_MAX)
		return error_set(err, -EINVAL, "gzip: invalid compression level: %d (use %d to %d)",
				 level, DEFLATE_HUFFMAN, DEFLATE_MAX);
	deflater = calloc(1, sizeof(*deflater));
	if (!deflater)
		return error_set(err, -ENOMEM, "out of memory");
	deflater->out = out;
	if (deflateInit2(&deflater->stream, level == DEFLATE_HUFFMAN ? DEFLATE_DEFAULT : level,
			 Z_DEFLATED, RAW_WINDOW_BITS, DEFAULT_MEMORY_LEVEL, strategy) != Z_OK)
		return error_set(err, -ENOMEM, "out of memory");
	deflater->is_ready = true;
	*ret = TAKE_PTR(deflater);
	return 0;
}

void deflater_free(struct deflater **deflater)
{
	if (*deflater && (*deflater)->is_ready)
		deflateEnd(&(*deflater)->stream);
	free(*deflater);
	*deflater = NULL;
}

/* Runs deflate until it has taken all input (or, with Z_FINISH, given all output). */
static int run(struct deflater *self, int flush, struct error *err)
{
	z_stream *stream = &self->stream;
	int status;

	do {
		size_t size;
		int r;

		stream->next_out = self->chunk;
		stream->avail_out = sizeof(self->chunk);
		status = deflate(stream, flush);
		if (status == Z_STREAM_ERROR)
			return error_set(err, -EIO, "deflate: inconsistent state");
		size = sizeof(self->chunk) - stream->avail_out;
		if (size > 0) {
			r = self->out->write(self->out, self->chunk, size, err);
			if (r < 0)
				return r;
			self->totals.out_bytes += size;
		}
	} while (stream->avail_out == 0);
	return 0;
}

int deflater_write(struct deflater *self, const void *data, size_t size, struct error *err)
{
	const unsigned char *p = data;

	while (size > 0) {
		unsigned int step = size < STEP_BYTES ? (unsigned int)size : STEP_BYTES;
		int r;

		self->totals.crc = (uint32_t)crc32(self->totals.crc, p, step);
		self->stream.next_in = p;
		self->stream.avail_in = step;
		r = run(self, Z_NO_FLUSH, err);
		if (r < 0)
			return r;
		self->totals.in_bytes += step;
		p += step;
		size -= step;
	}
	return 0;
}

int deflater_finish(struct deflater *self, struct deflate_totals *ret, struct error *err)
{
	int r;

	self->stream.next_in = NULL;
	self->stream.avail_in = 0;
	r = run(self, Z_FINISH, err);
	if (r < 0)
		return r;
	*ret = self->totals;
	self->totals = (struct deflate_totals){ 0 };
	deflateReset(&self->stream);
	return 0;
}
