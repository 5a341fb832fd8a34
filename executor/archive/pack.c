#include "executor/archive/pack.h"

#include "executor/archive/gzip.h"
#include "executor/archive/hard_links.h"
#include "executor/archive/listing.h"
#include "executor/archive/member.h"
#include "executor/archive/tar_writer.h"
#include "executor/archive/zip_writer.h"
#include "executor/base/entry.h"
#include "executor/base/path.h"

#include <errno.h>
#include <fcntl.h>
#include <stdarg.h>
#include <string.h>

#define OPEN_FLAGS (O_RDONLY | O_NOFOLLOW | O_NONBLOCK | O_NOCTTY | O_CLOEXEC)

struct packer {
	const struct pack_options *options;
	struct writer *tar; /* where tar goes; NULL when writing zip */
	struct zip_writer zip;
	struct pack_result result;
	struct buffer name; /* of the current entry */
	struct buffer attributes; /* the same */
	struct hard_links links; /* numbered, in tar */
	bool has_warned_of_links;
	char *chunk; /* STREAM_CHUNK_BYTES */
};

__attribute__((format(printf, 2, 3))) static void warn(struct packer *self, const char *format, ...)
{
	char name[MEMBER_PRINTABLE_MAX];
	char text[256];
	va_list ap;

	va_start(ap, format);
	vsnprintf(text, sizeof(text), format, ap);
	va_end(ap);
	self->result.warnings++;
	hooks_warn(&self->options->hooks, "%s: %s",
		   member_printable(buffer_string(&self->name), name), text);
}

static int fail(struct packer *self, int code, const char *what, struct error *err)
{
	char name[MEMBER_PRINTABLE_MAX];

	member_printable(buffer_string(&self->name), name);
	/* An entry that is missing must not look like a missing artifact. */
	if (code == -ENOENT)
		return error_set_class(err, -EIO, ERROR_PERMANENT, "%s %s: it vanished", what,
				       name);
	return error_errno(err, code, "%s %s", what, name);
}

/* zip has no place for them. */
static int read_attributes(struct packer *self, int fd, struct error *err)
{
	int r = self->tar ? attributes_read(&self->attributes, fd) : 0;

	if (r == -EMSGSIZE) {
		warn(self, "extended attributes over the limit of %u KiB: not all are kept",
		     ATTRIBUTES_BYTES_MAX >> 10);
		return 0;
	}
	return r < 0 ? fail(self, r, "read the extended attributes of", err) : 0;
}

/* `link` is the text of a symbolic link, or NULL; `number` that of a file with several names, or 0. */
static int write_header(struct packer *self, const struct stat *st, const char *link,
			uint32_t number, struct error *err)
{
	struct member member = {
		.name = buffer_string(&self->name),
		.link = link,
		.mode = st->st_mode,
		.uid = st->st_uid,
		.gid = st->st_gid,
		.size = S_ISREG(st->st_mode) ? (uint64_t)st->st_size : 0,
		/* Go rounds to the nearest second, too. */
		.mtime.tv_sec = st->st_mtim.tv_sec + (st->st_mtim.tv_nsec >= 500000000),
		.attributes = S_ISDIR(st->st_mode) || S_ISREG(st->st_mode) ? &self->attributes :
									     NULL,
		.device = S_ISCHR(st->st_mode) || S_ISBLK(st->st_mode) ? st->st_rdev : 0,
		.is_shared = number > 0,
		.shared_ino = number,
	};

	self->result.entries++;
	return self->tar ? tar_write_header(self->tar, &member, err) :
			   zip_writer_begin(&self->zip, &member, err);
}

static int write_data(struct packer *self, size_t size, struct error *err)
{
	self->result.bytes += size;
	return self->tar ? self->tar->write(self->tar, self->chunk, size, err) :
			   zip_writer_data(&self->zip, self->chunk, size, err);
}

/* Not read(): the position may be shared with whoever handed the file over. */
static ssize_t read_some(int fd, void *data, size_t size, uint64_t offset)
{
	ssize_t n;

	do
		n = pread(fd, data, size, (off_t)offset);
	while (n < 0 && errno == EINTR);
	return n < 0 ? -errno : n;
}

/* Exactly `size` bytes of content, whatever happens to the file meanwhile. */
static int write_content(struct packer *self, int fd, uint64_t size, struct error *err)
{
	uint64_t left = size;
	bool is_short = false;
	ssize_t n = 0;

	while (left > 0) {
		size_t step = left < STREAM_CHUNK_BYTES ? (size_t)left : STREAM_CHUNK_BYTES;
		int r = hooks_check(&self->options->hooks, err);

		if (r < 0)
			return r;
		if (!is_short) {
			n = read_some(fd, self->chunk, step, size - left);
			if (n < 0)
				return fail(self, (int)n, "read", err);
			if (n == 0) {
				is_short = true;
				memset(self->chunk, 0, STREAM_CHUNK_BYTES);
				warn(self, "shrank while it was read: %llu bytes of zeros added",
				     (unsigned long long)left);
			}
		}
		step = is_short ? step : (size_t)n;
		r = write_data(self, step, err);
		if (r < 0)
			return r;
		left -= step;
	}
	if (!is_short && read_some(fd, self->chunk, 1, size) == 1)
		warn(self, "grew while it was read: cut at %llu bytes", (unsigned long long)size);
	return 0;
}

/* The number of the file in this archive, the same under each of its names, so that readers can make it
 * one again; 0 for a file with one name, and beyond the limits of hard_links.h. */
static int number_of(struct packer *self, const struct stat *st, uint32_t *ret, struct error *err)
{
	struct hard_links_file file = {
		.dev = st->st_dev,
		.ino = st->st_ino,
		.size = (uint64_t)st->st_size,
		.mtime = st->st_mtim,
	};
	const struct hard_links_file *known;
	int r;

	*ret = 0;
	if (st->st_nlink < 2 || !self->tar)
		return 0;
	known = hard_links_find(&self->links, &file);
	if (known) {
		*ret = known->number;
		return 0;
	}
	r = hard_links_remember(&self->links, &file, "");
	if (r == -ENOBUFS && !self->has_warned_of_links) {
		self->has_warned_of_links = true;
		warn(self, "too many files with several names: not all stay one file");
	}
	*ret = file.number;
	return r < 0 && r != -ENOBUFS ? error_set(err, r, "out of memory") : 0;
}

static int pack_file(struct packer *self, int fd, const struct stat *st, struct error *err)
{
	uint32_t number;
	int r = number_of(self, st, &number, err);

	if (r == 0)
		r = read_attributes(self, fd, err);
	if (r == 0)
		r = write_header(self, st, NULL, number, err);
	if (r == 0)
		r = write_content(self, fd, (uint64_t)st->st_size, err);
	if (r < 0)
		return r;
	return self->tar ? tar_write_padding(self->tar, (uint64_t)st->st_size, err) :
			   zip_writer_end_entry(&self->zip, err);
}

static int pack_link(struct packer *self, int parent_fd, const char *base, const struct stat *st,
		     struct error *err)
{
	char text[PATH_MAX_BYTES];
	ssize_t n = entry_read_link(parent_fd, base, self->options->as, text, sizeof(text));

	if (n == -EINVAL || n == -ENOENT) {
		warn(self, "changed while it was read: left out");
		return 0;
	}
	if (n < 0)
		return fail(self, (int)n, "readlink", err);
	return write_header(self, st, text, 0, err);
}

static int pack_directory(struct packer *self, int fd, const struct stat *st, unsigned depth,
			  struct error *err);

/* A regular file or directory as fstatat saw it. It may have become something else since. */
static int pack_opened(struct packer *self, int fd, mode_t type, unsigned depth, struct error *err)
{
	struct stat st;

	if (fd == -ENOENT || fd == -ELOOP || fd == -ENOTDIR || fd == -ENXIO) {
		warn(self, "changed while it was read: left out");
		return 0;
	}
	if (fd < 0)
		return fail(self, fd, "open", err);
	if (fstat(fd, &st) < 0)
		return fail(self, -errno, "stat", err);
	if ((st.st_mode & S_IFMT) != (type & S_IFMT)) {
		warn(self, "changed while it was read: left out");
		return 0;
	}
	return S_ISDIR(type) ? pack_directory(self, fd, &st, depth, err) :
			       pack_file(self, fd, &st, err);
}

static int pack_entry(struct packer *self, int parent_fd, const char *base, unsigned depth,
		      struct error *err)
{
	_cleanup_close_ int fd = -1;
	struct stat st;
	int r = hooks_check(&self->options->hooks, err);

	if (r < 0)
		return r;
	r = entry_stat_and_open(parent_fd, base, self->options->as, &st, &fd);
	if (r == -ENOENT) {
		warn(self, "vanished before it was read: left out");
		return 0;
	}
	if (r < 0)
		return fail(self, r, "stat", err);
	switch (st.st_mode & S_IFMT) {
	case S_IFREG:
	case S_IFDIR:
		return pack_opened(self, fd, st.st_mode, depth, err);
	case S_IFLNK:
		return pack_link(self, parent_fd, base, &st, err);
	case S_IFSOCK:
		warn(self, "a socket: left out");
		return 0;
	default:
		if (self->tar && !self->options->as)
			return write_header(self, &st, NULL, 0, err);
		warn(self, "neither file, directory nor link: left out");
		return 0;
	}
}

/* Depth is that of the directory's entries; bounded by MEMBER_DEPTH_MAX, and so is the recursion. */
static int pack_directory(struct packer *self, int fd, const struct stat *st, unsigned depth,
			  struct error *err)
{
	_cleanup_listing_ struct listing listing = LISTING_INIT(PACK_LISTING_BYTES_MAX);
	size_t own_size = self->name.size;
	int r;

	if (depth > MEMBER_DEPTH_MAX)
		return error_set(err, -ELOOP, "%.200s...: deeper than the limit of %d directories",
				 buffer_string(&self->name), MEMBER_DEPTH_MAX);
	r = read_attributes(self, fd, err);
	if (r == 0)
		r = write_header(self, st, NULL, 0, err);
	if (r < 0)
		return r;
	r = listing_read(&listing, fd);
	if (r < 0)
		return fail(self, r, "list", err);
	for (size_t i = 0; i < listing.count; i++) {
		const char *base = listing_name(&listing, i);

		if (buffer_append_format(&self->name, "/%s", base) < 0)
			return error_set(err, -ENAMETOOLONG,
					 "%.200s.../%s: a name over the limit of %d bytes",
					 buffer_string(&self->name), base, MEMBER_NAME_MAX);
		r = pack_entry(self, fd, base, depth + 1, err);
		if (r < 0)
			return r;
		self->name.size = own_size;
		self->name.data[own_size] = '\0';
	}
	return 0;
}

static int pack_top(struct packer *self, int fd, struct error *err)
{
	struct stat st;

	if (fstat(fd, &st) < 0)
		return fail(self, -errno, "stat", err);
	if (S_ISDIR(st.st_mode))
		return pack_directory(self, fd, &st, 0, err);
	if (S_ISREG(st.st_mode))
		return pack_file(self, fd, &st, err);
	return error_set(err, -EINVAL, "%s is not a regular file or directory",
			 buffer_string(&self->name));
}

static int pack_zip(struct packer *self, int fd, struct writer *out, struct error *err)
{
	int r = zip_writer_init(&self->zip, out, self->options->level, err);

	if (r == 0)
		r = pack_top(self, fd, err);
	if (r == 0)
		r = zip_writer_finish(&self->zip, err);
	zip_writer_done(&self->zip);
	return r;
}

static int pack_tar(struct packer *self, int fd, struct writer *out, struct error *err)
{
	int r;

	self->tar = out;
	r = pack_top(self, fd, err);
	return r < 0 ? r : tar_write_end(out, err);
}

static int pack_tar_gz(struct packer *self, int fd, struct writer *out, struct error *err)
{
	_cleanup_gzip_writer_ struct gzip_writer gzip;
	int r = gzip_writer_init(&gzip, out, self->options->level, self->options->pool, err);

	if (r == 0)
		r = pack_tar(self, fd, &gzip.writer, err);
	self->tar = NULL; /* it points to a local of ours */
	return r < 0 ? r : gzip.writer.finish(&gzip.writer, err);
}

static void packer_done(struct packer *self)
{
	buffer_done(&self->name);
	buffer_done(&self->attributes);
	hard_links_done(&self->links);
}

int pack_descriptor(int fd, const struct pack_options *options, struct writer *out,
		    struct pack_result *ret, struct error *err)
{
	_cleanup_free_ char *chunk = malloc(STREAM_CHUNK_BYTES);
	_cleanup_(packer_done) struct packer packer = {
		.options = options,
		.name = BUFFER_INIT(MEMBER_NAME_MAX),
		.attributes = ATTRIBUTES_INIT,
		.links = HARD_LINKS_INIT,
		.chunk = chunk,
	};
	int r;

	if (!chunk || buffer_append_string(&packer.name, options->name) < 0)
		return error_set(err, -ENOMEM, "out of memory");
	switch (options->format) {
	case PACK_ZIP:
		r = pack_zip(&packer, fd, out, err);
		break;
	case PACK_TAR:
		r = pack_tar(&packer, fd, out, err);
		break;
	default:
		r = pack_tar_gz(&packer, fd, out, err);
	}
	if (r == 0 && ret)
		*ret = packer.result;
	return r;
}

int pack_tree(int parent_fd, const char *path, const struct pack_options *options,
	      struct writer *out, struct pack_result *ret, struct error *err)
{
	struct pack_options named = *options;
	_cleanup_free_ char *clean = path_clean(path);
	_cleanup_close_ int fd = -1;
	struct stat st;

	if (!clean)
		return error_set(err, -ENOMEM, "out of memory");
	if (!named.name)
		named.name = path_basename(clean);
	if (strcmp(named.name, ".") == 0 || strcmp(named.name, "..") == 0 ||
	    strchr(named.name, '/'))
		return error_set(err, -EINVAL, "%s: no name to give it in the archive", path);
	/* Look before opening: opening a device can have effects. O_NONBLOCK covers the FIFO that
	 * replaces what was seen. */
	if (fstatat(parent_fd, clean, &st, 0) < 0) {
		if (errno == ENOENT)
			return error_set(err, -ENOENT, "%s no such file or directory", path);
		return error_errno(err, -errno, "stat %s", path);
	}
	if (!S_ISREG(st.st_mode) && !S_ISDIR(st.st_mode))
		return error_set(err, -EINVAL, "%s is not a regular file or directory", path);
	fd = openat(parent_fd, clean, OPEN_FLAGS & ~O_NOFOLLOW);
	if (fd < 0)
		return error_errno(err, -errno, "open %s", path);
	return pack_descriptor(fd, &named, out, ret, err);
}
