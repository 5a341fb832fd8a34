#include "executor/base/fd.h"

#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <stdio.h>
#include <string.h>
#include <sys/sendfile.h>

#define COPY_BYTES (1 << 20)
#define READ_STEP_BYTES 4096

int fd_write_all(int fd, const void *data, size_t size)
{
	const char *p = data;

	while (size > 0) {
		ssize_t n = write(fd, p, size);

		if (n < 0) {
			if (errno == EINTR)
				continue;
			return -errno;
		}
		p += n;
		size -= (size_t)n;
	}
	return 0;
}

/* Poll tells of room for so much of a pipe (PIPE_BUF); a terminal may have less. */
#define PATIENT_BYTES 4096

static int open_anew(int fd)
{
	struct stat st;
	char path[32];

	if (fstat(fd, &st) < 0 || !(S_ISFIFO(st.st_mode) || S_ISCHR(st.st_mode)))
		return -EINVAL;
	snprintf(path, sizeof(path), "/proc/self/fd/%d", fd);
	fd = open(path, O_WRONLY | O_NONBLOCK | O_NOCTTY | O_CLOEXEC);
	return fd < 0 ? -errno : fd;
}

int fd_write_patiently(int fd, const void *data, size_t size, int patience_ms)
{
	_cleanup_close_ int own_fd = open_anew(fd);
	struct pollfd room = { .fd = own_fd >= 0 ? own_fd : fd, .events = POLLOUT };
	const char *p = data;

	if (fd < 0)
		return -EBADF; /* poll would wait */
	while (size > 0) {
		int ready = poll(&room, 1, patience_ms);
		ssize_t n;

		if (ready == 0)
			return -ETIMEDOUT;
		n = ready < 0 ? -1 : write(room.fd, p, size < PATIENT_BYTES ? size : PATIENT_BYTES);
		if (n < 0 && errno != EINTR && errno != EAGAIN)
			return -errno;
		p += n > 0 ? n : 0;
		size -= n > 0 ? (size_t)n : 0;
	}
	return 0;
}

int fd_read_all(int fd, struct buffer *out)
{
	for (;;) {
		/* Never reserve beyond the limit: the last byte proves that there is more. */
		size_t room = out->max - out->size;
		size_t step = room < READ_STEP_BYTES ? room : READ_STEP_BYTES;
		char extra;
		char *p = step > 0 ? buffer_reserve(out, step) : &extra;
		ssize_t n;

		if (!p)
			return -ENOMEM;
		n = read(fd, p, step > 0 ? step : 1);
		if (n < 0) {
			if (errno == EINTR)
				continue;
			return -errno;
		}
		if (n == 0)
			return 0;
		if (step == 0)
			return -EMSGSIZE;
		out->size += (size_t)n;
		out->data[out->size] = '\0';
	}
}

int file_read(const char *path, struct buffer *out, struct error *err)
{
	_cleanup_close_ int fd = open(path, O_RDONLY | O_CLOEXEC | O_NONBLOCK | O_NOCTTY);
	struct stat st;
	int r;

	if (fd < 0)
		return error_errno(err, -errno, "open %s", path);
	if (fstat(fd, &st) < 0)
		return error_errno(err, -errno, "stat %s", path);
	if (S_ISDIR(st.st_mode))
		return error_errno(err, -EISDIR, "read %s", path);
	if (!S_ISREG(st.st_mode) && !S_ISCHR(st.st_mode))
		return error_set(err, -EINVAL, "read %s: not a regular file", path);
	r = fd_read_all(fd, out);
	if (r == -EMSGSIZE)
		return error_set(err, r, "read %s: larger than the limit of %zu bytes", path,
				 out->max);
	if (r < 0)
		return error_errno(err, r, "read %s", path);
	return 0;
}

int fd_copy(int from, int to)
{
	_cleanup_free_ char *chunk = NULL;

	for (;;) {
		ssize_t n = sendfile(to, from, NULL, COPY_BYTES);

		if (n == 0)
			return 0;
		if (n > 0 || errno == EINTR)
			continue;
		if (errno != EINVAL && errno != ENOSYS)
			return -errno;
		break; /* not a mappable source (pipe, procfs): copy by hand */
	}
	chunk = malloc(READ_STEP_BYTES * 16);
	if (!chunk)
		return -ENOMEM;
	for (;;) {
		ssize_t n = read(from, chunk, READ_STEP_BYTES * 16);
		int r;

		if (n == 0)
			return 0;
		if (n < 0) {
			if (errno == EINTR)
				continue;
			return -errno;
		}
		r = fd_write_all(to, chunk, (size_t)n);
		if (r < 0)
			return r;
	}
}

struct content {
	const void *data;
	size_t size;
	int source; /* used when ≥ 0 */
};

static int fill(int fd, const struct content *content, mode_t mode)
{
	int r = content->source >= 0 ? fd_copy(content->source, fd) :
				       fd_write_all(fd, content->data, content->size);

	if (r < 0)
		return r;
	return fchmod(fd, mode) < 0 ? -errno : 0;
}

static int replace(const char *path, const struct content *content, mode_t mode, struct error *err)
{
	_cleanup_free_ char *temporary = NULL;
	_cleanup_close_ int fd = -1;
	int r;

	if (asprintf(&temporary, "%s.XXXXXX", path) < 0) {
		temporary = NULL;
		return error_set(err, -ENOMEM, "write %s: out of memory", path);
	}
	fd = mkostemp(temporary, O_CLOEXEC);
	if (fd < 0)
		return error_errno(err, -errno, "create %s", path);
	r = fill(fd, content, mode);
	/* Some file systems report a full disk only here. */
	if (close(TAKE_FD(fd)) < 0 && r >= 0)
		r = -errno;
	if (r >= 0 && rename(temporary, path) < 0)
		r = -errno;
	if (r < 0) {
		unlink(temporary);
		return error_errno(err, r, "write %s", path);
	}
	return 0;
}

int file_replace(const char *path, const void *data, size_t size, mode_t mode, struct error *err)
{
	return replace(path, &(struct content){ .data = data, .size = size, .source = -1 }, mode,
		       err);
}

int file_replace_from(const char *path, int source, mode_t mode, struct error *err)
{
	return replace(path, &(struct content){ .source = source }, mode, err);
}
