/* gzip and zstd. The first byte is a level. Required: what was compressed comes back; what was not is
 * refused or read, and what is read of one is what is read of it in any pieces. */
#include "executor/archive/detect.h"
#include "executor/archive/gzip.h"
#include "executor/archive/zstd.h"
#include "executor/base/fd.h"
#include "tests/fuzz/fuzz.h"
#include "tests/fuzz/targets.h"

#include <stdlib.h>
#include <string.h>

/* Of a bomb, this much is read. */
#define CONTENT_BYTES_MAX (128 * 1024)

struct packed {
	struct writer writer;
	struct buffer data;
};

static int keep(struct writer *writer, const void *data, size_t size, struct error *err)
{
	(void)err;
	return buffer_append(&((struct packed *)writer)->data, data, size);
}

/* Reads in steps of `step` bytes; 0, or the error. */
static int read_all(struct reader *reader, size_t step, struct buffer *out, struct error *err)
{
	char data[4096];
	ssize_t n = 1;

	while (n > 0 && out->size + step <= CONTENT_BYTES_MAX) {
		n = reader->read(reader, data, step, err);
		fuzz_require(n <= (ssize_t)step);
		if (n > 0)
			fuzz_require(buffer_append(out, data, (size_t)n) == 0);
	}
	if (n < 0)
		fuzz_check_error((int)n, err);
	return n < 0 ? (int)n : 0;
}

static int read_gzip(struct fuzz_input input, size_t step, struct buffer *out)
{
	struct memory_reader memory;
	_cleanup_gzip_reader_ struct gzip_reader gzip = { .state = NULL };
	struct error err = ERROR_NONE;

	memory_reader_init(&memory, input.data, input.size);
	fuzz_require(gzip_reader_init(&gzip, &memory.reader, &err) == 0);
	return read_all(&gzip.reader, step, out, &err);
}

static int read_zstd(struct fuzz_input input, size_t step, struct buffer *out)
{
	struct memory_reader memory;
	_cleanup_zstd_reader_ struct zstd_reader zstd = { .state = NULL };
	struct error err = ERROR_NONE;

	memory_reader_init(&memory, input.data, input.size);
	fuzz_require(zstd_reader_init(&zstd, &memory.reader, &err) == 0);
	return read_all(&zstd.reader, step, out, &err);
}

static void check_reading(struct fuzz_input input,
			  int (*read)(struct fuzz_input, size_t, struct buffer *))
{
	_cleanup_buffer_ struct buffer whole = BUFFER_INIT(CONTENT_BYTES_MAX);
	_cleanup_buffer_ struct buffer pieces = BUFFER_INIT(CONTENT_BYTES_MAX);
	int r = read(input, 4096, &whole);
	bool is_bomb = whole.size + 4096 > CONTENT_BYTES_MAX;

	/* Of several faults, one or another may be seen first. */
	fuzz_require((read(input, 4, &pieces) < 0) == (r < 0) || is_bomb);
	if (r == 0 && !is_bomb) {
		fuzz_require(whole.size == pieces.size);
		fuzz_require(memcmp(buffer_string(&whole), buffer_string(&pieces), whole.size) ==
			     0);
	}
}

static void check_round(struct fuzz_input input, int level)
{
	struct packed packed = { .writer.write = keep, .data = BUFFER_INIT(CONTENT_BYTES_MAX) };
	_cleanup_buffer_ struct buffer back = BUFFER_INIT(CONTENT_BYTES_MAX);
	struct gzip_writer gzip;
	struct error err = ERROR_NONE;

	fuzz_require(gzip_writer_init(&gzip, &packed.writer, level, NULL, &err) == 0);
	fuzz_require(gzip.writer.write(&gzip.writer, input.data, input.size, &err) == 0);
	fuzz_require(gzip.writer.finish(&gzip.writer, &err) == 0);
	gzip_writer_done(&gzip);
	fuzz_require(detect_is_gzip(packed.data.data, packed.data.size));
	fuzz_require(read_gzip((struct fuzz_input){ packed.data.data, packed.data.size }, 4096,
			       &back) == 0);
	fuzz_require(back.size == input.size);
	fuzz_require(memcmp(buffer_string(&back), input.data, input.size) == 0);
	buffer_done(&packed.data);
}

void fuzz_compress(const char *data, size_t size)
{
	struct fuzz_input input = { data, size };
	int level = fuzz_take_byte(&input) % (DEFLATE_MAX - DEFLATE_HUFFMAN + 1) + DEFLATE_HUFFMAN;
	enum detected detected;
	struct error err = ERROR_NONE;

	check_round(input, level);
	check_reading(input, read_gzip);
	check_reading(input, read_zstd);
	fuzz_require(detect_format(input.data, input.size, &detected, &err) == 0);
}
