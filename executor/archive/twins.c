#include "executor/archive/twins.h"

#include "executor/archive/fill.h"
#include "executor/base/cleanup.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#define CHUNK_BYTES (64 * 1024)

void twins_init(struct twins *twins, struct tree *tree, const struct hooks *hooks)
{
	*twins = (struct twins){ .tree = tree, .hooks = hooks, .links = HARD_LINKS_INIT };
}

void twins_done(struct twins *twins)
{
	hard_links_done(&twins->links);
}

static struct hard_links_file key_of(const struct member *member)
{
	return (struct hard_links_file){
		.dev = member->shared_dev,
		.ino = member->shared_ino,
		.size = member->size,
		.mtime = member->mtime,
	};
}

static int remember(struct twins *twins, const char *location, const struct member *member,
		    const struct stat *made, struct error *err)
{
	struct hard_links_file file = key_of(member);
	int r;

	file.made_dev = made->st_dev;
	file.made_ino = made->st_ino;
	r = hard_links_remember(&twins->links, &file, location);
	if (r == -ENOBUFS && !twins->is_full) {
		twins->is_full = true;
		hooks_warn(twins->hooks,
			   "too many files with several names: not all become one file");
	}
	return r < 0 && r != -ENOBUFS ? error_set(err, r, "out of memory") : 0;
}

/* With `r` from filling it. */
static int finish(struct twins *twins, const struct filling *file, const struct member *member,
		  int r, struct error *err)
{
	if (r < 0) {
		close(file->fd);
		return r;
	}
	return tree_file_close(twins->tree, file, member, err);
}

/* ret NULL: nobody wants to know what was made. */
static int unpack_alone(struct twins *twins, struct tar_reader *tar, const char *location,
			const struct member *member, struct stat *ret, struct error *err)
{
	struct filling file;
	int r = tree_file_open(twins->tree, location, member, &file, err);

	if (r < 0)
		return r;
	r = fill_from_tar(tar, &file, member, twins->hooks, err);
	if (r == 0 && ret && fstat(file.fd, ret) < 0)
		r = error_errno(err, -errno, "stat %.900s", location);
	return finish(twins, &file, member, r, err);
}

/* --- comparing -------------------------------------------------------------------------- */

/* A member beside a file that may be the same. */
struct comparison {
	int fd; /* the file */
	uint64_t same; /* bytes, from the start */
	struct tar_part part; /* behind which they differ, if has_part */
	bool has_part;
	char *chunk; /* CHUNK_BYTES */
};

/* Up to CHUNK_BYTES of the file: as many as were asked for, or fewer at its end. */
static ssize_t read_chunk(struct comparison *self, size_t size, uint64_t offset, struct error *err)
{
	size_t used = 0;

	while (used < size) {
		ssize_t n =
			pread(self->fd, self->chunk + used, size - used, (off_t)(offset + used));

		if (n < 0 && errno == EINTR)
			continue;
		if (n < 0)
			return error_errno(err, -errno, "read what was unpacked");
		if (n == 0)
			break;
		used += (size_t)n;
	}
	return (ssize_t)used;
}

/* Is this what follows in the file? 1 or 0. data NULL: zeros. */
static int compare_next(struct comparison *self, const char *data, uint64_t size, struct error *err)
{
	while (size > 0) {
		size_t step = size < CHUNK_BYTES ? (size_t)size : CHUNK_BYTES;
		ssize_t n = read_chunk(self, step, self->same, err);

		if (n < 0)
			return (int)n;
		if ((size_t)n < step || (data ? memcmp(self->chunk, data, step) != 0 :
						!fill_is_zeros(self->chunk, step)))
			return 0;
		self->same += step;
		size -= step;
		data = data ? data + step : NULL;
	}
	return 1;
}

static int compare_part(struct comparison *self, const struct member *member, struct error *err)
{
	const struct tar_part *part = &self->part;
	int r = fill_check_part(part, member, err);

	if (r < 0)
		return r;
	/* A sparse map that goes backwards. */
	if (part->offset < self->same)
		return 0;
	r = compare_next(self, NULL, part->offset - self->same, err);
	return r > 0 ? compare_next(self, part->data, part->size, err) : r;
}

/* 1 if all of the member is what the file has; 0 if not, with what was found in `self`. */
static int compare(struct comparison *self, struct tar_reader *tar, const struct member *member,
		   const struct hooks *hooks, struct error *err)
{
	int r;

	while ((r = tar_reader_data(tar, &self->part, err)) > 0) {
		r = compare_part(self, member, err);
		self->has_part = r == 0;
		if (r <= 0)
			return r;
		r = hooks_check(hooks, err);
		if (r < 0)
			return r;
	}
	return r < 0 ? r : compare_next(self, NULL, member->size - self->same, err);
}

/* What the file and the member have in common, as the beginning of another file. */
static int copy_same(struct comparison *self, struct filling *file, const struct member *member,
		     const struct hooks *hooks, struct error *err)
{
	uint64_t end = self->same;

	for (uint64_t at = 0; at < end;) {
		size_t step = end - at < CHUNK_BYTES ? (size_t)(end - at) : CHUNK_BYTES;
		ssize_t n = read_chunk(self, step, at, err);
		struct tar_part part = { .data = self->chunk, .size = step, .offset = at };
		int r;

		if (n < 0)
			return (int)n;
		if ((size_t)n < step)
			return error_set(err, -EIO, "%.900s: changed while it was unpacked",
					 member->name);
		r = fill_part(file, &part, member, err);
		if (r == 0)
			r = hooks_check(hooks, err);
		if (r < 0)
			return r;
		at += step;
	}
	return 0;
}

/* They are two files after all; the name that was made gives way. */
static int part_ways(struct twins *twins, struct comparison *comparison, struct tar_reader *tar,
		     const char *location, const struct member *member, struct error *err)
{
	struct filling file;
	int r = tree_file_open(twins->tree, location, member, &file, err);

	if (r < 0)
		return r;
	r = copy_same(comparison, &file, member, twins->hooks, err);
	if (r == 0 && comparison->has_part)
		r = fill_part(&file, &comparison->part, member, err);
	if (r == 0 && comparison->has_part)
		r = fill_from_tar(tar, &file, member, twins->hooks, err);
	return finish(twins, &file, member, r, err);
}

static int compare_or_part(struct twins *twins, int first_fd, struct tar_reader *tar,
			   const char *location, const struct member *member, struct error *err)
{
	_cleanup_free_ char *chunk = malloc(CHUNK_BYTES);
	struct comparison comparison = { .fd = first_fd, .chunk = chunk };
	int r;

	if (!chunk)
		return error_set(err, -ENOMEM, "out of memory");
	r = compare(&comparison, tar, member, twins->hooks, err);
	if (r != 0)
		return r < 0 ? r : 0;
	return part_ways(twins, &comparison, tar, location, member, err);
}

int twins_unpack(struct twins *twins, struct tar_reader *tar, const char *location,
		 const struct member *member, struct error *err)
{
	const struct hard_links_file key = key_of(member);
	const struct hard_links_file *known =
		member->is_shared ? hard_links_find(&twins->links, &key) : NULL;
	_cleanup_close_ int first_fd = -1;
	struct stat made;
	int r;

	if (known) {
		const struct tree_file file = { .location = hard_links_name(&twins->links, known),
						.dev = known->made_dev,
						.ino = known->made_ino };

		r = tree_name_again(twins->tree, location, member, &file, &first_fd, err);
		if (r < 0)
			return r;
		if (r > 0)
			return compare_or_part(twins, first_fd, tar, location, member, err);
	}
	if (!member->is_shared || known)
		return unpack_alone(twins, tar, location, member, NULL, err);
	r = unpack_alone(twins, tar, location, member, &made, err);
	return r < 0 ? r : remember(twins, location, member, &made, err);
}
