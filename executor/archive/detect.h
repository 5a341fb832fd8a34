/* Is a downloaded file an archive that should be unpacked unasked? */
#pragma once

#include "executor/base/error.h"

#include <stdbool.h>
#include <stddef.h>

/* As much of the beginning as is worth looking at: a zstd frame shows nothing before its first block
 * is complete, and that is up to 128 KiB. */
#define DETECT_BYTES (144 * 1024)

enum detected {
	DETECTED_PLAIN, /* stays as it is; also zip, an uncompressed tar, a compressed non-tar */
	DETECTED_TAR_GZ,
	DETECTED_TAR_ZSTD,
};

/* Judges by the first bytes of the data (DETECT_BYTES or all of it): compressed, and the content
 * begins with a valid tar header. An archive without entries has none, so it is plain.
 * Fails only for lack of memory. */
int detect_format(const char *data, size_t size, enum detected *ret, struct error *err);

#define DETECT_TAR_BLOCK_BYTES 512

/* True for a tar header (V7 or later) with its checksum right and its numbers readable. */
bool detect_is_tar_header(const unsigned char *block);

bool detect_is_gzip(const char *data, size_t size);
bool detect_is_zstd(const char *data, size_t size);
