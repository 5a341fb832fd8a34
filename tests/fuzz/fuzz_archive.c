/*
 * Tar archives, byte by byte. The first byte: 1 = compress the rest with gzip first, 2 = make the
 * checksums of headers right first, 4 to 12 = hand it out in pieces. Required: sandbox.h.
 */
#include "executor/archive/detect.h"
#include "executor/archive/gzip.h"
#include "executor/base/fd.h"
#include "tests/fuzz/fuzz.h"
#include "tests/fuzz/sandbox.h"
#include "tests/fuzz/targets.h"

#include <stdlib.h>
#include <string.h>

enum { COMPRESS = 1, FIX = 2 };

#define PACKED_BYTES_MAX (4 * 1024 * 1024)

struct packed {
	struct writer writer;
	struct buffer data;
};

static int keep(struct writer *writer, const void *data, size_t size, struct error *err)
{
	(void)err;
	return buffer_append(&((struct packed *)writer)->data, data, size);
}

static struct buffer compress_all(struct fuzz_input content)
{
	struct packed packed = { .writer.write = keep, .data = BUFFER_INIT(PACKED_BYTES_MAX) };
	struct gzip_writer gzip;
	struct error err = ERROR_NONE;

	fuzz_require(gzip_writer_init(&gzip, &packed.writer, 1, NULL, &err) == 0);
	fuzz_require(gzip.writer.write(&gzip.writer, content.data, content.size, &err) == 0);
	fuzz_require(gzip.writer.finish(&gzip.writer, &err) == 0);
	gzip_writer_done(&gzip);
	return packed.data;
}

void fuzz_archive(const char *data, size_t size)
{
	static const size_t steps[] = { SIZE_MAX, 1, 511, 4096 };
	struct fuzz_input input = { data, size };
	unsigned char flags = fuzz_take_byte(&input);
	_cleanup_buffer_ struct buffer content = BUFFER_INIT(PACKED_BYTES_MAX);
	struct fuzz_pieces pieces;
	struct error err = ERROR_NONE;
	enum detected detected;
	const char *target = sandbox_target();
	int r, fd = fuzz_next_fd();

	fuzz_require(buffer_append(&content, input.data, input.size) == 0);
	if (flags & FIX && content.size > 0)
		sandbox_fix_checksums(content.data, content.size);
	if (flags & COMPRESS) {
		struct buffer packed =
			compress_all((struct fuzz_input){ buffer_string(&content), content.size });

		buffer_done(&content);
		content = packed;
	}
	fuzz_require(detect_format(buffer_string(&content), content.size, &detected, &err) == 0);
	fuzz_pieces_init(&pieces, buffer_string(&content), content.size, steps[flags / 4 % 4]);
	r = unpack_tar(&pieces.reader, spot_by_path(target), &sandbox_options, &err);
	sandbox_check(r, &err);
	fuzz_require(fuzz_next_fd() == fd);
}
