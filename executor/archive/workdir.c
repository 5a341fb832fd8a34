#include "executor/archive/workdir.h"

#include "executor/archive/member.h"
#include "executor/base/buffer.h"
#include "executor/base/path.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <string.h>
#include <sys/stat.h>

#define DIRECTORY_MODE 0777
/* How many of the names in the way are told. */
#define NAMES_SHOWN 3

static int fail(int code, const char *what, const char *path, struct error *err)
{
	/* Never the class NOT_FOUND: the artifact was there, only its place is not. */
	error_errno(err, code, "%s %s", what, path);
	if (err && err->class == ERROR_NOT_FOUND)
		err->class = ERROR_PERMANENT;
	return code;
}

static int make(struct workdir *workdir, struct error *err)
{
	_cleanup_free_ char *parent = path_join(workdir->target, "..");
	const char *base = path_basename(workdir->path);

	if (!parent)
		return error_set(err, -ENOMEM, "out of memory");
	workdir->parent_fd = open(parent, O_PATH | O_DIRECTORY | O_CLOEXEC);
	if (workdir->parent_fd < 0)
		return fail(-errno, "open", parent, err);
	if (mkdirat(workdir->parent_fd, base, DIRECTORY_MODE) < 0)
		return fail(-errno, "mkdir", workdir->path, err);
	workdir->fd =
		openat(workdir->parent_fd, base, O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC);
	if (workdir->fd < 0)
		return fail(-errno, "open", workdir->path, err);
	if (fchmod(workdir->fd, DIRECTORY_MODE) < 0)
		return fail(-errno, "chmod", workdir->path, err);
	return 0;
}

int workdir_open(struct workdir *workdir, const char *target, struct error *err)
{
	const char *base;
	int r;

	*workdir = WORKDIR_NONE;
	workdir->target = path_clean(target);
	if (!workdir->target ||
	    asprintf(&workdir->path, "%s%s", workdir->target, WORKDIR_SUFFIX) < 0) {
		workdir->path = NULL;
		return error_set(err, -ENOMEM, "out of memory");
	}
	base = path_basename(workdir->target);
	if (strcmp(base, ".") == 0 || strcmp(base, "..") == 0) {
		workdir->path[0] = '\0'; /* nothing there is ours to remove */
		return error_set(err, -EINVAL, "unpack to %s: not a name", target);
	}
	r = path_remove_tree(workdir->path, err);
	if (r == 0)
		r = path_make_parents(workdir->path, DIRECTORY_MODE, err);
	return r < 0 ? r : make(workdir, err);
}

/* Collects up to NAMES_SHOWN names; returns how many there are, or a negative errno. */
static int list(int parent_fd, const char *base, char names[][256])
{
	int fd = openat(parent_fd, base, O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC);
	DIR *dir = fd < 0 ? NULL : fdopendir(fd);
	struct dirent *entry;
	int count = 0;

	if (!dir) {
		int r = -errno;

		cleanup_close(&fd);
		return r;
	}
	while ((entry = readdir(dir))) {
		if (strcmp(entry->d_name, ".") == 0 || strcmp(entry->d_name, "..") == 0)
			continue;
		if (count < NAMES_SHOWN)
			memcpy(names[count], entry->d_name, strlen(entry->d_name) + 1);
		count++;
	}
	closedir(dir);
	return count;
}

static int say_what_lies_there(const struct workdir *workdir, struct error *err)
{
	char names[NAMES_SHOWN][256], printable[MEMBER_PRINTABLE_MAX];
	const char *base = path_basename(workdir->target);
	struct stat st;
	int count;

	if (fstatat(workdir->parent_fd, base, &st, AT_SYMLINK_NOFOLLOW) < 0)
		return 0;
	if (!S_ISDIR(st.st_mode))
		return error_append(err, " (a file lies there)");
	count = list(workdir->parent_fd, base, names);
	if (count <= 0)
		return error_append(err, " (a directory lies there)");
	error_append(err, " (a directory lies there, with ");
	for (int i = 0; i < count && i < NAMES_SHOWN; i++)
		error_append(err, "%s%s", i ? ", " : "", member_printable(names[i], printable));
	if (count > NAMES_SHOWN)
		error_append(err, " and %d more", count - NAMES_SHOWN);
	return error_append(err, ")");
}

static int move(const struct workdir *workdir, int from_fd, const char *from, struct error *err)
{
	char printable[MEMBER_PRINTABLE_MAX];
	int r;

	if (renameat(from_fd, from, workdir->parent_fd, path_basename(workdir->target)) == 0)
		return 0;
	r = -errno;
	error_errno(err, r, "rename %s to %s", member_printable(from, printable), workdir->target);
	if (err && err->class == ERROR_NOT_FOUND)
		err->class = ERROR_PERMANENT;
	say_what_lies_there(workdir, err);
	return r;
}

int workdir_finish(struct workdir *workdir, struct error *err)
{
	const char *base = path_basename(workdir->path);
	char names[NAMES_SHOWN][256];
	int count = list(workdir->fd, ".", names);
	int r;

	if (count < 0)
		return fail(count, "list", workdir->path, err);
	if (count != 1) {
		r = move(workdir, workdir->parent_fd, base, err);
	} else {
		r = move(workdir, workdir->fd, names[0], err);
		if (r == 0 && unlinkat(workdir->parent_fd, base, AT_REMOVEDIR) < 0)
			/* Somebody else is putting things into it; they are not the artifact. */
			path_remove_tree(workdir->path, NULL);
	}
	if (r == 0)
		workdir->path[0] = '\0';
	return r;
}

void workdir_done(struct workdir *workdir)
{
	if (workdir->path && workdir->path[0] && workdir->parent_fd >= 0)
		path_remove_tree(workdir->path, NULL);
	cleanup_close(&workdir->fd);
	cleanup_close(&workdir->parent_fd);
	free(workdir->path);
	free(workdir->target);
	*workdir = WORKDIR_NONE;
}
