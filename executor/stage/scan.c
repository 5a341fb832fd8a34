#include "executor/stage/scan.h"

#include "executor/base/cleanup.h"
#include "executor/base/entry.h"

#include <errno.h>
#include <fcntl.h>
#include <string.h>

static int push(struct scan *scan, int fd, size_t name_size)
{
	DIR *directory;

	if (scan->depth == SCAN_DEPTH_MAX) {
		close(fd);
		return -ELOOP;
	}
	directory = fdopendir(fd);
	if (!directory) {
		int r = -errno;

		close(fd);
		return r;
	}
	scan->counts.directories++;
	scan->name_sizes[scan->depth] = name_size;
	scan->directories[scan->depth++] = directory;
	return 0;
}

/* The position of the descriptor that was handed over is its sender's too: ours is opened anew. */
int scan_init(struct scan *scan, int fd, const struct identity *as)
{
	int own_fd = entry_open(fd, ".", O_DIRECTORY, as);

	*scan = (struct scan){ .as = as };
	return own_fd < 0 ? own_fd : push(scan, own_fd, 0);
}

void scan_done(struct scan *scan)
{
	while (scan->depth > 0)
		closedir(scan->directories[--scan->depth]);
}

/* It has just become something else: what it is when it is read counts. */
static bool has_changed(int r)
{
	return r == -ENOENT || r == -ELOOP || r == -ENOTDIR || r == -ENXIO;
}

static int open_directory(struct scan *scan, int parent_fd, const char *name, size_t name_size)
{
	int fd = entry_open_entered(parent_fd, name, O_DIRECTORY, scan->as);

	if (fd < 0)
		return has_changed(fd) ? 0 : fd;
	return push(scan, fd, name_size);
}

/* A look at a file's owner is a third of the price of opening it, and enough where that is the sender:
 * 1 if it is a file that it may read, 0 if only opening it tells, or -EXDEV. */
static int is_plainly_readable(const struct scan *scan, int parent_fd, const char *name)
{
	const int flags = AT_SYMLINK_NOFOLLOW | AT_NO_AUTOMOUNT | AT_STATX_DONT_SYNC;
	struct statx stx;

	if (scan->as->is_anybody ||
	    statx(parent_fd, name, flags, STATX_TYPE | STATX_MODE | STATX_UID, &stx) < 0 ||
	    !(stx.stx_attributes_mask & STATX_ATTR_MOUNT_ROOT))
		return 0;
	if (stx.stx_attributes & STATX_ATTR_MOUNT_ROOT)
		return -EXDEV;
	return S_ISREG(stx.stx_mode) && (stx.stx_mode & S_IRUSR) && stx.stx_uid == scan->as->uid;
}

static int open_file(struct scan *scan, int parent_fd, const char *name)
{
	int fd = is_plainly_readable(scan, parent_fd, name);

	if (fd == 0) {
		fd = entry_open_entered(parent_fd, name, 0, scan->as);
		if (fd >= 0)
			close(fd);
	}
	if (fd < 0)
		return has_changed(fd) ? 0 : fd;
	scan->counts.files++;
	return 0;
}

static unsigned char type_of(int parent_fd, const struct dirent *entry)
{
	struct stat st;

	if (entry->d_type != DT_UNKNOWN)
		return entry->d_type;
	if (fstatat(parent_fd, entry->d_name, &st, AT_SYMLINK_NOFOLLOW) < 0)
		return DT_UNKNOWN;
	return IFTODT(st.st_mode);
}

static int look_at(struct scan *scan, const struct dirent *entry)
{
	int parent_fd = dirfd(scan->directories[scan->depth - 1]);
	size_t name_size = scan->name_sizes[scan->depth - 1] + strlen(entry->d_name) + 1;
	unsigned char type = type_of(parent_fd, entry);

	if (++scan->seen > SCAN_ENTRIES_MAX)
		return -E2BIG;
	if (name_size > SCAN_NAME_MAX)
		return -ENAMETOOLONG;
	if (type == DT_LNK)
		scan->counts.links++;
	if (type == DT_REG)
		return open_file(scan, parent_fd, entry->d_name);
	if (type == DT_DIR)
		return open_directory(scan, parent_fd, entry->d_name, name_size);
	return 0;
}

static int step_entered(struct scan *scan)
{
	for (unsigned i = 0; i < SCAN_SLICE && scan->depth > 0; i++) {
		const struct dirent *entry;
		int r = 0;

		errno = 0;
		entry = readdir(scan->directories[scan->depth - 1]);
		if (!entry && errno != 0)
			return -errno;
		if (!entry)
			closedir(scan->directories[--scan->depth]);
		else if (strcmp(entry->d_name, ".") != 0 && strcmp(entry->d_name, "..") != 0)
			r = look_at(scan, entry);
		if (r < 0)
			return r;
	}
	return scan->depth > 0;
}

int scan_step(struct scan *scan)
{
	int r = identity_enter(scan->as);

	if (r < 0)
		return r;
	r = step_entered(scan);
	identity_leave(scan->as);
	return r;
}
