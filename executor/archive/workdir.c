#include "executor/archive/workdir.h"

#include "executor/archive/member.h"
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
	if (mkdirat(workdir->parent_fd, workdir->name, DIRECTORY_MODE) < 0)
		return fail(-errno, "mkdir", workdir->path, err);
	workdir->is_made = true;
	workdir->fd = openat(workdir->parent_fd, workdir->name,
			     O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC);
	if (workdir->fd < 0)
		return fail(-errno, "open", workdir->path, err);
	if (fchmod(workdir->fd, DIRECTORY_MODE) < 0)
		return fail(-errno, "chmod", workdir->path, err);
	return 0;
}

static int set_names(struct workdir *workdir, struct spot target, struct error *err)
{
	const char *base;

	workdir->target = path_clean(target.path);
	if (!workdir->target)
		return error_set(err, -ENOMEM, "out of memory");
	base = target.directory_fd == AT_FDCWD ? path_basename(workdir->target) : target.name;
	if (strcmp(base, ".") == 0 || strcmp(base, "..") == 0)
		return error_set(err, -EINVAL, "unpack to %s: not a name", target.path);
	workdir->base = strdup(base);
	if (asprintf(&workdir->name, "%s%s", base, WORKDIR_SUFFIX) < 0)
		workdir->name = NULL;
	if (asprintf(&workdir->path, "%s%s", workdir->target, WORKDIR_SUFFIX) < 0)
		workdir->path = NULL;
	return workdir->base && workdir->name && workdir->path ?
		       0 :
		       error_set(err, -ENOMEM, "out of memory");
}

static int open_parent_by_path(struct workdir *workdir, struct error *err)
{
	_cleanup_free_ char *parent = path_join(workdir->target, "..");
	int r;

	if (!parent)
		return error_set(err, -ENOMEM, "out of memory");
	r = path_make_directories(parent, DIRECTORY_MODE, err);
	if (r < 0)
		return r;
	workdir->parent_fd = open(parent, O_PATH | O_DIRECTORY | O_CLOEXEC);
	return workdir->parent_fd < 0 ? fail(-errno, "open", parent, err) : 0;
}

static int open_parent(struct workdir *workdir, struct spot target, struct error *err)
{
	if (target.directory_fd == AT_FDCWD)
		return open_parent_by_path(workdir, err);
	workdir->parent_fd = fcntl(target.directory_fd, F_DUPFD_CLOEXEC, 0);
	return workdir->parent_fd < 0 ? fail(-errno, "open", workdir->target, err) : 0;
}

static int remove_all(const struct workdir *workdir, struct error *err)
{
	return spot_remove_tree((struct spot){ .directory_fd = workdir->parent_fd,
					       .name = workdir->name,
					       .path = workdir->path },
				err);
}

int workdir_open(struct workdir *workdir, struct spot target, struct error *err)
{
	int r;

	*workdir = WORKDIR_NONE;
	r = set_names(workdir, target, err);
	if (r == 0)
		r = open_parent(workdir, target, err);
	if (r == 0)
		r = remove_all(workdir, err);
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
	struct stat st;
	int count;

	if (fstatat(workdir->parent_fd, workdir->base, &st, AT_SYMLINK_NOFOLLOW) < 0)
		return 0;
	if (!S_ISDIR(st.st_mode))
		return error_append(err, " (a file lies there)");
	count = list(workdir->parent_fd, workdir->base, names);
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

	if (renameat(from_fd, from, workdir->parent_fd, workdir->base) == 0)
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
	char names[NAMES_SHOWN][256];
	int count = list(workdir->fd, ".", names);
	int r;

	if (count < 0)
		return fail(count, "list", workdir->path, err);
	if (count != 1) {
		r = move(workdir, workdir->parent_fd, workdir->name, err);
	} else {
		r = move(workdir, workdir->fd, names[0], err);
		if (r == 0 && unlinkat(workdir->parent_fd, workdir->name, AT_REMOVEDIR) < 0)
			/* Somebody else is putting things into it; they are not the artifact. */
			remove_all(workdir, NULL);
	}
	if (r == 0)
		workdir->is_made = false;
	return r;
}

void workdir_done(struct workdir *workdir)
{
	if (workdir->is_made)
		remove_all(workdir, NULL);
	cleanup_close(&workdir->fd);
	cleanup_close(&workdir->parent_fd);
	free(workdir->name);
	free(workdir->base);
	free(workdir->path);
	free(workdir->target);
	*workdir = WORKDIR_NONE;
}
