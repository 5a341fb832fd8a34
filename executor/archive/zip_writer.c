#include "executor/archive/zip_writer.h"

#include "executor/archive/zip_format.h"
#include "executor/base/text.h"

#include <errno.h>
#include <string.h>
#include <time.h>
#include <zlib.h>

#define VERSION_PLAIN 20u
#define VERSION_ZIP64 45u
/* A file this large might deflate to more than 32 bits can tell, if it is not compressible. */
#define ZIP64_FROM_BYTES 0xf0000000u
#define DOS_DIRECTORY 0x10u
/* Largest record written here: a central entry's fixed part with all its extra fields. */
#define RECORD_BYTES 128

struct record {
	unsigned char data[RECORD_BYTES];
	size_t size;
};

static void put(struct record *record, uint64_t value, unsigned bytes)
{
	for (unsigned i = 0; i < bytes; i++)
		record->data[record->size++] = (unsigned char)(value >> (8 * i));
}

static void put16(struct record *record, unsigned value)
{
	put(record, value, 2);
}

static void put32(struct record *record, uint64_t value)
{
	put(record, value, 4);
}

static int counting_write(struct writer *base, const void *data, size_t size, struct error *err)
{
	struct zip_writer *zip = (struct zip_writer *)base;
	int r = zip->out->write(zip->out, data, size, err);

	if (r == 0)
		zip->offset += size;
	return r;
}

int zip_writer_init(struct zip_writer *zip, struct writer *out, int level, struct error *err)
{
	*zip = (struct zip_writer){
		.counter.write = counting_write,
		.out = out,
		.directory = BUFFER_INIT(ZIP_DIRECTORY_BYTES_MAX),
	};
	return deflater_new(level, &zip->counter, &zip->deflater, err);
}

void zip_writer_done(struct zip_writer *zip)
{
	deflater_free(&zip->deflater);
	buffer_done(&zip->directory);
}

/* DOS time in the low half, date in the high: two-second steps from 1980 to 2107. */
static uint32_t dos_time(time_t when)
{
	struct tm tm;

	if (!gmtime_r(&when, &tm) || tm.tm_year < 80)
		return 1u << 21 | 1u << 16;
	if (tm.tm_year > 207)
		return 127u << 25 | 12u << 21 | 31u << 16 | 23u << 11 | 59u << 5 | 29u;
	return (uint32_t)(tm.tm_year - 80) << 25 | (uint32_t)(tm.tm_mon + 1) << 21 |
	       (uint32_t)tm.tm_mday << 16 | (uint32_t)tm.tm_hour << 11 | (uint32_t)tm.tm_min << 5 |
	       (uint32_t)tm.tm_sec / 2;
}

/* Info-ZIP's modification time; 32 bits, so nothing for a time that does not fit. */
static void put_time(struct record *record, time_t when)
{
	if (when < INT32_MIN || when > INT32_MAX)
		return;
	put16(record, ZIP_EXTRA_TIME);
	put16(record, 5);
	put(record, 1, 1); /* mtime only */
	put32(record, (uint32_t)when);
}

static unsigned flags_of(const struct member *entry)
{
	unsigned flags = S_ISREG(entry->mode) ? ZIP_FLAG_DESCRIPTOR : 0;
	bool is_ascii = true;
	const char *p = entry->name;

	while (*p) {
		size_t n = text_utf8_length(p, strlen(p));

		if (n == 0)
			return flags; /* bytes of an unknown character set */
		is_ascii = is_ascii && n == 1;
		p += n;
	}
	return is_ascii ? flags : flags | ZIP_FLAG_UTF8;
}

static bool is_zip64(const struct member *entry)
{
	return entry->size >= ZIP64_FROM_BYTES;
}

/* The fields that local header and central entry have in common, up to the extra field's length.
 * An entry with a descriptor has zeros in its local header, where totals are not known yet. */
static void put_common(struct record *record, const struct member *entry,
		       const struct deflate_totals *totals, unsigned extra_bytes)
{
	bool is_deflated = S_ISREG(entry->mode);
	size_t name_bytes = strlen(entry->name) + (S_ISDIR(entry->mode) ? 1 : 0);
	bool is_wide = is_zip64(entry);

	put16(record, is_wide ? VERSION_ZIP64 : VERSION_PLAIN);
	put16(record, flags_of(entry));
	put16(record, is_deflated ? ZIP_METHOD_DEFLATE : ZIP_METHOD_STORE);
	put32(record, dos_time(entry->mtime.tv_sec));
	put32(record, totals->crc);
	put32(record, is_wide ? ZIP_MAX32 : totals->out_bytes);
	put32(record, is_wide ? ZIP_MAX32 : totals->in_bytes);
	put16(record, (unsigned)name_bytes);
	put16(record, extra_bytes);
}

static int write_name(struct zip_writer *zip, struct error *err)
{
	const struct member *entry = &zip->entry;
	int r = counting_write(&zip->counter, entry->name, strlen(entry->name), err);

	if (r == 0 && S_ISDIR(entry->mode))
		r = counting_write(&zip->counter, "/", 1, err);
	return r;
}

static int write_local(struct zip_writer *zip, const struct deflate_totals *totals,
		       struct error *err)
{
	const struct member *entry = &zip->entry;
	struct record extra = { .size = 0 };
	struct record record = { .size = 0 };
	int r;

	if (is_zip64(entry)) {
		put16(&extra, ZIP_EXTRA_ZIP64);
		put16(&extra, 16);
		put(&extra, 0, 8);
		put(&extra, 0, 8);
	}
	put_time(&extra, entry->mtime.tv_sec);
	put32(&record, ZIP_LOCAL_SIGNATURE);
	put_common(&record, entry, totals, (unsigned)extra.size);
	r = counting_write(&zip->counter, record.data, record.size, err);
	if (r == 0)
		r = write_name(zip, err);
	return r < 0 ? r : counting_write(&zip->counter, extra.data, extra.size, err);
}

static int remember(struct zip_writer *zip, const struct deflate_totals *totals, struct error *err)
{
	const struct member *entry = &zip->entry;
	bool is_far = zip->entry_offset >= ZIP_MAX32;
	struct record extra = { .size = 0 };
	struct record record = { .size = 0 };
	int r;

	if (is_zip64(entry) || is_far) {
		put16(&extra, ZIP_EXTRA_ZIP64);
		put16(&extra, (is_zip64(entry) ? 16u : 0u) + (is_far ? 8u : 0u));
		if (is_zip64(entry)) {
			put(&extra, totals->in_bytes, 8);
			put(&extra, totals->out_bytes, 8);
		}
		if (is_far)
			put(&extra, zip->entry_offset, 8);
	}
	put_time(&extra, entry->mtime.tv_sec);
	put32(&record, ZIP_CENTRAL_SIGNATURE);
	put16(&record, ZIP_CREATOR_UNIX << 8 | VERSION_ZIP64);
	put_common(&record, entry, totals, (unsigned)extra.size);
	put16(&record, 0); /* comment */
	put16(&record, 0); /* disk */
	put16(&record, 0); /* internal attributes */
	put32(&record, (uint32_t)entry->mode << 16 | (S_ISDIR(entry->mode) ? DOS_DIRECTORY : 0));
	put32(&record, is_far ? ZIP_MAX32 : zip->entry_offset);
	r = buffer_append(&zip->directory, record.data, record.size);
	if (r == 0)
		r = buffer_append_string(&zip->directory, entry->name);
	if (r == 0 && S_ISDIR(entry->mode))
		r = buffer_append_string(&zip->directory, "/");
	if (r == 0)
		r = buffer_append(&zip->directory, extra.data, extra.size);
	if (r == -EMSGSIZE)
		return error_set(err, r, "zip: too many entries: their list is over %u MiB",
				 ZIP_DIRECTORY_BYTES_MAX >> 20);
	if (r < 0)
		return error_set(err, r, "out of memory");
	zip->count++;
	return 0;
}

int zip_writer_begin(struct zip_writer *zip, const struct member *member, struct error *err)
{
	struct deflate_totals totals = { 0 };
	int r;

	if (!S_ISREG(member->mode) && !S_ISDIR(member->mode) && !S_ISLNK(member->mode))
		return error_set(err, -EINVAL, "zip: a type that cannot be written");
	zip->entry = *member;
	zip->entry_offset = zip->offset;
	if (S_ISLNK(member->mode)) {
		totals.in_bytes = totals.out_bytes = strlen(member->link);
		totals.crc = (uint32_t)crc32(0, (const unsigned char *)member->link,
					     (unsigned)strlen(member->link));
	}
	r = write_local(zip, &totals, err);
	if (r < 0 || S_ISREG(member->mode))
		return r;
	if (S_ISLNK(member->mode))
		r = counting_write(&zip->counter, member->link, strlen(member->link), err);
	return r < 0 ? r : remember(zip, &totals, err);
}

int zip_writer_data(struct zip_writer *zip, const void *data, size_t size, struct error *err)
{
	return deflater_write(zip->deflater, data, size, err);
}

int zip_writer_end_entry(struct zip_writer *zip, struct error *err)
{
	unsigned width = is_zip64(&zip->entry) ? 8 : 4;
	struct record record = { .size = 0 };
	struct deflate_totals totals;
	int r = deflater_finish(zip->deflater, &totals, err);

	if (r < 0)
		return r;
	put32(&record, ZIP_DESCRIPTOR_SIGNATURE);
	put32(&record, totals.crc);
	put(&record, totals.out_bytes, width);
	put(&record, totals.in_bytes, width);
	r = counting_write(&zip->counter, record.data, record.size, err);
	return r < 0 ? r : remember(zip, &totals, err);
}

static void put_zip64_end(struct record *record, const struct zip_writer *zip, uint64_t start)
{
	put32(record, ZIP64_END_SIGNATURE);
	put(record, ZIP64_END_BYTES - 12, 8); /* size of the rest of this record */
	put16(record, ZIP_CREATOR_UNIX << 8 | VERSION_ZIP64);
	put16(record, VERSION_ZIP64);
	put32(record, 0); /* this disk */
	put32(record, 0); /* disk of the directory */
	put(record, zip->count, 8);
	put(record, zip->count, 8);
	put(record, zip->directory.size, 8);
	put(record, start, 8);
	put32(record, ZIP64_LOCATOR_SIGNATURE);
	put32(record, 0);
	put(record, start + zip->directory.size, 8);
	put32(record, 1); /* disks */
}

int zip_writer_finish(struct zip_writer *zip, struct error *err)
{
	uint64_t start = zip->offset;
	unsigned count = zip->count < ZIP_MAX16 ? (unsigned)zip->count : ZIP_MAX16;
	struct record record = { .size = 0 };
	int r = 0;

	if (zip->directory.size > 0)
		r = counting_write(&zip->counter, zip->directory.data, zip->directory.size, err);
	if (r < 0)
		return r;
	if (count == ZIP_MAX16 || start >= ZIP_MAX32)
		put_zip64_end(&record, zip, start);
	put32(&record, ZIP_END_SIGNATURE);
	put16(&record, 0);
	put16(&record, 0);
	put16(&record, count);
	put16(&record, count);
	put32(&record, zip->directory.size);
	put32(&record, start < ZIP_MAX32 ? start : ZIP_MAX32);
	put16(&record, 0); /* comment */
	return counting_write(&zip->counter, record.data, record.size, err);
}
