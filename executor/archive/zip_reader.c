#include "executor/archive/zip_reader.h"

#include "executor/archive/zip_format.h"

#include <errno.h>
#include <string.h>
#include <time.h>
#include <zlib.h>

#define IN_BYTES (64 * 1024)
#define RAW_WINDOW_BITS (-15)
/* The end record may be followed by a comment that is as long as 16 bits can tell. */
#define TAIL_BYTES_MAX (ZIP_END_BYTES + 65535 + ZIP64_LOCATOR_BYTES)
#define DOS_DIRECTORY 0x10u
#define DOS_READ_ONLY 0x01u

/* What the central directory says about an entry. */
struct central {
	unsigned creator;
	unsigned flags;
	unsigned method;
	uint32_t time;
	uint32_t crc;
	uint64_t packed_bytes;
	uint64_t bytes;
	uint32_t attributes;
	uint64_t offset;
	bool has_mtime;
	int32_t mtime;
};

struct zip_reader {
	int fd;
	uint64_t size;
	uint64_t base; /* where offset 0 of the archive lies in the file */
	uint64_t position; /* of the next central entry */
	uint64_t end; /* of the central directory */
	uint64_t count; /* as announced */
	uint64_t seen;
	struct central entry;
	uint64_t data_position;
	uint64_t packed_left;
	uint64_t left;
	uint32_t crc;
	bool is_located;
	z_stream stream;
	bool is_stream_ready;
	bool is_stream_ended;
	char name[65536];
	unsigned char extra[65536];
	unsigned char chunk[IN_BYTES];
};

static uint64_t get(const unsigned char *p, unsigned bytes)
{
	uint64_t value = 0;

	for (unsigned i = 0; i < bytes; i++)
		value |= (uint64_t)p[i] << (8 * i);
	return value;
}

static unsigned get16(const unsigned char *p)
{
	return (unsigned)get(p, 2);
}

static uint32_t get32(const unsigned char *p)
{
	return (uint32_t)get(p, 4);
}

static int damaged(const char *what, struct error *err)
{
	return error_set(err, -EBADMSG, "zip: %s", what);
}

static int read_at(struct zip_reader *zip, uint64_t position, void *data, size_t size,
		   struct error *err)
{
	char *p = data;

	if (position > zip->size || size > zip->size - position)
		return damaged("not a valid zip file: truncated", err);
	while (size > 0) {
		ssize_t n = pread(zip->fd, p, size, (off_t)position);

		if (n < 0 && errno == EINTR)
			continue;
		if (n < 0)
			return error_errno(err, -errno, "zip: read");
		if (n == 0)
			return damaged("not a valid zip file: truncated", err);
		p += n;
		position += (uint64_t)n;
		size -= (size_t)n;
	}
	return 0;
}

/* Replaces start, size and count by those of the zip64 end record, if there is one. */
static int read_zip64_end(struct zip_reader *zip, uint64_t end_position, uint64_t *start,
			  uint64_t *bytes, uint64_t *directory_end, struct error *err)
{
	unsigned char locator[ZIP64_LOCATOR_BYTES], record[ZIP64_END_BYTES];
	uint64_t position;
	int r;

	if (end_position < ZIP64_LOCATOR_BYTES)
		return 0;
	r = read_at(zip, end_position - ZIP64_LOCATOR_BYTES, locator, sizeof(locator), err);
	if (r < 0 || get32(locator) != ZIP64_LOCATOR_SIGNATURE)
		return r;
	position = get(locator + 8, 8);
	r = read_at(zip, position, record, sizeof(record), err);
	if (r < 0)
		return r;
	if (get32(record) != ZIP64_END_SIGNATURE)
		return damaged("invalid zip64 end record", err);
	zip->count = get(record + 32, 8);
	*bytes = get(record + 40, 8);
	*start = get(record + 48, 8);
	*directory_end = position;
	return 0;
}

static int read_end(struct zip_reader *zip, uint64_t position, const unsigned char *record,
		    struct error *err)
{
	uint64_t start = get32(record + 16), bytes = get32(record + 12), directory_end = position;
	bool is_wide = get16(record + 10) == ZIP_MAX16 || bytes == ZIP_MAX32 || start == ZIP_MAX32;
	int r = 0;

	if (get16(record + 4) != 0 && get16(record + 4) != ZIP_MAX16)
		return damaged("archives in several parts are not supported", err);
	zip->count = get16(record + 10);
	if (is_wide)
		r = read_zip64_end(zip, position, &start, &bytes, &directory_end, err);
	if (r < 0)
		return r;
	if (bytes > directory_end || start > directory_end - bytes)
		return damaged("not a valid zip file: the directory lies outside", err);
	/* Something in front (a self-extractor) shifts everything; zip64 records say where they
	 * are, so with them there is no such thing. */
	zip->base = directory_end == position ? directory_end - bytes - start : 0;
	zip->position = zip->base + start;
	zip->end = zip->position + bytes;
	return 0;
}

static int find_end(struct zip_reader *zip, struct error *err)
{
	size_t size = zip->size < TAIL_BYTES_MAX ? (size_t)zip->size : TAIL_BYTES_MAX;
	_cleanup_free_ unsigned char *tail = malloc(size + 1);
	int r;

	if (!tail)
		return error_set(err, -ENOMEM, "out of memory");
	r = read_at(zip, zip->size - size, tail, size, err);
	if (r < 0)
		return r;
	for (size_t i = size; i >= ZIP_END_BYTES; i--) {
		const unsigned char *record = tail + i - ZIP_END_BYTES;

		/* The comment must fit behind it, or this is part of one. */
		if (get32(record) == ZIP_END_SIGNATURE && get16(record + 20) <= size - i)
			return read_end(zip, zip->size - size + i - ZIP_END_BYTES, record, err);
	}
	return damaged("not a valid zip file", err);
}

int zip_reader_new(int fd, struct zip_reader **ret, struct error *err)
{
	_cleanup_zip_reader_ struct zip_reader *zip = calloc(1, sizeof(*zip));
	struct stat st;
	int r;

	if (!zip)
		return error_set(err, -ENOMEM, "out of memory");
	if (fstat(fd, &st) < 0)
		return error_errno(err, -errno, "zip: stat");
	if (!S_ISREG(st.st_mode))
		return error_set(err, -EINVAL, "zip: not a regular file");
	zip->fd = fd;
	zip->size = (uint64_t)st.st_size;
	if (inflateInit2(&zip->stream, RAW_WINDOW_BITS) != Z_OK)
		return error_set(err, -ENOMEM, "out of memory");
	zip->is_stream_ready = true;
	r = find_end(zip, err);
	if (r < 0)
		return r;
	*ret = TAKE_PTR(zip);
	return 0;
}

void zip_reader_free(struct zip_reader **reader)
{
	if (*reader && (*reader)->is_stream_ready)
		inflateEnd(&(*reader)->stream);
	free(*reader);
	*reader = NULL;
}

/* The 64-bit values are those, and in this order, whose 32-bit field says "too large". */
static int take_zip64(struct central *entry, const unsigned char *p, size_t size, struct error *err)
{
	uint64_t *const fields[] = { &entry->bytes, &entry->packed_bytes, &entry->offset };

	for (size_t i = 0; i < sizeof(fields) / sizeof(fields[0]); i++) {
		if (*fields[i] != ZIP_MAX32)
			continue;
		if (size < 8)
			return damaged("invalid zip64 extra field", err);
		*fields[i] = get(p, 8);
		p += 8;
		size -= 8;
	}
	return 0;
}

static int take_extra(struct central *entry, const unsigned char *p, size_t size, struct error *err)
{
	while (size >= 4) {
		unsigned id = get16(p), n = get16(p + 2);
		int r = 0;

		p += 4;
		size -= 4;
		if (n > size)
			return 0; /* garbage is common here, and harmless */
		if (id == ZIP_EXTRA_ZIP64) {
			r = take_zip64(entry, p, n, err);
		} else if (id == ZIP_EXTRA_TIME && n >= 5 && (p[0] & 1)) {
			entry->has_mtime = true;
			entry->mtime = (int32_t)get32(p + 1);
		}
		if (r < 0)
			return r;
		p += n;
		size -= n;
	}
	return 0;
}

static mode_t mode_of(const struct central *entry, bool has_slash)
{
	bool is_directory = has_slash || (entry->attributes & DOS_DIRECTORY);
	mode_t mode = 0;

	if (entry->creator == ZIP_CREATOR_UNIX || entry->creator == ZIP_CREATOR_MACOS)
		mode = entry->attributes >> 16;
	if (mode == 0)
		mode = is_directory ? 0755 : entry->attributes & DOS_READ_ONLY ? 0444 : 0644;
	if (is_directory || S_ISDIR(mode))
		return S_IFDIR | (mode & 07777);
	return (S_ISLNK(mode) ? S_IFLNK : S_IFREG) | (mode & 07777);
}

static void take_time(const struct central *entry, struct member *ret)
{
	uint32_t t = entry->time;
	struct tm tm = {
		.tm_year = (int)(t >> 25) + 80,
		.tm_mon = (int)(t >> 21 & 15) - 1,
		.tm_mday = (int)(t >> 16 & 31),
		.tm_hour = (int)(t >> 11 & 31),
		.tm_min = (int)(t >> 5 & 63),
		.tm_sec = (int)(t & 31) * 2,
	};

	ret->has_mtime = entry->has_mtime || t >> 16 != 0; /* no date: written without times */
	if (entry->has_mtime)
		ret->mtime.tv_sec = entry->mtime;
	else if (ret->has_mtime)
		ret->mtime.tv_sec = timegm(&tm);
}

static int read_central(struct zip_reader *zip, struct error *err)
{
	unsigned char record[ZIP_CENTRAL_BYTES];
	struct central *entry = &zip->entry;
	unsigned name_bytes, extra_bytes;
	int r = read_at(zip, zip->position, record, sizeof(record), err);

	if (r < 0)
		return r;
	if (get32(record) != ZIP_CENTRAL_SIGNATURE)
		return damaged("not a valid zip file: damaged directory", err);
	name_bytes = get16(record + 28);
	extra_bytes = get16(record + 30);
	*entry = (struct central){
		.creator = record[5],
		.flags = get16(record + 8),
		.method = get16(record + 10),
		.time = get32(record + 12),
		.crc = get32(record + 16),
		.packed_bytes = get32(record + 20),
		.bytes = get32(record + 24),
		.attributes = get32(record + 38),
		.offset = get32(record + 42),
	};
	zip->position += ZIP_CENTRAL_BYTES;
	r = read_at(zip, zip->position, zip->name, name_bytes, err);
	if (r == 0)
		r = read_at(zip, zip->position + name_bytes, zip->extra, extra_bytes, err);
	if (r < 0)
		return r;
	zip->name[name_bytes] = '\0';
	if (strlen(zip->name) != name_bytes)
		return damaged("a name with a NUL byte", err);
	zip->position += name_bytes + extra_bytes + get16(record + 32);
	return take_extra(entry, zip->extra, extra_bytes, err);
}

int zip_reader_next(struct zip_reader *zip, struct member *ret, struct error *err)
{
	size_t size;
	int r;

	if (zip->position >= zip->end) {
		/* The plain end record counts modulo 65536. */
		if ((zip->seen ^ zip->count) & ZIP_MAX16)
			return damaged("not a valid zip file: entries are missing", err);
		return 0;
	}
	r = read_central(zip, err);
	if (r < 0)
		return r;
	zip->seen++;
	zip->is_located = false;
	size = strlen(zip->name);
	*ret = (struct member){ .name = zip->name };
	ret->mode = mode_of(&zip->entry, size > 0 && zip->name[size - 1] == '/');
	ret->size = S_ISDIR(ret->mode) ? 0 : zip->entry.bytes;
	take_time(&zip->entry, ret);
	return 1;
}

/* Finds the content behind the local header, whose own name and extra field may differ in size. */
static int locate(struct zip_reader *zip, struct error *err)
{
	const struct central *entry = &zip->entry;
	unsigned char record[ZIP_LOCAL_BYTES];
	char name[MEMBER_PRINTABLE_MAX];
	uint64_t start;
	int r;

	if (entry->flags & ZIP_FLAG_ENCRYPTED)
		return error_set(err, -EOPNOTSUPP, "zip: %s is encrypted, which is not supported",
				 member_printable(zip->name, name));
	if (entry->method != ZIP_METHOD_STORE && entry->method != ZIP_METHOD_DEFLATE)
		return error_set(err, -EOPNOTSUPP, "zip: %s: unsupported compression method %u",
				 member_printable(zip->name, name), entry->method);
	if (entry->offset > zip->size - zip->base)
		return damaged("not a valid zip file: an entry lies outside", err);
	start = zip->base + entry->offset;
	r = read_at(zip, start, record, sizeof(record), err);
	if (r < 0)
		return r;
	if (get32(record) != ZIP_LOCAL_SIGNATURE)
		return damaged("not a valid zip file: damaged entry", err);
	zip->data_position = start + ZIP_LOCAL_BYTES + get16(record + 26) + get16(record + 28);
	if (zip->data_position > zip->size || entry->packed_bytes > zip->size - zip->data_position)
		return damaged("not a valid zip file: truncated", err);
	zip->packed_left = entry->packed_bytes;
	zip->left = entry->bytes;
	zip->crc = 0;
	zip->is_stream_ended = entry->method == ZIP_METHOD_STORE;
	zip->is_located = true;
	zip->stream.avail_in = 0;
	inflateReset(&zip->stream);
	return 0;
}

static int read_packed(struct zip_reader *zip, void *data, size_t size, struct error *err)
{
	int r;

	if (size > zip->packed_left)
		size = (size_t)zip->packed_left;
	r = read_at(zip, zip->data_position, data, size, err);
	zip->data_position += size;
	zip->packed_left -= size;
	return r < 0 ? r : (int)size;
}

/* One round of inflate; the number of bytes it gave, which may be 0. */
static int inflate_some(struct zip_reader *zip, void *data, unsigned size, struct error *err)
{
	z_stream *stream = &zip->stream;
	int status;

	if (stream->avail_in == 0) {
		int n = read_packed(zip, zip->chunk, sizeof(zip->chunk), err);

		if (n < 0)
			return n;
		stream->next_in = zip->chunk;
		stream->avail_in = (unsigned)n;
	}
	stream->next_out = data;
	stream->avail_out = size;
	status = inflate(stream, Z_NO_FLUSH);
	if (status == Z_STREAM_END)
		zip->is_stream_ended = true;
	else if (status != Z_OK)
		return damaged(stream->msg ? stream->msg : "compressed data ends too early", err);
	return (int)(size - stream->avail_out);
}

static int check_end(struct zip_reader *zip, struct error *err)
{
	if (zip->left != 0)
		return damaged("an entry is shorter than announced", err);
	if (zip->crc != zip->entry.crc)
		return damaged("checksum error", err);
	return 0;
}

ssize_t zip_reader_data(struct zip_reader *zip, void *data, size_t size, struct error *err)
{
	bool is_stored = zip->entry.method == ZIP_METHOD_STORE;
	int n = 0, r = zip->is_located ? 0 : locate(zip, err);

	if (r < 0)
		return r;
	if (size > IN_BYTES)
		size = IN_BYTES;
	if (is_stored)
		n = read_packed(zip, data, size, err);
	while (n == 0 && !zip->is_stream_ended)
		n = inflate_some(zip, data, (unsigned)size, err);
	if (n < 0)
		return n;
	if (n == 0)
		return check_end(zip, err);
	if ((uint64_t)n > zip->left)
		return damaged("an entry is longer than announced", err);
	zip->left -= (uint64_t)n;
	zip->crc = (uint32_t)crc32(zip->crc, data, (unsigned)n);
	return n;
}
