#include "executor/stage/merge.h"

#include "executor/base/cleanup.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <string.h>

/* Each level costs three descriptors. */
#define DEPTH_MAX 256

static int merge_at(int from_fd, int to_fd, unsigned depth, struct error *err);

static int open_directory(int parent_fd, const char *name)
{
	return openat(parent_fd, name, O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC);
}

/* An entry that could not replace the other: two directories are joined, `reason` is for the rest. */
static int join(int from_fd, int to_fd, const char *name, unsigned depth, int reason,
		struct error *err)
{
	_cleanup_close_ int from = open_directory(from_fd, name);
	_cleanup_close_ int to = open_directory(to_fd, name);
	int r;

	if (from < 0 || to < 0)
		return error_errno(err, reason, "%s", name);
	if (depth == DEPTH_MAX)
		return error_errno(err, -ELOOP, "%s", name);
	r = merge_at(from, to, depth + 1, err);
	if (r < 0)
		return error_prefix(err, r, "%s", name);
	return unlinkat(from_fd, name, AT_REMOVEDIR) < 0 ? error_errno(err, -errno, "%s", name) : 0;
}

/* One look at the directory: how many entries it had, or a negative errno. */
static int merge_entries(DIR *from, int to_fd, unsigned depth, struct error *err)
{
	struct dirent *entry;
	int count = 0, r = 0;

	while (r == 0 && (entry = readdir(from))) {
		if (strcmp(entry->d_name, ".") == 0 || strcmp(entry->d_name, "..") == 0)
			continue;
		count++;
		if (renameat(dirfd(from), entry->d_name, to_fd, entry->d_name) < 0)
			r = join(dirfd(from), to_fd, entry->d_name, depth, -errno, err);
	}
	return r < 0 ? r : count;
}

static int merge_at(int from_fd, int to_fd, unsigned depth, struct error *err)
{
	int count, fd = fcntl(from_fd, F_DUPFD_CLOEXEC, 0);
	DIR *from = fd < 0 ? NULL : fdopendir(fd);

	if (!from) {
		count = error_errno(err, -errno, "read the directory");
		cleanup_close(&fd);
		return count;
	}
	/* What is moved away while it is read may hide what comes behind it: look until it is empty. */
	while ((count = merge_entries(from, to_fd, depth, err)) > 0)
		rewinddir(from);
	closedir(from);
	return count;
}

int merge_directories(struct spot from, struct spot to, struct error *err)
{
	_cleanup_close_ int from_fd = open_directory(from.directory_fd, from.name);
	_cleanup_close_ int to_fd = -1;
	int r;

	if (from_fd < 0)
		return error_errno(err, -errno, "open %s", from.path);
	to_fd = open_directory(to.directory_fd, to.name);
	if (to_fd < 0)
		return error_errno(err, -errno, "open %s", to.path);
	r = merge_at(from_fd, to_fd, 0, err);
	if (r < 0)
		return error_prefix(err, r, "merge into %s", to.path);
	return unlinkat(from.directory_fd, from.name, AT_REMOVEDIR) < 0 ?
		       error_errno(err, -errno, "remove %s", from.path) :
		       0;
}
