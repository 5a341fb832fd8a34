#include "executor/stage/handover.h"

#include "executor/archive/unpack.h"
#include "executor/base/cleanup.h"
#include "executor/base/fd.h"
#include "executor/base/path.h"

#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <stdio.h>

static int create(const struct stage *stage, const char *name, char path[PATH_MAX_BYTES], int *ret,
		  struct error *err)
{
	int r;

	if ((size_t)snprintf(path, PATH_MAX_BYTES, "%s/artifacts/%s", stage->scratch, name) >=
	    PATH_MAX_BYTES)
		return error_set(err, -ENAMETOOLONG, "%.200s…: the name is too long", name);
	r = path_make_parents(path, 0777, err);
	if (r == 0)
		r = path_remove_tree(path, err);
	if (r < 0)
		return r;
	*ret = open(path, O_RDWR | O_CREAT | O_EXCL | O_CLOEXEC | O_NOFOLLOW, 0666);
	return *ret < 0 ? error_errno(err, -errno, "create %s", path) : 0;
}

/* With `r` from writing the file: hands it over, if it is whole, and removes it. */
static int hand_over(int fd, const char *path, int r, struct store *store, struct error *err)
{
	if (close(fd) < 0 && r == 0)
		r = error_errno(err, -errno, "write %s", path);
	if (r == 0)
		r = store->operations->save_path(store, path, err);
	path_remove_tree(path, NULL);
	return r;
}

int handover_copy(const struct stage *stage, const struct source *source, struct store *store,
		  const char *name, struct error *err)
{
	char path[PATH_MAX_BYTES];
	int fd, r = create(stage, name, path, &fd, err);

	if (r < 0)
		return r;
	/* The position of a descriptor that was handed over is its sender's too. */
	r = lseek(source->fd, 0, SEEK_SET) < 0 ? -errno : fd_copy(source->fd, fd);
	if (r < 0)
		error_errno(err, r, "copy %s to %s", source->path, path);
	return hand_over(fd, path, r, store, err);
}

int handover_packed(const struct stage *stage, const struct source *source,
		    const struct pack_options *options, struct store *store, const char *name,
		    struct error *err)
{
	char path[PATH_MAX_BYTES];
	struct pack_result packed;
	struct fd_writer out;
	int fd, r = create(stage, name, path, &fd, err);

	if (r < 0)
		return r;
	fd_writer_init(&out, fd, path);
	r = pack_descriptor(source->fd, options, &out.writer, &packed, err);
	if (r == 0)
		r = source_check_entries(source, packed.entries, err);
	return hand_over(fd, path, r, store, err);
}

static int hand_over_place(const struct source *source, struct store *store, struct error *err)
{
	char link[64], path[PATH_MAX_BYTES];
	ssize_t size;

	/* The name without links: theirs would lead through the other container's files. */
	snprintf(link, sizeof(link), "/proc/self/fd/%d", source->fd);
	size = readlink(link, path, sizeof(path) - 1);
	if (size < 0)
		return error_errno(err, -errno, "find out the path of %s", source->path);
	path[size] = '\0';
	return store->operations->save_path(store, path, err);
}

/* Packed and unpacked again, which keeps what an archive keeps, and every rule of both. */
static int copy_tree(const struct stage *stage, const struct source *source, const char *name,
		     const char *target, struct error *err)
{
	const struct pack_options options = { .format = PACK_TAR,
					      .name = name,
					      .as = source_identity(source),
					      .hooks = stage_hooks(stage) };
	const struct unpack_options unpacking = { .hooks = stage_hooks(stage) };
	char path[PATH_MAX_BYTES], archive[NAME_MAX + 1];
	struct pack_result packed;
	struct fd_writer out;
	struct fd_reader in;
	int fd, r;

	snprintf(archive, sizeof(archive), "%.200s.tar", name);
	r = create(stage, archive, path, &fd, err);
	if (r < 0)
		return r;
	fd_writer_init(&out, fd, path);
	r = pack_descriptor(source->fd, &options, &out.writer, &packed, err);
	if (r == 0)
		r = source_check_entries(source, packed.entries, err);
	if (r == 0 && lseek(fd, 0, SEEK_SET) < 0)
		r = error_errno(err, -errno, "seek %s", path);
	fd_reader_init(&in, fd, path);
	if (r == 0)
		r = unpack_tar(&in.reader, spot_by_path(target), &unpacking, err);
	close(fd);
	path_remove_tree(path, NULL);
	return r;
}

static int hand_over_tree(const struct stage *stage, const struct source *source,
			  struct store *store, const char *name, struct error *err)
{
	char target[PATH_MAX_BYTES];
	int r;

	if ((size_t)snprintf(target, sizeof(target), "%s/artifacts/%s", stage->scratch, name) >=
	    sizeof(target))
		return error_set(err, -ENAMETOOLONG, "%.200s…: the name is too long", name);
	r = path_remove_tree(target, err);
	if (r == 0)
		r = copy_tree(stage, source, name, target, err);
	if (r == 0)
		r = store->operations->save_path(store, target, err);
	path_remove_tree(target, NULL);
	return r;
}

int handover_plain(const struct stage *stage, const struct source *source, struct store *store,
		   const char *name, struct error *err)
{
	if (!source->handed)
		return hand_over_place(source, store, err);
	return source->is_directory ? hand_over_tree(stage, source, store, name, err) :
				      handover_copy(stage, source, store, name, err);
}
