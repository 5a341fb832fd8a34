#include "executor/report/termination.h"

#include "executor/base/cleanup.h"
#include "executor/base/fd.h"
#include "executor/base/text.h"

#include <errno.h>
#include <fcntl.h>
#include <string.h>
#include <sys/stat.h>

int termination_write(const char *path, const char *message, struct error *err)
{
	size_t size = text_cut_utf8(message, strlen(message), TERMINATION_MESSAGE_MAX);
	struct stat st;
	/* O_NONBLOCK: should it be a FIFO, nobody waits for a reader. */
	_cleanup_close_ int fd = open(path, O_WRONLY | O_CLOEXEC | O_NOCTTY | O_NONBLOCK);
	int r;

	if (fd < 0 || fstat(fd, &st) < 0)
		return error_errno(err, -errno, "termination message: open %s", path);
	if (!S_ISREG(st.st_mode))
		return error_set(err, -EINVAL, "termination message: %s is no regular file", path);
	if (ftruncate(fd, 0) < 0)
		return error_errno(err, -errno, "termination message: truncate %s", path);
	r = fd_write_all(fd, message, size);
	return r < 0 ? error_errno(err, r, "termination message: write %s", path) : 0;
}

bool error_list_add(struct error_list *list, const struct error *err)
{
	if (err->code == 0 || list->count++ > 0)
		return false;
	list->first = *err;
	return true;
}

int error_list_terminate(const struct error_list *list, const char *path, struct error *err)
{
	return list->first.code ? termination_write(path, list->first.message, err) : 0;
}
