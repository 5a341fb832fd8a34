#include "executor/process/files.h"

#include "executor/base/fd.h"
#include "executor/base/path.h"
#include "executor/base/text.h"
#include "executor/process/signals.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <string.h>

/* A file with as much as this holds more than a number. */
#define NUMBER_BYTES_MAX 32

const char *files_container_path(const char *root, const char *container, const char *file,
				 char *buffer, size_t size)
{
	snprintf(buffer, size, "%s/ctr/%s%s%s", root, container, *file ? "/" : "", file);
	return buffer;
}

int files_make_container_directory(const char *root, const char *container, struct error *err)
{
	char path[PATH_MAX_BYTES];

	return path_make_directories(files_container_path(root, container, "", path, sizeof(path)),
				     0777, err);
}

/* Plain open-truncate-write: readers of the older protocol look for the file, not its inode. */
static int write_number(const char *path, int number, mode_t mode, struct error *err)
{
	char text[16];
	int fd = open(path, O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC | O_NONBLOCK | O_NOFOLLOW,
		      mode);
	int r;

	if (fd < 0)
		return error_errno(err, -errno, "open %s", path);
	r = fd_write_all(fd, text, (size_t)snprintf(text, sizeof(text), "%d", number));
	if (close(fd) < 0 && r == 0)
		r = -errno;
	return r < 0 ? error_errno(err, r, "write %s", path) : 0;
}

#define RESERVED_NAME "exitcode.tmp"

int files_reserve_exit_code(const char *root, const char *container, struct error *err)
{
	char path[PATH_MAX_BYTES];

	files_container_path(root, container, RESERVED_NAME, path, sizeof(path));
	return write_number(path, 255, 0644, err); /* as long as any */
}

/* Over the reserved bytes, which takes no more room: 0, or a negative errno. */
static int fill_reserved(const char *path, int code)
{
	_cleanup_close_ int fd = open(path, O_WRONLY | O_CLOEXEC | O_NONBLOCK | O_NOFOLLOW);
	char text[16];
	int size = snprintf(text, sizeof(text), "%d", code);

	if (fd < 0)
		return -errno;
	if (pwrite(fd, text, (size_t)size, 0) != size || ftruncate(fd, size) < 0)
		return -EIO;
	return 0;
}

int files_write_exit_code(const char *root, const char *container, int code, struct error *err)
{
	char path[PATH_MAX_BYTES], reserved[PATH_MAX_BYTES];

	files_container_path(root, container, "exitcode", path, sizeof(path));
	files_container_path(root, container, RESERVED_NAME, reserved, sizeof(reserved));
	if (fill_reserved(reserved, code) == 0 && rename(reserved, path) == 0)
		return 0;
	return write_number(path, code, 0644, err);
}

int files_write_signal(const char *root, const char *container, int signo, struct error *err)
{
	char path[PATH_MAX_BYTES];

	return write_number(files_container_path(root, container, "signal", path, sizeof(path)),
			    signo, 0666, err);
}

/* The trimmed number in a file: its value, -ENOENT, -EAGAIN when empty, -EINVAL. */
static int read_number(const char *path, int low, int high)
{
	char text[NUMBER_BYTES_MAX + 1];
	_cleanup_close_ int fd =
		open(path, O_RDONLY | O_CLOEXEC | O_NONBLOCK | O_NOFOLLOW | O_NOCTTY);
	ssize_t n;
	char *start;
	int64_t value;

	if (fd < 0)
		return errno == ENOENT ? -ENOENT : -EINVAL;
	n = read(fd, text, NUMBER_BYTES_MAX);
	if (n < 0 || n == NUMBER_BYTES_MAX || memchr(text, '\0', (size_t)n))
		return -EINVAL;
	while (n > 0 && strchr(" \t\r\n", text[n - 1]))
		n--;
	text[n] = '\0';
	start = text + strspn(text, " \t\r\n");
	if (!*start)
		return -EAGAIN;
	if (text_parse_int64(start, &value) < 0 || value < low || value > high)
		return -EINVAL;
	return (int)value;
}

int files_read_exit_code(const char *root, const char *container, int *ret)
{
	char path[PATH_MAX_BYTES];
	int r = read_number(files_container_path(root, container, "exitcode", path, sizeof(path)),
			    0, 255);

	if (r < 0)
		return r;
	*ret = r;
	return 0;
}

int files_take_signal(const char *root, const char *container)
{
	char path[PATH_MAX_BYTES];
	int r = read_number(files_container_path(root, container, "signal", path, sizeof(path)), 1,
			    SIGNALS_MAX);

	if (r != -ENOENT && r != -EAGAIN)
		unlink(path);
	return r;
}
