#include "executor/stage/source.h"

#include "executor/base/cleanup.h"
#include "executor/base/fd.h"
#include "executor/base/path.h"
#include "executor/stage/volume.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <string.h>

static int examine(struct source *source, struct error *err)
{
	struct stat st;

	if (fstat(source->fd, &st) < 0)
		return error_errno(err, -errno, "stat %s", source->path);
	source->is_directory = S_ISDIR(st.st_mode);
	source->size = S_ISREG(st.st_mode) ? (uint64_t)st.st_size : 0;
	if (!S_ISDIR(st.st_mode) && !S_ISREG(st.st_mode))
		return error_set(err, -EINVAL, "%s is not a regular file or directory",
				 source->path);
	return 0;
}

/* What is too long for messages is so for the kernel. */
static int set_path(struct source *source, const char *root, const char *relative,
		    struct error *err)
{
	if ((size_t)snprintf(source->path, sizeof(source->path), "%s/%s", root,
			     relative + strspn(relative, "/")) < sizeof(source->path))
		return 0;
	return error_set(err, -ENAMETOOLONG, "path %.200s… is too long", source->path);
}

int source_open_collected(const struct stage *stage, const char *relative, struct source *ret,
			  struct error *err)
{
	*ret = (struct source){ .fd = -1, .is_collected = true };
	if (set_path(ret, stage->root, relative, err) < 0)
		return -ENAMETOOLONG;
	ret->fd = file_open_beneath(stage->root, relative, O_RDONLY, BENEATH_REFUSE, err);
	return ret->fd < 0 ? ret->fd : examine(ret, err);
}

/*
 * A volume is mirrored as a whole, so the walk may not leave its mount; an input artifact that is
 * written back lies in a mount of its own path.
 */
static int open_in_volume(const struct stage *stage, const char *path, struct source *ret,
			  struct error *err)
{
	const char *mount = template_find_mount(stage->template, path);
	const char *relative = mount ? path + strlen(mount) : path;
	_cleanup_close_ int root_fd = -1;
	char root[PATH_MAX_BYTES];

	if ((size_t)snprintf(root, sizeof(root), "%s%s", stage->main_root, mount ? mount : "") >=
	    sizeof(root))
		return error_set(err, -ENAMETOOLONG, "path %.200s… is too long", path);
	if (set_path(ret, root, relative, err) < 0)
		return -ENAMETOOLONG;
	if (mount) {
		root_fd = volume_open(stage, mount, false, err);
		if (root_fd < 0)
			return root_fd;
		ret->fd = file_open_beneath_at(root_fd, root, relative, O_RDONLY, BENEATH_FOLLOW,
					       err);
	} else {
		ret->fd = file_open_beneath(root, relative, O_RDONLY, BENEATH_FOLLOW, err);
	}
	return ret->fd < 0 ? ret->fd : examine(ret, err);
}

/* A duplicate: the table's own stays for another attempt. */
static int open_handed(const struct handed_item *item, struct source *ret, struct error *err)
{
	ret->handed = item;
	snprintf(ret->path, sizeof(ret->path), "%s", item->path);
	if (item->code == ENOENT)
		return error_set(err, -ENOENT, "%s no such file or directory", item->path);
	if (item->code == EINVAL)
		return error_set(err, -EINVAL, "%s is not a regular file or directory", item->path);
	if (item->code != 0)
		return error_errno(err, -item->code, "open %s", item->path);
	ret->fd = fcntl(item->fd, F_DUPFD_CLOEXEC, 0);
	return ret->fd < 0 ? error_errno(err, -errno, "duplicate %s", item->path) :
			     examine(ret, err);
}

const struct identity *source_identity(const struct source *source)
{
	return source->handed ? &source->handed->identity : NULL;
}

static int check(const struct source *source, uint64_t there, uint64_t sent, struct error *err)
{
	if (!source->handed || !source->is_directory || sent >= there)
		return 0;
	return error_set(err, -EIO,
			 "%s: of %llu entries that were handed over %llu could be read; was the "
			 "container removed?",
			 source->path, (unsigned long long)there, (unsigned long long)sent);
}

int source_check_entries(const struct source *source, uint64_t sent, struct error *err)
{
	const struct scan_counts *counts = source->handed ? &source->handed->counts : NULL;

	return counts ? check(source, counts->files + counts->directories + counts->links, sent,
			      err) :
			0;
}

int source_check_files(const struct source *source, uint64_t sent, struct error *err)
{
	return source->handed ? check(source, source->handed->counts.files, sent, err) : 0;
}

int source_open(const struct stage *stage, const struct template_artifact *artifact,
		struct source *ret, struct error *err)
{
	const struct handed_item *item;
	char relative[PATH_MAX_BYTES];
	int r;

	*ret = (struct source){ .fd = -1 };
	if (!stage_is_in_base(stage, artifact->path))
		return open_in_volume(stage, artifact->path, ret, err);
	item = stage->handed ? handed_find(stage->handed, artifact->path) : NULL;
	if (item)
		return open_handed(item, ret, err);
	if ((size_t)snprintf(relative, sizeof(relative), "outputs/artifacts%s%s.tgz",
			     *artifact->path == '/' ? "" : "/", artifact->path) >= sizeof(relative))
		return error_set(err, -ENAMETOOLONG, "path %.200s… is too long", artifact->path);
	r = source_open_collected(stage, relative, ret, err);
	if (r == 0 && ret->is_directory)
		r = error_set(err, -EINVAL, "%s is a directory", ret->path);
	return r;
}

void source_close(struct source *source)
{
	if (source->fd >= 0)
		close(TAKE_FD(source->fd));
}
