#include "executor/stage/landing.h"

#include <errno.h>
#include <fcntl.h>
#include <unistd.h>

static int create_file(const char *path, mode_t mode, int *ret, struct error *err)
{
	if (unlink(path) < 0 && errno != ENOENT && errno != EISDIR)
		return error_errno(err, -errno, "remove %s", path);
	*ret = open(path, O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC | O_NOFOLLOW, mode);
	return *ret < 0 ? error_errno(err, -errno, "create %s", path) : 0;
}

int landing_write(const char *path, mode_t mode, struct reader *reader, struct error *err)
{
	struct fd_writer out;
	int fd = -1, r = create_file(path, mode, &fd, err);

	if (r < 0)
		return r;
	fd_writer_init(&out, fd, path);
	r = stream_copy(reader, &out.writer, NULL, err);
	if (close(fd) < 0 && r == 0)
		r = error_errno(err, -errno, "write %s", path);
	if (r < 0)
		unlink(path);
	return r;
}
