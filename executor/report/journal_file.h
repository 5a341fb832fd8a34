/*
 * Records behind each other in a file or memfd, each of which is whole or is not there:
 *
 *	4 bytes	length of the payload, little endian
 *	4 bytes	CRC-32C (RFC 3720, appendix B.4) of the length and the payload, little endian
 *	…	the payload
 *
 * What a crash has torn, or a disk has changed, is found by its checksum; it and all behind it is as if
 * it had never been written. The payload is written before its header, which is what makes it count.
 *
 * Nothing is synced (fsync). The file has to outlive its process, not the machine: a node that goes down
 * takes the pod's containers and their volumes with it, and what the kernel has taken from a process
 * that is killed is there for the next one. Were the machine to come back with less, then with a shorter
 * journal: what is missing is sent again, and nothing is believed that was not so. A sync, on the other
 * hand, holds up the loop for as long as the disk likes, for each artifact.
 */
#pragma once

#include "executor/base/buffer.h"

#include <stdbool.h>
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

/* What is left behind the records is nothing, or one whose header was never written: its writer has died
 * over it. Anything else has been changed. */
bool journal_file_is_torn(const char *rest, size_t size);
