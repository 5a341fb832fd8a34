#include "executor/base/entry.h"

#include "executor/base/cleanup.h"

#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <linux/openat2.h>
#include <stdbool.h>
#include <string.h>
#include <sys/syscall.h>
#include <unistd.h>

#define OPEN_FLAGS (O_RDONLY | O_NOFOLLOW | O_NONBLOCK | O_NOCTTY | O_CLOEXEC)

/* The number of the mount, or of the file system where the kernel does not tell (before 5.8). */
static uint64_t mount_of(int fd)
{
	struct statx stx;
	struct stat st;

	if (statx(fd, "", AT_EMPTY_PATH, STATX_MNT_ID, &stx) == 0 && (stx.stx_mask & STATX_MNT_ID))
		return stx.stx_mnt_id;
	/* Files of an overlay have the numbers of its layers, its directories its own. */
	return fstat(fd, &st) == 0 && S_ISDIR(st.st_mode) ? st.st_dev : 0;
}

static int open_by_hand(int parent_fd, const char *name, int flags)
{
	_cleanup_close_ int fd = openat(parent_fd, name, OPEN_FLAGS | flags);
	uint64_t mount;

	if (fd < 0)
		return -errno;
	mount = mount_of(fd);
	if (mount != 0 && mount != mount_of(parent_fd))
		return -EXDEV;
	return TAKE_FD(fd);
}

static int open_strictly(int parent_fd, const char *name, int flags)
{
	struct open_how how = {
		.flags = (uint64_t)(unsigned)(OPEN_FLAGS | flags),
		.resolve = RESOLVE_BENEATH | RESOLVE_NO_XDEV | RESOLVE_NO_MAGICLINKS,
	};
	long fd = syscall(SYS_openat2, parent_fd, name, &how, sizeof(how));

	/* An outer seccomp filter answers EPERM; a real EPERM comes again. EXDEV is a mount, and also
	 * what was moved away during the call: by hand they are told apart. */
	if (fd < 0 && (errno == ENOSYS || errno == EPERM || errno == EAGAIN || errno == EXDEV))
		return open_by_hand(parent_fd, name, flags);
	return fd < 0 ? -errno : (int)fd;
}

/* Where the kernel has nothing but our own rights to go by, the mode has to do. */
static int open_permitted(int parent_fd, const char *name, int flags, const struct identity *as)
{
	_cleanup_close_ int fd = open_strictly(parent_fd, name, flags);
	struct stat st;

	if (fd < 0 || !as->is_anybody)
		return TAKE_FD(fd);
	if (fstat(fd, &st) < 0)
		return -errno;
	return identity_may_read(as, &st) ? TAKE_FD(fd) : -EACCES;
}

static bool is_denied(int r)
{
	return r == -EACCES || r == -EPERM;
}

/* A duplicate shares its position, which goes back to the start. */
static int duplicate(int fd)
{
	int copy = fcntl(fd, F_DUPFD_CLOEXEC, 0);

	if (copy < 0)
		return -errno;
	lseek(copy, 0, SEEK_SET);
	return copy;
}

/* Of what stands in the table, or `r`. */
static int open_opened(int parent_fd, const char *name, int flags, const struct identity *as, int r)
{
	int fd = opened_find(as->opened, parent_fd, name);
	struct stat st;

	if (fd == -ENODATA)
		return r;
	if (fd < 0)
		return fd;
	if (fstat(fd, &st) < 0)
		return -errno;
	if (S_ISLNK(st.st_mode))
		return -ELOOP;
	if (!S_ISDIR(st.st_mode) && (flags & O_DIRECTORY))
		return -ENOTDIR;
	return S_ISREG(st.st_mode) || S_ISDIR(st.st_mode) ? duplicate(fd) : -ENXIO;
}

int entry_open_entered(int parent_fd, const char *name, int flags, const struct identity *as)
{
	int fd = open_permitted(parent_fd, name, flags, as);

	if (!is_denied(fd))
		return fd;
	/* Open already, by somebody who may. */
	if (strcmp(name, ".") == 0)
		return duplicate(parent_fd);
	return open_opened(parent_fd, name, flags, as, fd);
}

int entry_open_path(int fd, const char *path, int flags)
{
	_cleanup_close_ int at = fcntl(fd, F_DUPFD_CLOEXEC, 0);
	char name[NAME_MAX + 1];

	if (at < 0)
		return -errno;
	while (*path) {
		size_t size = strcspn(path, "/");
		int next;

		if (size == 0 || size > NAME_MAX)
			return size ? -ENAMETOOLONG : -EINVAL;
		memcpy(name, path, size);
		name[size] = '\0';
		if (strcmp(name, "..") == 0)
			return -EXDEV;
		path += size + (path[size] == '/');
		next = open_strictly(at, name, *path ? O_DIRECTORY : flags);
		if (next < 0)
			return next;
		close(at);
		at = next;
	}
	return TAKE_FD(at);
}

/* As whoever we are now. */
static int open_now(int parent_fd, const char *name, int flags, const struct identity *as)
{
	int fd;

	if (as)
		return entry_open_entered(parent_fd, name, flags, as);
	fd = openat(parent_fd, name, OPEN_FLAGS | flags);
	return fd < 0 ? -errno : fd;
}

int entry_open(int parent_fd, const char *name, int flags, const struct identity *as)
{
	int fd = identity_enter(as);

	if (fd < 0)
		return fd;
	fd = open_now(parent_fd, name, flags, as);
	identity_leave(as);
	return fd;
}

/* As whoever we are now. */
static int stat_now(int parent_fd, const char *name, const struct identity *as, struct stat *ret)
{
	int r = fstatat(parent_fd, name, ret, AT_SYMLINK_NOFOLLOW) < 0 ? -errno : 0, fd;

	if (!as || !is_denied(r))
		return r;
	fd = opened_find(as->opened, parent_fd, name);
	if (fd < 0)
		return fd == -ENODATA ? r : fd;
	return fstat(fd, ret) < 0 ? -errno : 0;
}

int entry_stat(int parent_fd, const char *name, const struct identity *as, struct stat *ret)
{
	int r = identity_enter(as);

	if (r < 0)
		return r;
	r = stat_now(parent_fd, name, as, ret);
	identity_leave(as);
	return r;
}

int entry_stat_and_open(int parent_fd, const char *name, const struct identity *as,
			struct stat *ret, int *ret_fd)
{
	int r = identity_enter(as);

	*ret_fd = -EBADF;
	if (r < 0)
		return r;
	r = stat_now(parent_fd, name, as, ret);
	if (r == 0 && (S_ISREG(ret->st_mode) || S_ISDIR(ret->st_mode)))
		*ret_fd = open_now(parent_fd, name, S_ISDIR(ret->st_mode) ? O_DIRECTORY : 0, as);
	identity_leave(as);
	return r;
}

ssize_t entry_read_link(int parent_fd, const char *name, const struct identity *as, char *buffer,
			size_t size)
{
	ssize_t n = identity_enter(as);
	int fd;

	if (n < 0)
		return n;
	n = readlinkat(parent_fd, name, buffer, size - 1);
	if (n < 0)
		n = -errno;
	fd = as && is_denied((int)n) ? opened_find(as->opened, parent_fd, name) : -1;
	if (fd >= 0 && (n = readlinkat(fd, "", buffer, size - 1)) < 0)
		n = -errno;
	identity_leave(as);
	if (n >= 0)
		buffer[n] = '\0';
	return n;
}
