#include "executor/stage/landing.h"

#include <errno.h>
#include <unistd.h>

int landing_not_absent(int r, struct error *err)
{
	if (r < 0 && err->class == ERROR_NOT_FOUND)
		err->class = ERROR_PERMANENT;
	return r;
}

static int create_file(struct spot spot, mode_t mode, struct error *err)
{
	int fd;

	if (unlinkat(spot.directory_fd, spot.name, 0) < 0 && errno != ENOENT && errno != EISDIR)
		return error_errno(err, -errno, "remove %s", spot.path);
	fd = openat(spot.directory_fd, spot.name,
		    O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC | O_NOFOLLOW, mode);
	return fd < 0 ? error_errno(err, -errno, "create %s", spot.path) : fd;
}

int landing_write(struct spot spot, mode_t mode, struct reader *reader, struct error *err)
{
	int r, fd = landing_not_absent(create_file(spot, mode, err), err);
	struct fd_writer out;

	if (fd < 0)
		return fd;
	fd_writer_init(&out, fd, spot.path);
	r = stream_copy(reader, &out.writer, NULL, err);
	if (close(fd) < 0 && r == 0)
		r = error_errno(err, -errno, "write %s", spot.path);
	if (r < 0)
		unlinkat(spot.directory_fd, spot.name, 0);
	return r;
}
