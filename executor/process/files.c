#include "executor/process/files.h"

#include "executor/base/cleanup.h"
#include "executor/base/fd.h"
#include "executor/base/path.h"
#include "executor/base/text.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <string.h>

const char *files_container_path(const char *root, const char *container, const char *file,
				 char *buffer, size_t size)
{
	snprintf(buffer, size, "%s/ctr/%s%s%s", root, container, *file ? "/" : "", file);
	return buffer;
}

/* There may have been a umask, or a command that shuts us out. The descriptor, not the name, is
 * changed: the name may be a link by now. */
static void admit_everybody(int fd)
{
	struct stat st;
	char path[32];

	if (fstat(fd, &st) < 0 || (st.st_mode & 0777) == 0777)
		return;
	snprintf(path, sizeof(path), "/proc/self/fd/%d", fd);
	(void)!chmod(path, 0777); /* another user's: what can be done will show */
}

/* A directory called `name` in parent_fd, for everybody. Containers share the place: what else
 * somebody has put there, a link to elsewhere above all, has to give way. The descriptor or a
 * negative errno. */
static int make_directory(int parent_fd, const char *name)
{
	const int flags = O_PATH | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC;
	int fd = openat(parent_fd, name, flags);

	if (fd < 0 && errno == ENOTDIR)
		unlinkat(parent_fd, name, 0);
	else if (fd >= 0 || errno != ENOENT)
		return fd < 0 ? -errno : fd;
	if (mkdirat(parent_fd, name, 0777) < 0 && errno != EEXIST)
		return -errno;
	fd = openat(parent_fd, name, flags);
	return fd < 0 ? -errno : fd;
}

int files_make_container_directory(const char *root, const char *container, struct error *err)
{
	_cleanup_close_ int root_fd = -1, parent_fd = -1, fd = -1;
	int r = path_make_directories(root, 0777, err);

	if (r < 0)
		return r;
	root_fd = open(root, O_PATH | O_DIRECTORY | O_CLOEXEC);
	if (root_fd < 0)
		return error_errno(err, -errno, "open %s", root);
	parent_fd = make_directory(root_fd, "ctr");
	if (parent_fd < 0)
		return error_errno(err, parent_fd, "mkdir %s/ctr", root);
	admit_everybody(parent_fd);
	fd = make_directory(parent_fd, container);
	if (fd < 0)
		return error_errno(err, fd, "mkdir %s/ctr/%s", root, container);
	admit_everybody(fd);
	return 0;
}

static int open_directory(const char *root, const char *container, struct error *err)
{
	char relative[128];

	snprintf(relative, sizeof(relative), "ctr/%s", container);
	return file_open_beneath(root, relative, O_PATH | O_DIRECTORY, BENEATH_REFUSE, err);
}

int files_open(const char *root, const char *container, const char *file, int flags,
	       struct error *err)
{
	_cleanup_close_ int directory_fd = open_directory(root, container, err);
	int fd;

	if (directory_fd < 0)
		return directory_fd;
	fd = openat(directory_fd, file, flags | O_CLOEXEC | O_NONBLOCK | O_NOFOLLOW | O_NOCTTY,
		    0666);
	return fd < 0 ? error_errno(err, -errno, "open %s/ctr/%s/%s", root, container, file) : fd;
}

int files_rename(const char *root, const char *container, const char *from, const char *to)
{
	_cleanup_close_ int fd = open_directory(root, container, NULL);

	if (fd < 0)
		return fd;
	return renameat(fd, from, fd, to) < 0 ? -errno : 0;
}

int files_remove(const char *root, const char *container, const char *file)
{
	_cleanup_close_ int fd = open_directory(root, container, NULL);

	if (fd < 0)
		return fd;
	if (unlinkat(fd, file, 0) == 0 || unlinkat(fd, file, AT_REMOVEDIR) == 0)
		return 0;
	return -errno;
}

/* Plain open-truncate-write: readers of the older protocol look for the file, not its inode. */
static int write_number(const char *root, const char *container, const char *file, int number,
			mode_t mode, struct error *err)
{
	char text[16];
	int fd = files_open(root, container, file, O_WRONLY | O_CREAT | O_TRUNC, err);
	int r;

	if (fd < 0)
		return fd;
	r = fd_write_all(fd, text, (size_t)snprintf(text, sizeof(text), "%d", number));
	if (mode != 0666 && fchmod(fd, mode) < 0 && errno != EPERM && r == 0)
		r = -errno;
	if (close(fd) < 0 && r == 0)
		r = -errno;
	return r < 0 ? error_errno(err, r, "write %s/ctr/%s/%s", root, container, file) : 0;
}

#define RESERVED_NAME "exitcode.tmp"

int files_reserve_exit_code(const char *root, const char *container, struct error *err)
{
	return write_number(root, container, RESERVED_NAME, 255, 0644, err); /* as long as any */
}

/* Over the reserved bytes, which takes no more room: 0, or a negative errno. */
static int fill_reserved(const char *root, const char *container, int code)
{
	_cleanup_close_ int fd = files_open(root, container, RESERVED_NAME, O_WRONLY, NULL);
	char text[16];
	int size = snprintf(text, sizeof(text), "%d", code);

	if (fd < 0)
		return fd;
	if (pwrite(fd, text, (size_t)size, 0) != size || ftruncate(fd, size) < 0)
		return -EIO;
	return 0;
}

/* Whatever is called `exitcode` gives way; a directory has to be moved first. */
static int put_in_place(const char *root, const char *container)
{
	int r = files_rename(root, container, RESERVED_NAME, "exitcode");

	if (r != -EISDIR)
		return r;
	files_rename(root, container, "exitcode", "exitcode.was");
	return files_rename(root, container, RESERVED_NAME, "exitcode");
}

int files_write_exit_code(const char *root, const char *container, int code, struct error *err)
{
	int r;

	if (fill_reserved(root, container, code) == 0 && put_in_place(root, container) == 0)
		return 0;
	files_remove(root, container, RESERVED_NAME);
	if (write_number(root, container, RESERVED_NAME, code, 0644, NULL) == 0 &&
	    put_in_place(root, container) == 0)
		return 0;
	r = write_number(root, container, "exitcode", code, 0644, err);
	/* An empty one would be taken for one that is being written. */
	if (r < 0)
		files_remove(root, container, "exitcode");
	return r;
}

int files_write_signal(const char *root, const char *container, int signo, struct error *err)
{
	return write_number(root, container, "signal", signo, 0666, err);
}

int files_parse_number(const char *text, size_t size, int low, int high)
{
	char copy[FILES_NUMBER_BYTES_MAX + 1];
	char *start;
	int64_t value;

	if (size >= FILES_NUMBER_BYTES_MAX || memchr(text, '\0', size))
		return -EINVAL;
	memcpy(copy, text, size);
	while (size > 0 && strchr(" \t\r\n", copy[size - 1]))
		size--;
	copy[size] = '\0';
	start = copy + strspn(copy, " \t\r\n");
	if (!*start)
		return -EAGAIN;
	if (text_parse_int64(start, &value) < 0 || value < low || value > high)
		return -EINVAL;
	return (int)value;
}

int files_read_exit_code(const char *root, const char *container, int *ret)
{
	_cleanup_close_ int fd = files_open(root, container, "exitcode", O_RDONLY, NULL);
	char text[FILES_NUMBER_BYTES_MAX];
	ssize_t n;
	int r;

	if (fd < 0)
		return fd == -ENOENT ? -ENOENT : -EINVAL;
	n = read(fd, text, sizeof(text));
	r = n < 0 ? -EINVAL : files_parse_number(text, (size_t)n, 0, 255);
	if (r < 0)
		return r;
	*ret = r;
	return 0;
}
