#include "executor/stage/permissions.h"

#include "executor/base/path.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

/* Deeper trees than this cannot be named by a path either. */
#define DEPTH_MAX (PATH_MAX_BYTES / 2)

struct modes {
	unsigned file, directory;
};

static int change_tree(int fd, struct modes modes, unsigned depth);

static int change_entry(int parent_fd, const char *name, struct modes modes, unsigned depth)
{
	struct stat st;
	int fd;

	if (fstatat(parent_fd, name, &st, AT_SYMLINK_NOFOLLOW) < 0)
		return -errno;
	if (S_ISLNK(st.st_mode))
		return 0;
	if (!S_ISDIR(st.st_mode))
		return fchmodat(parent_fd, name, modes.file, 0) < 0 ? -errno : 0;
	fd = openat(parent_fd, name, O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC);
	return fd < 0 ? -errno : change_tree(fd, modes, depth + 1);
}

/* Consumes fd. A directory gets its mode last: it may take away our own access to it. */
static int change_tree(int fd, struct modes modes, unsigned depth)
{
	struct dirent *entry;
	DIR *directory = depth < DEPTH_MAX ? fdopendir(fd) : NULL;
	int r = 0;

	if (!directory) {
		r = depth < DEPTH_MAX ? -errno : -ELOOP;
		close(fd);
		return r;
	}
	while (r == 0 && (entry = readdir(directory)))
		if (strcmp(entry->d_name, ".") != 0 && strcmp(entry->d_name, "..") != 0)
			r = change_entry(dirfd(directory), entry->d_name, modes, depth);
	if (r == 0 && fchmod(dirfd(directory), modes.directory) < 0)
		r = -errno;
	closedir(directory);
	return r;
}

static int change(const char *path, struct modes modes, bool is_recursive, struct error *err)
{
	struct stat st = { .st_mode = 0 };
	int r, fd;

	/* An archive may hold nothing but a link, to anywhere: what it names is not the artifact. */
	if (lstat(path, &st) == 0 && S_ISLNK(st.st_mode))
		return 0;
	fd = is_recursive ? open(path, O_RDONLY | O_DIRECTORY | O_CLOEXEC) : -1;

	if (fd >= 0)
		r = change_tree(fd, modes, 0);
	else
		r = chmod(path, S_ISDIR(st.st_mode) ? modes.directory : modes.file) < 0 ? -errno :
											  0;
	return r < 0 ? error_errno(err, r, "chmod %s", path) : 0;
}

int permissions_set(const char *path, unsigned mode, bool is_recursive, struct error *err)
{
	return change(path, (struct modes){ mode, mode }, is_recursive, err);
}

int permissions_open(const char *path, bool is_recursive, struct error *err)
{
	return change(path, (struct modes){ 0666, 0777 }, is_recursive, err);
}
