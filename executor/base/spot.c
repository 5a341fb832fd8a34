#include "executor/base/spot.h"

#include "executor/base/cleanup.h"

#include <dirent.h>
#include <errno.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

/* Enough for any tree that paths of PATH_MAX_BYTES can name. */
#define REMOVE_DEPTH_MAX 2048

static int remove_entry(int parent_fd, const char *name, unsigned depth);

static int remove_content(int fd, unsigned depth)
{
	struct dirent *entry;
	DIR *dir = fdopendir(fd);
	int r = 0;

	if (!dir) {
		r = -errno;
		close(fd);
		return r;
	}
	while (r == 0 && (entry = readdir(dir))) {
		if (strcmp(entry->d_name, ".") == 0 || strcmp(entry->d_name, "..") == 0)
			continue;
		r = remove_entry(dirfd(dir), entry->d_name, depth + 1);
	}
	closedir(dir);
	return r;
}

/* Opens a directory for removal; one that shuts us out is opened first. The descriptor, not the
 * name, is changed: the name may be something else by now. */
static int open_for_removal(int parent_fd, const char *name)
{
	int fd = openat(parent_fd, name, O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC);
	_cleanup_close_ int path_fd = -1;
	char link[40];

	if (fd >= 0 || errno != EACCES)
		return fd < 0 ? -errno : fd;
	path_fd = openat(parent_fd, name, O_PATH | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC);
	if (path_fd < 0)
		return -errno;
	snprintf(link, sizeof(link), "/proc/self/fd/%d", path_fd);
	if (chmod(link, 0700) < 0)
		return -EACCES;
	fd = openat(path_fd, ".", O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	return fd < 0 ? -errno : fd;
}

static int remove_entry(int parent_fd, const char *name, unsigned depth)
{
	int r;

	if (depth > REMOVE_DEPTH_MAX)
		return -ELOOP;
	/* A few rounds: somebody may put a file where a directory was, and the other way round. */
	for (unsigned i = 0; i < 4; i++) {
		if (unlinkat(parent_fd, name, 0) == 0 || errno == ENOENT)
			return 0;
		if (errno != EISDIR && errno != EPERM)
			return -errno;
		r = open_for_removal(parent_fd, name);
		if (r == -ENOENT)
			return 0;
		if (r >= 0) {
			r = remove_content(r, depth);
			if (r == 0 && unlinkat(parent_fd, name, AT_REMOVEDIR) < 0)
				r = -errno;
		}
		if (r == 0 || r == -ENOENT)
			return 0;
		if (r != -ENOTDIR && r != -ELOOP && r != -ENOTEMPTY)
			return r;
	}
	return r;
}

int spot_remove_tree(struct spot spot, struct error *err)
{
	int r = remove_entry(spot.directory_fd, spot.name, 0);

	return r < 0 ? error_errno(err, r, "remove %s", spot.path) : 0;
}
