#include "executor/report/termination.h"

#include "executor/base/cleanup.h"
#include "executor/base/fd.h"
#include "executor/base/text.h"

#include <ctype.h>
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

/* O_NONBLOCK: should it be a FIFO, nobody waits for a reader. The descriptor or a negative errno. */
static int open_file(const char *path, int access, struct error *err)
{
	struct stat st;
	_cleanup_close_ int fd = open(path, access | O_CLOEXEC | O_NOCTTY | O_NONBLOCK);

	if (fd < 0 || fstat(fd, &st) < 0)
		return error_errno(err, -errno, "termination message: open %s", path);
	if (!S_ISREG(st.st_mode))
		return error_set(err, -EINVAL, "termination message: %s is no regular file", path);
	return TAKE_FD(fd);
}

int termination_write(const char *path, const char *message, struct error *err)
{
	size_t size = text_cut_utf8(message, strlen(message), TERMINATION_MESSAGE_MAX);
	_cleanup_close_ int fd = open_file(path, O_WRONLY, err);
	int r;

	if (fd < 0)
		return fd;
	if (ftruncate(fd, 0) < 0)
		return error_errno(err, -errno, "termination message: truncate %s", path);
	r = fd_write_all(fd, message, size);
	return r < 0 ? error_errno(err, r, "termination message: write %s", path) : 0;
}

/* The beginning of the file, without white space at its end. */
static size_t read_present(const char *path, char *buffer, size_t size)
{
	_cleanup_close_ int fd = open_file(path, O_RDONLY, NULL);
	ssize_t n = fd < 0 ? 0 : pread(fd, buffer, size, 0);

	while (n > 0 && isspace((unsigned char)buffer[n - 1]))
		n--;
	return n > 0 ? (size_t)n : 0;
}

int termination_add(const char *path, const char *message, struct error *err)
{
	char text[TERMINATION_MESSAGE_MAX + 1];
	size_t own = strlen(message) + strlen("; ");
	size_t size = read_present(path, text, TERMINATION_MESSAGE_MAX);

	if (size == 0 || own >= TERMINATION_MESSAGE_MAX)
		return termination_write(path, message, err);
	if (size > TERMINATION_MESSAGE_MAX - own)
		size = text_cut_utf8(text, size, TERMINATION_MESSAGE_MAX - own);
	snprintf(text + size, sizeof(text) - size, "; %s", message);
	return termination_write(path, text, err);
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
