/* Zstandard frames (RFC 8878), stacked on another reader. */
#pragma once

#include "executor/base/cleanup.h"
#include "executor/base/stream.h"

/* The largest window that a frame may ask for: RFC 8878 tells decoders to support 8 MiB and
 * encoders not to need more. It is memory that a stranger makes us allocate. */
#define ZSTD_READER_WINDOW_LOG 23

/* The content of one or more frames. Checksums are verified where a frame has one; the end of the
 * source inside a frame is an error. */
struct zstd_reader {
	struct reader reader;
	struct zstd_state *state;
};
int zstd_reader_init(struct zstd_reader *reader, struct reader *source, struct error *err);
void zstd_reader_done(struct zstd_reader *reader);
#define _cleanup_zstd_reader_ _cleanup_(zstd_reader_done)
