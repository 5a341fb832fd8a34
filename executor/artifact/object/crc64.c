#include "executor/artifact/object/crc64.h"

#include <endian.h>
#include <errno.h>
#include <inttypes.h>
#include <string.h>
#include <unistd.h>

#define CHUNK_BYTES (64 * 1024)

/* 0x42f0e1eba9ea3693 with its bits reversed: the highest bit is the coefficient of 1. */
#define POLYNOMIAL 0xc96c5795d7870f42ULL
#define ONE (1ULL << 63)

/* Times x. */
static uint64_t shift(uint64_t a)
{
	return (a >> 1) ^ (a & 1 ? POLYNOMIAL : 0);
}

/* Modulo the polynomial. */
static uint64_t multiply(uint64_t a, uint64_t b)
{
	uint64_t product = 0;

	for (uint64_t bit = ONE; bit; bit >>= 1) {
		if (a & bit)
			product ^= b;
		b = shift(b);
	}
	return product;
}

void crc64_table_init(struct crc64_table *table)
{
	for (unsigned byte = 0; byte < 256; byte++) {
		uint64_t crc = byte;

		for (int i = 0; i < 8; i++)
			crc = shift(crc);
		table->slices[0][byte] = crc;
	}
	/* The same byte with more and more zero bytes behind it. */
	for (unsigned slice = 1; slice < 8; slice++)
		for (unsigned byte = 0; byte < 256; byte++) {
			uint64_t crc = table->slices[slice - 1][byte];

			table->slices[slice][byte] = table->slices[0][crc & 0xff] ^ (crc >> 8);
		}
}

uint64_t crc64_update(const struct crc64_table *table, uint64_t crc, const void *data, size_t size)
{
	const unsigned char *p = data;

	crc = ~crc;
	for (; size >= 8; size -= 8, p += 8) {
		uint64_t word;

		memcpy(&word, p, sizeof(word));
		crc ^= le64toh(word);
		word = 0;
		for (unsigned i = 0; i < 8; i++)
			word ^= table->slices[7 - i][(crc >> (8 * i)) & 0xff];
		crc = word;
	}
	for (; size > 0; size--, p++)
		crc = table->slices[0][(crc ^ *p) & 0xff] ^ (crc >> 8);
	return ~crc;
}

int crc64_update_file(const struct crc64_table *table, uint64_t *crc, int fd, uint64_t offset,
		      uint64_t size, struct error *err)
{
	char chunk[CHUNK_BYTES];

	while (size > 0) {
		size_t wanted = size < sizeof(chunk) ? (size_t)size : sizeof(chunk);
		ssize_t n = pread(fd, chunk, wanted, (off_t)offset);

		if (n < 0 && errno == EINTR)
			continue;
		if (n < 0)
			return error_errno(err, -errno, "read at offset %" PRIu64, offset);
		if (n == 0)
			return error_set(err, -ESTALE, "it ends %" PRIu64 " bytes early", size);
		*crc = crc64_update(table, *crc, chunk, (size_t)n);
		offset += (uint64_t)n;
		size -= (uint64_t)n;
	}
	return 0;
}

/* The ones before and after cancel out, as in zlib's crc32_combine: what remains is the first
 * checksum times x^(8 * size). */
uint64_t crc64_combine(uint64_t first, uint64_t second, uint64_t size)
{
	uint64_t power = ONE >> 8; /* x^8, squared with each bit of size */

	for (; size > 0; size >>= 1) {
		if (size & 1)
			first = multiply(first, power);
		power = multiply(power, power);
	}
	return first ^ second;
}
