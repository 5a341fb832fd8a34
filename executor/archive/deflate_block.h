/* One block of raw deflate data (RFC 1951) made in one go, on any thread. */
#pragma once

#include "executor/archive/deflate.h"

#include <stdbool.h>

/* What deflate can refer to. */
#define DEFLATE_HISTORY_BYTES (32u * 1024)

/* Stored data takes this at most, and nothing that is longer than stored data is given out. */
#define DEFLATE_BLOCK_BOUND(size) ((size) + 5 * ((size) / 65535 + 2))

struct deflate_block;

/* About 350 KB. level: DEFLATE_HUFFMAN to DEFLATE_MAX. NULL when out of memory. */
struct deflate_block *deflate_block_new(int level);
void deflate_block_free(struct deflate_block *block);

/*
 * Compresses `size` bytes of `data`, before which lie `history` (up to DEFLATE_HISTORY_BYTES) bytes
 * that the reader has already. Ends at a byte's end, so that another block may follow; is_last ends
 * the deflate data. `out` has room for DEFLATE_BLOCK_BOUND(size). Returns the bytes made.
 */
size_t deflate_block_run(struct deflate_block *block, const unsigned char *data, size_t size,
			 size_t history, bool is_last, unsigned char *out);
