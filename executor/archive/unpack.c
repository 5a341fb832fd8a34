#include "executor/archive/unpack.h"

#include "executor/archive/detect.h"
#include "executor/archive/fill.h"
#include "executor/archive/gzip.h"
#include "executor/archive/small_files.h"
#include "executor/archive/tar_reader.h"
#include "executor/archive/tree.h"
#include "executor/archive/twins.h"
#include "executor/archive/workdir.h"
#include "executor/archive/zip_reader.h"
#include "executor/archive/zstd.h"
#include "executor/base/path.h"

#include <errno.h>
#include <string.h>
#include <sys/types.h>
#include <unistd.h>

struct unpacker {
	const struct unpack_options *options;
	struct workdir workdir;
	struct tree tree;
	struct twins twins;
	struct small_files small;
	uint64_t entries;
	bool is_zip;
};

static int refuse_name(const struct unpacker *self, const char *name, struct error *err)
{
	char printable[MEMBER_PRINTABLE_MAX];
	_cleanup_free_ char *full = NULL;

	if (!self->is_zip)
		return error_set(err, -EXDEV, "illegal file path: %s",
				 member_printable(name, printable));
	full = path_join(self->workdir.path, name);
	return error_set(err, -EXDEV, "%s: Illegal file path",
			 member_printable(full ? full : name, printable));
}

/* Where a name lies; never "" unless can_be_top. */
static int locate(const struct unpacker *self, const char *name, bool can_be_top, char **ret,
		  struct error *err)
{
	char printable[MEMBER_PRINTABLE_MAX];
	int r = member_locate(name, ret);

	if (r == -EXDEV || (r == 0 && **ret == '\0' && !can_be_top))
		return refuse_name(self, name, err);
	member_printable(name, printable);
	if (r == -ENAMETOOLONG)
		return error_set(err, r, "%.100s...: a name over the limit of %d bytes", printable,
				 MEMBER_NAME_MAX);
	if (r == -ELOOP)
		return error_set(err, r, "%.100s...: deeper than the limit of %d directories",
				 printable, MEMBER_DEPTH_MAX);
	return r < 0 ? error_set(err, r, "out of memory") : 0;
}

static int count_entry(struct unpacker *self, struct error *err)
{
	uint64_t max = self->options->max_entries ? self->options->max_entries : UNPACK_ENTRIES_MAX;

	if (++self->entries > max)
		return error_set(err, -EFBIG, "more than the limit of %llu entries",
				 (unsigned long long)max);
	return hooks_check(&self->options->hooks, err);
}

static int fill_from_zip(struct unpacker *self, struct zip_reader *zip, struct filling *file,
			 const struct member *member, struct error *err)
{
	_cleanup_free_ char *chunk = malloc(STREAM_CHUNK_BYTES);
	struct tar_part part = { .data = chunk };
	ssize_t n;

	if (!chunk)
		return error_set(err, -ENOMEM, "out of memory");
	while ((n = zip_reader_data(zip, chunk, STREAM_CHUNK_BYTES, err)) > 0) {
		int r;

		part.size = (size_t)n;
		r = fill_part(file, &part, member, err);
		if (r == 0)
			r = hooks_check(&self->options->hooks, err);
		if (r < 0)
			return r;
		part.offset += part.size;
	}
	return (int)n;
}

static int unpack_zip_file(struct unpacker *self, const char *location, const struct member *member,
			   struct zip_reader *zip, struct error *err)
{
	struct filling file;
	int r = tree_file_open(&self->tree, location, member, &file, err);

	if (r < 0)
		return r;
	r = fill_from_zip(self, zip, &file, member, err);
	if (r < 0) {
		close(file.fd);
		return r;
	}
	return tree_file_close(&self->tree, &file, member, err);
}

static int unpack_hard_link(struct unpacker *self, const char *location,
			    const struct member *member, struct error *err)
{
	_cleanup_free_ char *link_location = NULL;
	int r = locate(self, member->link, false, &link_location, err);

	return r < 0 ? r : tree_hard_link(&self->tree, location, member, link_location, err);
}

static int unpack_tar_member(struct unpacker *self, struct tar_reader *tar,
			     const struct member *member, struct error *err)
{
	_cleanup_free_ char *location = NULL;
	char printable[MEMBER_PRINTABLE_MAX];
	bool is_directory = !member->is_hard_link && S_ISDIR(member->mode);
	int r = locate(self, member->name, is_directory, &location, err);

	if (r < 0)
		return r;
	if (!*location)
		return 0; /* "./": what `tar -C directory .` begins with */
	if (small_files_takes(member))
		return small_files_add(&self->small, tar, location, member, err);
	r = is_directory ? small_files_give_way(&self->small, location, err) :
			   small_files_flush(&self->small, err);
	if (r < 0)
		return r;
	if (member->is_hard_link)
		return unpack_hard_link(self, location, member, err);
	switch (member->mode & S_IFMT) {
	case S_IFREG:
		return twins_unpack(&self->twins, tar, location, member, err);
	case S_IFDIR:
		return tree_directory(&self->tree, location, member, err);
	case S_IFLNK:
		return tree_symlink(&self->tree, location, member, member->link ? member->link : "",
				    err);
	default:
		hooks_warn(&self->options->hooks, "%s: a FIFO or device: left out",
			   member_printable(member->name, printable));
		return 0;
	}
}

/* A link's text is its content. Too long or with a NUL, it is no link: 0. */
static int read_zip_link(struct zip_reader *zip, char *text, size_t size, struct error *err)
{
	size_t used = 0;
	ssize_t n = 0;

	while (used < size && (n = zip_reader_data(zip, text + used, size - used, err)) > 0)
		used += (size_t)n;
	if (n < 0)
		return (int)n;
	if (used >= size)
		return error_set(err, -ENAMETOOLONG,
				 "zip: a symbolic link over the limit of %zu bytes", size - 1);
	text[used] = '\0';
	return strlen(text) == used;
}

static int unpack_zip_link(struct unpacker *self, struct zip_reader *zip, const char *location,
			   const struct member *member, struct error *err)
{
	char text[PATH_MAX_BYTES], printable[MEMBER_PRINTABLE_MAX];
	struct member plain = *member;
	struct filling file;
	struct tar_part part = { .data = text };
	int r = read_zip_link(zip, text, sizeof(text), err);

	if (r < 0)
		return r;
	if (r > 0 && member_link_is_inside(location, text))
		return tree_symlink(&self->tree, location, member, text, err);
	hooks_warn(&self->options->hooks,
		   "%s: a symbolic link that points outside: made a file with the link's text",
		   member_printable(member->name, printable));
	plain.mode = S_IFREG | 0644;
	part.size = (size_t)member->size;
	r = tree_file_open(&self->tree, location, &plain, &file, err);
	if (r < 0)
		return r;
	r = fill_part(&file, &part, &plain, err);
	if (r < 0) {
		close(file.fd);
		return r;
	}
	return tree_file_close(&self->tree, &file, &plain, err);
}

static int unpack_zip_member(struct unpacker *self, struct zip_reader *zip,
			     const struct member *member, struct error *err)
{
	_cleanup_free_ char *location = NULL;
	int r = locate(self, member->name, S_ISDIR(member->mode), &location, err);

	if (r < 0 || !*location)
		return r;
	if (S_ISDIR(member->mode))
		return tree_directory(&self->tree, location, member, err);
	if (S_ISLNK(member->mode))
		return unpack_zip_link(self, zip, location, member, err);
	return unpack_zip_file(self, location, member, zip, err);
}

static void unpacker_done(struct unpacker *self)
{
	small_files_done(&self->small);
	twins_done(&self->twins);
	tree_done(&self->tree);
	workdir_done(&self->workdir);
}

static int unpacker_init(struct unpacker *self, struct spot target,
			 const struct unpack_options *options, bool is_zip, struct error *err)
{
	int r;

	*self = (struct unpacker){ .options = options, .is_zip = is_zip };
	tree_init(&self->tree, -1, options->max_bytes, &options->hooks);
	twins_init(&self->twins, &self->tree, &options->hooks);
	small_files_init(&self->small, &self->tree, options->pool, &options->hooks);
	r = workdir_open(&self->workdir, target, err);
	self->tree.beneath.root_fd = self->workdir.fd;
	return r;
}

static int unpacker_finish(struct unpacker *self, struct error *err)
{
	int r = small_files_flush(&self->small, err);

	if (r == 0)
		r = tree_finish(&self->tree, err);
	return r < 0 ? r : workdir_finish(&self->workdir, err);
}

/* Reads the padding, so that the decompressor gets to see and check the end of its data. */
static int drain(struct reader *reader, struct error *err)
{
	char chunk[16 * 1024];
	size_t left = UNPACK_PADDING_BYTES_MAX;

	while (left > sizeof(chunk)) {
		ssize_t n = reader->read(reader, chunk, sizeof(chunk), err);

		if (n <= 0)
			return (int)n;
		left -= (size_t)n;
	}
	return 0;
}

static int unpack_entries(struct reader *in, bool is_compressed, struct spot target,
			  const struct unpack_options *options, struct error *err)
{
	_cleanup_(unpacker_done) struct unpacker unpacker;
	_cleanup_tar_reader_ struct tar_reader *tar = NULL;
	struct member member;
	int r = unpacker_init(&unpacker, target, options, false, err);

	if (r == 0)
		r = tar_reader_new(in, is_compressed, &tar, err);
	if (r < 0)
		return r;
	while ((r = tar_reader_next(tar, &member, err)) > 0) {
		r = count_entry(&unpacker, err);
		if (r == 0)
			r = unpack_tar_member(&unpacker, tar, &member, err);
		if (r < 0)
			return r;
	}
	if (r == 0 && is_compressed)
		r = drain(in, err);
	return r < 0 ? r : unpacker_finish(&unpacker, err);
}

/* A plain tar begins with a header, or with the end mark when it has no entries. */
static bool is_tar(const char *data, size_t size)
{
	static const char zeros[DETECT_TAR_BLOCK_BYTES];

	return size >= sizeof(zeros) && (memcmp(data, zeros, sizeof(zeros)) == 0 ||
					 detect_is_tar_header((const unsigned char *)data));
}

int unpack_tar(struct reader *in, struct spot target, const struct unpack_options *options,
	       struct error *err)
{
	_cleanup_(peek_reader_done) struct peek_reader peek;
	_cleanup_gzip_reader_ struct gzip_reader gzip = { .state = NULL };
	_cleanup_zstd_reader_ struct zstd_reader zstd = { .state = NULL };
	const char *data;
	ssize_t size;
	int r;

	peek_reader_init(&peek, in);
	size = peek_reader_peek(&peek, DETECT_TAR_BLOCK_BYTES, &data, err);
	if (size < 0)
		return (int)size;
	if (detect_is_gzip(data, (size_t)size)) {
		r = gzip_reader_init(&gzip, &peek.reader, err);
		return r < 0 ? r : unpack_entries(&gzip.reader, true, target, options, err);
	}
	if (detect_is_zstd(data, (size_t)size)) {
		r = zstd_reader_init(&zstd, &peek.reader, err);
		return r < 0 ? r : unpack_entries(&zstd.reader, true, target, options, err);
	}
	if (is_tar(data, (size_t)size))
		return unpack_entries(&peek.reader, false, target, options, err);
	return error_set(err, -EBADMSG,
			 size == 0 ?
				 "unexpected end of file: the archive is empty" :
				 "gzip: invalid header: the data is neither gzip, zstd nor tar");
}

int unpack_zip(int fd, struct spot target, const struct unpack_options *options, struct error *err)
{
	_cleanup_(unpacker_done) struct unpacker unpacker;
	_cleanup_zip_reader_ struct zip_reader *zip = NULL;
	struct member member;
	int r = unpacker_init(&unpacker, target, options, true, err);

	if (r == 0)
		r = zip_reader_new(fd, &zip, err);
	if (r < 0)
		return r;
	while ((r = zip_reader_next(zip, &member, err)) > 0) {
		r = count_entry(&unpacker, err);
		if (r == 0)
			r = unpack_zip_member(&unpacker, zip, &member, err);
		if (r < 0)
			return r;
	}
	return r < 0 ? r : unpacker_finish(&unpacker, err);
}
