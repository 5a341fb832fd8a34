#include "executor/archive/detect.h"

#include "executor/archive/gzip.h"
#include "executor/archive/zstd.h"
#include "executor/base/stream.h"

#include <errno.h>
#include <string.h>

/* Positions in a tar header. */
#define MODE_AT 100
#define SIZE_AT 124
#define MTIME_AT 136
#define CHECKSUM_AT 148

bool detect_is_gzip(const char *data, size_t size)
{
	return size >= 3 && memcmp(data, "\x1f\x8b\x08", 3) == 0;
}

bool detect_is_zstd(const char *data, size_t size)
{
	return size >= 4 && memcmp(data, "\x28\xb5\x2f\xfd", 4) == 0;
}

/* Octal digits between spaces and NULs, or (GNU) a binary number marked by the high bit. */
static bool is_number(const unsigned char *field, size_t size)
{
	size_t i = 0;

	if (field[0] & 0x80)
		return true;
	while (i < size && field[i] == ' ')
		i++;
	while (i < size && field[i] >= '0' && field[i] <= '7')
		i++;
	while (i < size && (field[i] == ' ' || field[i] == '\0'))
		i++;
	return i == size;
}

static long octal(const unsigned char *field, size_t size)
{
	long value = 0;

	for (size_t i = 0; i < size; i++)
		if (field[i] >= '0' && field[i] <= '7')
			value = value * 8 + (field[i] - '0');
	return value;
}

bool detect_is_tar_header(const unsigned char *block)
{
	long sum = 0, signed_sum = 0; /* some old tars added up signed characters */
	long wanted = octal(block + CHECKSUM_AT, 8);

	for (size_t i = 0; i < DETECT_TAR_BLOCK_BYTES; i++) {
		bool is_checksum = i >= CHECKSUM_AT && i < CHECKSUM_AT + 8;

		sum += is_checksum ? ' ' : block[i];
		signed_sum += is_checksum ? ' ' : (signed char)block[i];
	}
	/* A block of zeros adds up to the eight spaces, but has no digits that say so. */
	return is_number(block + CHECKSUM_AT, 8) && (wanted == sum || wanted == signed_sum) &&
	       is_number(block + MODE_AT, 8) && is_number(block + SIZE_AT, 12) &&
	       is_number(block + MTIME_AT, 12);
}

/* 1 = the stream begins with a tar header. Unreadable data is no error here, it is just not tar. */
static int begins_with_tar(struct reader *reader)
{
	unsigned char block[DETECT_TAR_BLOCK_BYTES];
	size_t size = 0;

	while (size < sizeof(block)) {
		ssize_t n = reader->read(reader, block + size, sizeof(block) - size, NULL);

		if (n == -ENOMEM)
			return -ENOMEM;
		if (n <= 0)
			return 0;
		size += (size_t)n;
	}
	return detect_is_tar_header(block);
}

int detect_format(const char *data, size_t size, enum detected *ret, struct error *err)
{
	_cleanup_gzip_reader_ struct gzip_reader gzip = { .state = NULL };
	_cleanup_zstd_reader_ struct zstd_reader zstd = { .state = NULL };
	enum detected detected = DETECTED_PLAIN;
	struct memory_reader memory;
	int r = 0;

	memory_reader_init(&memory, data, size);
	if (detect_is_gzip(data, size)) {
		detected = DETECTED_TAR_GZ;
		r = gzip_reader_init(&gzip, &memory.reader, err);
		if (r == 0)
			r = begins_with_tar(&gzip.reader);
	} else if (detect_is_zstd(data, size)) {
		detected = DETECTED_TAR_ZSTD;
		r = zstd_reader_init(&zstd, &memory.reader, err);
		if (r == 0)
			r = begins_with_tar(&zstd.reader);
	}
	if (r < 0)
		return error_set(err, r, "out of memory");
	*ret = r > 0 ? detected : DETECTED_PLAIN;
	return 0;
}
