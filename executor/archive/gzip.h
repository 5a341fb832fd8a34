/* gzip (RFC 1952), in both directions, stacked on another stream. */
#pragma once

#include "executor/archive/deflate.h"
#include "executor/base/stream.h"
#include "executor/event/pool.h"

#include <stdbool.h>

/*
 * One gzip member around what is written. The header is the same for equal settings: no name, no
 * time, operating system 255 (unknown), as Go's compress/gzip writes it.
 *
 * The content is compressed in blocks of GZIP_BLOCK_BYTES, each with the end of the one before it as
 * its dictionary, several at a time on the threads of `pool` (NULL, or content that is less than
 * one block: on the caller's). Equal content gives equal bytes, however many threads there are.
 * A write waits while all blocks are under way or `out` takes no more; one block takes about
 * 1 MiB, and there are two more of them than threads.
 *
 * finish ends the member; `out` stays for its owner to finish.
 */
#define GZIP_BLOCK_BYTES (256u * 1024)

struct gzip_writer {
	struct writer writer;
	struct gzip_blocks *blocks;
};
/* level: DEFLATE_HUFFMAN to DEFLATE_MAX. Writes the header at once. `pool` and `out` must outlive
 * it. */
int gzip_writer_init(struct gzip_writer *writer, struct writer *out, int level, struct pool *pool,
		     struct error *err);
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
