#include "executor/report/journal_file.h"

#include <endian.h>
#include <errno.h>
#include <string.h>
#include <unistd.h>

#define HEADER_BYTES 8

uint32_t journal_crc32c(uint32_t crc, const void *data, size_t size)
{
	const uint8_t *p = data;

	crc = ~crc;
	while (size-- > 0) {
		crc ^= *p++;
		for (int bit = 0; bit < 8; bit++)
			crc = (crc >> 1) ^ (0x82f63b78u & -(crc & 1));
	}
	return ~crc;
}

static uint32_t checksum(uint32_t length, const void *payload, size_t size)
{
	return journal_crc32c(journal_crc32c(0, &length, sizeof(length)), payload, size);
}

static int write_at(int fd, const char *data, size_t size, uint64_t offset)
{
	while (size > 0) {
		ssize_t n = pwrite(fd, data, size, (off_t)offset);

		if (n < 0 && errno == EINTR)
			continue;
		if (n <= 0)
			return n < 0 ? -errno : -EIO;
		data += n;
		size -= (size_t)n;
		offset += (uint64_t)n;
	}
	return 0;
}

int journal_file_append(int fd, uint64_t *offset, const void *payload, size_t size)
{
	uint32_t header[2] = { htole32((uint32_t)size) };
	char start[HEADER_BYTES];
	int r;

	if (size == 0 || size > JOURNAL_RECORD_MAX ||
	    *offset + HEADER_BYTES + size > JOURNAL_BYTES_MAX)
		return -EMSGSIZE;
	header[1] = htole32(checksum(header[0], payload, size));
	memcpy(start, header, sizeof(start));
	r = write_at(fd, payload, size, *offset + HEADER_BYTES);
	if (r == 0)
		r = write_at(fd, start, sizeof(start), *offset);
	if (r < 0) {
		/* A part of it is no record; it only takes room. */
		if (ftruncate(fd, (off_t)*offset) < 0)
			return -errno;
		return r;
	}
	*offset += HEADER_BYTES + size;
	return 0;
}

size_t journal_file_scan(const char *data, size_t size,
			 int (*visit)(void *context, const char *payload, size_t size),
			 void *context)
{
	size_t good = 0;

	while (size - good >= HEADER_BYTES) {
		const char *payload = data + good + HEADER_BYTES;
		uint32_t header[2];
		size_t length;

		memcpy(header, data + good, sizeof(header));
		length = le32toh(header[0]);
		if (length == 0 || length > JOURNAL_RECORD_MAX ||
		    length > size - good - HEADER_BYTES ||
		    checksum(header[0], payload, length) != le32toh(header[1]) ||
		    visit(context, payload, length) != 0)
			break;
		good += HEADER_BYTES + length;
	}
	return good;
}

bool journal_file_is_torn(const char *rest, size_t size)
{
	for (size_t i = 0; i < size && i < HEADER_BYTES; i++)
		if (rest[i])
			return false;
	return true;
}
