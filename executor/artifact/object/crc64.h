/*
 * CRC-64 with the polynomial of ECMA-182, bits reflected, ones before and after (the catalogue's
 * CRC-64/XZ): what OSS keeps of every object.
 */
#pragma once

#include "executor/base/error.h"

#include <stddef.h>
#include <stdint.h>

/* 16 KiB, so that eight bytes are taken at a time. */
struct crc64_table {
	uint64_t slices[8][256];
};

void crc64_table_init(struct crc64_table *table);

/* The checksum of what `crc` is the checksum of (0 for nothing) and `data` behind it. */
uint64_t crc64_update(const struct crc64_table *table, uint64_t crc, const void *data, size_t size);

/* The same of a range of a file, read with pread. -ESTALE when it ends earlier. */
int crc64_update_file(const struct crc64_table *table, uint64_t *crc, int fd, uint64_t offset,
		      uint64_t size, struct error *err);

/* The checksum of two pieces behind each other, the second `size` bytes long. */
uint64_t crc64_combine(uint64_t first, uint64_t second, uint64_t size);
