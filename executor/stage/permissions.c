#include "executor/stage/permissions.h"

#include "executor/base/cleanup.h"
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

/* Of what a descriptor (O_PATH) is of: there is no name that could become another thing's. */
static int change_mode(int path_fd, unsigned mode)
{
	char link[40];

	snprintf(link, sizeof(link), "/proc/self/fd/%d", path_fd);
	return chmod(link, mode) < 0 ? -errno : 0;
}

static int change_entry(int parent_fd, const char *name, struct modes modes, unsigned depth)
{
	_cleanup_close_ int path_fd = openat(parent_fd, name, O_PATH | O_NOFOLLOW | O_CLOEXEC);
	struct stat st;
	int fd;

	if (path_fd < 0 || fstat(path_fd, &st) < 0)
		return -errno;
	if (S_ISLNK(st.st_mode))
		return 0;
	if (!S_ISDIR(st.st_mode))
		return change_mode(path_fd, modes.file);
	cleanup_close(&path_fd);
	path_fd = -1;
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

static int change(struct spot spot, struct modes modes, bool is_recursive, struct error *err)
{
	_cleanup_close_ int path_fd =
		openat(spot.directory_fd, spot.name, O_PATH | O_NOFOLLOW | O_CLOEXEC);
	struct stat st;
	int r, fd = -1;

	if (path_fd < 0 || fstat(path_fd, &st) < 0)
		return error_errno(err, -errno, "chmod %s", spot.path);
	/* An archive may hold nothing but a link, to anywhere: what it names is not the artifact. */
	if (S_ISLNK(st.st_mode))
		return 0;
	if (is_recursive && S_ISDIR(st.st_mode))
		fd = openat(spot.directory_fd, spot.name,
			    O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC);
	if (fd >= 0)
		r = change_tree(fd, modes, 0);
	else
		r = change_mode(path_fd, S_ISDIR(st.st_mode) ? modes.directory : modes.file);
	return r < 0 ? error_errno(err, r, "chmod %s", spot.path) : 0;
}

int permissions_set(struct spot spot, unsigned mode, bool is_recursive, struct error *err)
{
	return change(spot, (struct modes){ mode, mode }, is_recursive, err);
}

int permissions_open(struct spot spot, bool is_recursive, struct error *err)
{
	return change(spot, (struct modes){ 0666, 0777 }, is_recursive, err);
}
