#include "executor/archive/tar_reader.h"

#include <archive.h>
#include <archive_entry.h>
#include <errno.h>
#include <string.h>

#define CHUNK_BYTES (64 * 1024)
#define BLOCK_BYTES 512

struct tar_reader {
	struct archive *archive;
	struct reader *source;
	bool has_own_end;
	bool is_source_ended;
	bool is_content_pending;
	struct buffer attributes; /* of the current entry */
	struct error source_error; /* libarchive only passes on that there was one */
	size_t budget_bytes; /* what may still be read in this call */
	size_t zero_bytes; /* at the end of what was read so far */
	char chunk[CHUNK_BYTES];
};

static void count_zeros(struct tar_reader *self, size_t size)
{
	size_t zeros = 0;

	while (zeros < size && self->chunk[size - 1 - zeros] == '\0')
		zeros++;
	self->zero_bytes = zeros == size ? self->zero_bytes + zeros : zeros;
}

static la_ssize_t feed(struct archive *archive, void *context, const void **ret_data)
{
	struct tar_reader *self = context;
	ssize_t n;

	(void)archive;
	if (self->budget_bytes == 0) {
		error_set(&self->source_error, -EMSGSIZE,
			  "tar: the headers of one entry are over the limit of %u MiB",
			  TAR_READER_HEADER_BYTES_MAX >> 20);
		return -1;
	}
	n = self->source->read(self->source, self->chunk, sizeof(self->chunk), &self->source_error);
	if (n < 0)
		return -1;
	if (n == 0)
		self->is_source_ended = true;
	self->budget_bytes -= (size_t)n < self->budget_bytes ? (size_t)n : self->budget_bytes;
	count_zeros(self, (size_t)n);
	*ret_data = self->chunk;
	return n;
}

static int fail(struct tar_reader *self, struct error *err)
{
	const char *text = archive_error_string(self->archive);

	if (self->source_error.code) {
		if (err)
			*err = self->source_error;
		return self->source_error.code;
	}
	if (archive_errno(self->archive) == ENOMEM)
		return error_set(err, -ENOMEM, "out of memory");
	if (self->is_source_ended)
		return error_set(err, -EBADMSG,
				 "tar: unexpected end of file: the archive is truncated");
	return error_set(err, -EBADMSG, "tar: %s", text ? text : "invalid data");
}

int tar_reader_new(struct reader *source, bool has_own_end, struct tar_reader **ret,
		   struct error *err)
{
	_cleanup_tar_reader_ struct tar_reader *self = calloc(1, sizeof(*self));

	if (!self)
		return error_set(err, -ENOMEM, "out of memory");
	self->source = source;
	self->attributes = ATTRIBUTES_INIT;
	self->has_own_end = has_own_end;
	self->budget_bytes = TAR_READER_HEADER_BYTES_MAX;
	self->archive = archive_read_new();
	if (!self->archive || archive_read_support_format_tar(self->archive) != ARCHIVE_OK ||
	    archive_read_support_format_empty(self->archive) != ARCHIVE_OK)
		return error_set(err, -ENOMEM, "out of memory");
	if (archive_read_open(self->archive, self, NULL, feed, NULL) != ARCHIVE_OK)
		return fail(self, err);
	*ret = TAKE_PTR(self);
	return 0;
}

void tar_reader_free(struct tar_reader **reader)
{
	if (*reader && (*reader)->archive)
		archive_read_free((*reader)->archive);
	if (*reader)
		buffer_done(&(*reader)->attributes);
	free(*reader);
	*reader = NULL;
}

static bool has_high_byte(const char *s)
{
	for (; s && *s; s++)
		if ((unsigned char)*s >= 0x80)
			return true;
	return false;
}

/*
 * In the C locale libarchive cannot convert pax's UTF-8 and warns, but hands the bytes over as
 * they are, which is just what we want. Any other warning means that it ignored something it did
 * not understand.
 */
static bool is_about_characters(struct archive_entry *entry)
{
	return has_high_byte(archive_entry_pathname(entry)) ||
	       has_high_byte(archive_entry_symlink(entry)) ||
	       has_high_byte(archive_entry_hardlink(entry)) ||
	       has_high_byte(archive_entry_uname(entry)) ||
	       has_high_byte(archive_entry_gname(entry));
}

/* A damaged fraction must not become one of utimensat's special values. */
static struct timespec make_time(time_t seconds, long nanoseconds)
{
	bool is_valid = nanoseconds >= 0 && nanoseconds < 1000000000;

	return (struct timespec){ seconds, is_valid ? nanoseconds : 0 };
}

static void describe(struct archive_entry *entry, struct member *ret)
{
	const char *hard_link = archive_entry_hardlink(entry);

	*ret = (struct member){
		.name = archive_entry_pathname(entry),
		.link = hard_link ? hard_link : archive_entry_symlink(entry),
		.is_hard_link = hard_link != NULL,
		.mode = archive_entry_mode(entry),
		.size = archive_entry_size_is_set(entry) ? (uint64_t)archive_entry_size(entry) : 0,
		.has_mtime = archive_entry_mtime_is_set(entry),
		.mtime = make_time(archive_entry_mtime(entry), archive_entry_mtime_nsec(entry)),
		.has_atime = archive_entry_atime_is_set(entry),
		.atime = make_time(archive_entry_atime(entry), archive_entry_atime_nsec(entry)),
		.is_shared = !hard_link && archive_entry_filetype(entry) == AE_IFREG &&
			     archive_entry_nlink(entry) > 1 && archive_entry_dev_is_set(entry) &&
			     archive_entry_ino_is_set(entry),
		.shared_dev = archive_entry_dev(entry),
		.shared_ino = (uint64_t)archive_entry_ino64(entry),
	};
}

/* What is too much is not kept. */
static void describe_attributes(struct tar_reader *self, struct archive_entry *entry,
				struct member *ret)
{
	const char *name;
	const void *value;
	size_t size;

	buffer_reset(&self->attributes);
	archive_entry_xattr_reset(entry);
	while (archive_entry_xattr_next(entry, &name, &value, &size) == ARCHIVE_OK) {
		struct attribute attribute = { name, value, (uint32_t)size };

		if (name && size <= ATTRIBUTES_BYTES_MAX)
			attributes_add(&self->attributes, &attribute);
	}
	if (self->attributes.size > 0)
		ret->attributes = &self->attributes;
}

int tar_reader_next(struct tar_reader *self, struct member *ret, struct error *err)
{
	struct archive_entry *entry;
	int status;

	if (self->is_content_pending) {
		self->budget_bytes = SIZE_MAX;
		self->is_content_pending = false;
		if (archive_read_data_skip(self->archive) != ARCHIVE_OK)
			return fail(self, err);
	}
	self->budget_bytes = TAR_READER_HEADER_BYTES_MAX;
	status = archive_read_next_header(self->archive, &entry);
	if (status == ARCHIVE_EOF) {
		if (self->is_source_ended && !self->has_own_end && self->zero_bytes < BLOCK_BYTES)
			return fail(self, err);
		return 0;
	}
	if (status != ARCHIVE_OK && !(status == ARCHIVE_WARN && is_about_characters(entry)))
		return fail(self, err);
	describe(entry, ret);
	describe_attributes(self, entry, ret);
	self->is_content_pending = true;
	return ret->name ? 1 : error_set(err, -EBADMSG, "tar: an entry without a name");
}

int tar_reader_data(struct tar_reader *self, struct tar_part *ret, struct error *err)
{
	la_int64_t offset;
	int status;

	self->budget_bytes = TAR_READER_STEP_BYTES_MAX;
	status = archive_read_data_block(self->archive, &ret->data, &ret->size, &offset);
	if (status == ARCHIVE_EOF) {
		self->is_content_pending = false;
		return 0;
	}
	if (status != ARCHIVE_OK)
		return fail(self, err);
	ret->offset = (uint64_t)offset;
	return 1;
}
