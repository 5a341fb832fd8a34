#include "executor/archive/deflate.h"

#include <errno.h>
#include <isa-l/crc.h>
#include <isa-l/igzip_lib.h>
#include <stdbool.h>
#define ZLIB_CONST
#include <zlib.h>

#define OUT_BYTES (64 * 1024)
#define RAW_WINDOW_BITS (-15)
#define ZLIB_MEMORY_LEVEL 8
/* ISA-L's best ratio at its full speed: within 2 % of what zlib makes of mixed data by default, in a
 * tenth of the time. */
#define FAST_LEVEL 2
/* Both libraries count in unsigned int. */
#define STEP_BYTES (1u << 30)

struct deflater {
	struct writer *out;
	bool is_fast; /* ISA-L's stream, not zlib's */
	struct isal_zstream fast;
	unsigned char *fast_level_data;
	z_stream stream;
	bool is_ready;
	struct deflate_totals totals;
	unsigned char chunk[OUT_BYTES];
};

static int init_fast(struct deflater *self)
{
	self->is_fast = true;
	self->fast_level_data = malloc(ISAL_DEF_LVL2_DEFAULT);
	if (!self->fast_level_data)
		return -ENOMEM;
	isal_deflate_init(&self->fast);
	self->fast.level = FAST_LEVEL;
	self->fast.level_buf = self->fast_level_data;
	self->fast.level_buf_size = ISAL_DEF_LVL2_DEFAULT;
	return 0;
}

static int init_exact(struct deflater *self, int level)
{
	int strategy = level == DEFLATE_HUFFMAN ? Z_HUFFMAN_ONLY : Z_DEFAULT_STRATEGY;

	if (deflateInit2(&self->stream, level == DEFLATE_HUFFMAN ? Z_DEFAULT_COMPRESSION : level,
			 Z_DEFLATED, RAW_WINDOW_BITS, ZLIB_MEMORY_LEVEL, strategy) != Z_OK)
		return -ENOMEM;
	self->is_ready = true;
	return 0;
}

int deflate_refuse_level(int level, struct error *err)
{
	return error_set(err, -EINVAL, "gzip: invalid compression level: %d (use %d to %d)", level,
			 DEFLATE_HUFFMAN, DEFLATE_MAX);
}

int deflater_new(int level, struct writer *out, struct deflater **ret, struct error *err)
{
	_cleanup_deflater_ struct deflater *deflater = NULL;
	int r;

	if (level < DEFLATE_HUFFMAN || level > DEFLATE_MAX)
		return deflate_refuse_level(level, err);
	deflater = calloc(1, sizeof(*deflater));
	if (!deflater)
		return error_set(err, -ENOMEM, "out of memory");
	deflater->out = out;
	r = level == DEFLATE_DEFAULT ? init_fast(deflater) : init_exact(deflater, level);
	if (r < 0)
		return error_set(err, r, "out of memory");
	*ret = TAKE_PTR(deflater);
	return 0;
}

void deflater_free(struct deflater **deflater)
{
	if (*deflater && (*deflater)->is_ready)
		deflateEnd(&(*deflater)->stream);
	if (*deflater)
		free((*deflater)->fast_level_data);
	free(*deflater);
	*deflater = NULL;
}

static int pass_on(struct deflater *self, size_t size, struct error *err)
{
	int r = size > 0 ? self->out->write(self->out, self->chunk, size, err) : 0;

	if (r == 0)
		self->totals.out_bytes += size;
	return r;
}

static int run_fast(struct deflater *self, struct error *err)
{
	struct isal_zstream *stream = &self->fast;
	int r;

	do {
		stream->next_out = self->chunk;
		stream->avail_out = sizeof(self->chunk);
		if (isal_deflate(stream) != COMP_OK)
			return error_set(err, -EIO, "deflate: inconsistent state");
		r = pass_on(self, sizeof(self->chunk) - stream->avail_out, err);
	} while (r == 0 && stream->avail_out == 0);
	return r;
}

static int run_exact(struct deflater *self, int flush, struct error *err)
{
	z_stream *stream = &self->stream;
	int r;

	do {
		stream->next_out = self->chunk;
		stream->avail_out = sizeof(self->chunk);
		if (deflate(stream, flush) == Z_STREAM_ERROR)
			return error_set(err, -EIO, "deflate: inconsistent state");
		r = pass_on(self, sizeof(self->chunk) - stream->avail_out, err);
	} while (r == 0 && stream->avail_out == 0);
	return r;
}

/* Runs until all input is taken (or, at the end, all output given). */
static int run(struct deflater *self, const unsigned char *data, unsigned int size, bool is_end,
	       struct error *err)
{
	if (self->is_fast) {
		self->fast.next_in = (unsigned char *)data; /* is only read */
		self->fast.avail_in = size;
		self->fast.end_of_stream = is_end;
		return run_fast(self, err);
	}
	self->stream.next_in = data;
	self->stream.avail_in = size;
	return run_exact(self, is_end ? Z_FINISH : Z_NO_FLUSH, err);
}

int deflater_write(struct deflater *self, const void *data, size_t size, struct error *err)
{
	const unsigned char *p = data;

	while (size > 0) {
		unsigned int step = size < STEP_BYTES ? (unsigned int)size : STEP_BYTES;
		int r;

		self->totals.crc = crc32_gzip_refl(self->totals.crc, p, step);
		r = run(self, p, step, false, err);
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
	int r = run(self, NULL, 0, true, err);

	if (r < 0)
		return r;
	*ret = self->totals;
	self->totals = (struct deflate_totals){ 0 };
	if (self->is_fast)
		isal_deflate_reset(&self->fast);
	else
		deflateReset(&self->stream);
	return 0;
}
