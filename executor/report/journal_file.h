/*
 * Records behind each other in a file or memfd, each of which is whole or is not there:
 *
 *	4 bytes	length of the payload, little endian
 *	4 bytes	CRC-32C (RFC 3720, appendix B.4) of the length and the payload, little endian
 *	…	the payload
 *
 * What a crash has torn, or a disk has changed, is found by its checksum; it and all behind it is as if
 * it had never been written.
 */
#pragma once

#include "executor/base/buffer.h"

#include <stddef.h>
#include <stdint.h>

/* An artifact with its location is the largest thing that is recorded. */
#define JOURNAL_RECORD_MAX ((size_t)1024 * 1024)
#define JOURNAL_BYTES_MAX ((size_t)64 * 1024 * 1024)

uint32_t journal_crc32c(uint32_t crc, const void *data, size_t size);

/* Writes one record at `*offset` and moves it behind. After a failure nothing of it is left; -EMSGSIZE
 * for one that is too large, or no room in the file. */
int journal_file_append(int fd, uint64_t *offset, const void *payload, size_t size);

/* Calls `visit` for each whole record until it returns non-zero or there is none. Returns how many
 * bytes those before took: where the next record belongs. */
size_t journal_file_scan(const char *data, size_t size,
			 int (*visit)(void *context, const char *payload, size_t size),
			 void *context);
