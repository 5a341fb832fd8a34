/* gzip (RFC 1952), in both directions, stacked on another stream. */
#pragma once

#include "executor/archive/deflate.h"
#include "executor/base/stream.h"

#include <stdbool.h>

/*
 * One gzip member around what is written. The header is the same for equal settings: no name, no
 * time, operating system 255 (unknown), as Go's compress/gzip writes it.
 * finish ends the member; `out` stays for its owner to finish.
 */
struct gzip_writer {
	struct writer writer;
	struct writer *out; /* not owned */
	struct deflater *deflater;
};
/* level: DEFLATE_HUFFMAN to DEFLATE_MAX. Writes the header at once. */
int gzip_writer_init(struct gzip_writer *writer, struct writer *out, int level, struct error *err);
void gzip_writer_done(struct gzip_writer *writer);
#define _cleanup_gzip_writer_ _cleanup_(gzip_writer_done)

/*
 * The content of one or more members. Checksums and lengths are verified; the end of the source
 * inside a member is an error; what follows the last member and is not another one is ignored, as
 * gunzip does.
 */
struct gzip_reader {
	struct reader reader;
	struct gzip_inflate *state;
};
int gzip_reader_init(struct gzip_reader *reader, struct reader *source, struct error *err);
void gzip_reader_done(struct gzip_reader *reader);
#define _cleanup_gzip_reader_ _cleanup_(gzip_reader_done)
