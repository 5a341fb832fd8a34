/* Raw deflate data (RFC 1951) into a writer: what gzip and zip have in common. */
#pragma once

#include "executor/base/cleanup.h"
#include "executor/base/stream.h"

#include <stdint.h>

/* Levels: 0 stores, 1 is fast, 9 is small, DEFLATE_DEFAULT is a good middle, DEFLATE_HUFFMAN
 * codes without looking for repetitions. The numbers are those of Go's compress/flate, which is
 * what `archive.tar.compressionLevel` means. The default is made by ISA-L, the others by zlib. */
#define DEFLATE_HUFFMAN (-2)
#define DEFLATE_DEFAULT (-1)
#define DEFLATE_MAX 9

struct deflater;

struct deflate_totals {
	uint64_t in_bytes;
	uint64_t out_bytes;
	uint32_t crc; /* CRC-32 of what went in (RFC 1952) */
};

/* About 500 KB of memory. `out` must outlive it. -EINVAL for an unknown level. */
int deflater_new(int level, struct writer *out, struct deflater **ret, struct error *err);
void deflater_free(struct deflater **deflater);
#define _cleanup_deflater_ _cleanup_(deflater_free)

int deflater_write(struct deflater *deflater, const void *data, size_t size, struct error *err);

/* Ends the deflate data and makes the deflater ready for the next; `out` is not finished. */
int deflater_finish(struct deflater *deflater, struct deflate_totals *ret, struct error *err);

/* The error of a level that is none: -EINVAL. */
int deflate_refuse_level(int level, struct error *err);
