#include "executor/report/journal_place.h"

#include "executor/base/buffer.h"
#include "executor/base/cleanup.h"
#include "executor/base/fd.h"
#include "executor/base/path.h"

#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <sys/file.h>
#include <sys/stat.h>
#include <unistd.h>

#define MOUNTINFO "/proc/self/mountinfo"
#define MOUNTINFO_BYTES_MAX ((size_t)4 * 1024 * 1024)

/* Fields of a line of proc_pid_mountinfo(5). */
struct mount {
	const char *device, *root, *point;
};

/* Cuts the line into its fields. */
static bool read_mount(char *line, struct mount *ret)
{
	char *fields[5], *state = NULL;

	for (size_t i = 0; i < sizeof(fields) / sizeof(fields[0]); i++) {
		fields[i] = strtok_r(i ? NULL : line, " ", &state);
		if (!fields[i])
			return false;
	}
	*ret = (struct mount){ .device = fields[2], .root = fields[3], .point = fields[4] };
	return true;
}

/* Something in one of them is seen in the other. */
static bool is_overlapping(const struct mount *a, const struct mount *b)
{
	return strcmp(a->device, b->device) == 0 &&
	       (path_is_at_or_below(a->root, b->root) || path_is_at_or_below(b->root, a->root));
}

bool journal_place_is_private(const char *mountinfo, const char *directory)
{
	_cleanup_free_ char *first = strdup(mountinfo), *second = strdup(mountinfo);
	struct mount own = { .point = NULL }, mount;
	char *state = NULL, *line;

	if (!first || !second)
		return false;
	/* The last one mounted there is the one that is seen. */
	for (line = strtok_r(first, "\n", &state); line; line = strtok_r(NULL, "\n", &state))
		if (read_mount(line, &mount) && strcmp(mount.point, directory) == 0)
			own = mount;
	if (!own.point)
		return false;
	for (line = strtok_r(second, "\n", &state); line; line = strtok_r(NULL, "\n", &state))
		if (!read_mount(line, &mount) ||
		    (strcmp(mount.point, directory) != 0 && is_overlapping(&mount, &own)))
			return false;
	return true;
}

static int check_directory(const char *directory, struct error *err)
{
	_cleanup_buffer_ struct buffer mountinfo = BUFFER_INIT(MOUNTINFO_BYTES_MAX);
	_cleanup_close_ int fd = open(MOUNTINFO, O_RDONLY | O_CLOEXEC);
	int r = fd < 0 ? -errno : fd_read_all(fd, &mountinfo);

	if (r < 0)
		return error_errno(err, r, "read " MOUNTINFO);
	if (!journal_place_is_private(buffer_string(&mountinfo), directory))
		return error_set(err, -ENOTUNIQ,
				 "%s is no volume that this container has for itself", directory);
	return 0;
}

static int check_file(int fd, const char *directory, struct error *err)
{
	struct stat st;

	if (fstat(fd, &st) < 0)
		return error_errno(err, -errno, "stat %s/" JOURNAL_PLACE_NAME, directory);
	if (!S_ISREG(st.st_mode) || st.st_uid != geteuid() || st.st_nlink != 1 ||
	    (st.st_mode & 07077))
		return error_set(err, -EPERM, "%s/" JOURNAL_PLACE_NAME " is not ours alone",
				 directory);
	if (flock(fd, LOCK_EX | LOCK_NB) < 0)
		return error_errno(err, errno == EWOULDBLOCK ? -EBUSY : -errno,
				   "lock %s/" JOURNAL_PLACE_NAME, directory);
	return 0;
}

int journal_place_open(const char *directory, struct error *err)
{
	_cleanup_close_ int directory_fd = -1, fd = -1;
	int r = check_directory(directory, err);

	if (r < 0)
		return r;
	directory_fd = open(directory, O_PATH | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC);
	if (directory_fd < 0)
		return error_errno(err, -errno, "open %s", directory);
	fd = openat(directory_fd, JOURNAL_PLACE_NAME,
		    O_RDWR | O_CREAT | O_NOFOLLOW | O_NONBLOCK | O_NOCTTY | O_CLOEXEC, 0600);
	if (fd < 0)
		return error_errno(err, -errno, "open %s/" JOURNAL_PLACE_NAME, directory);
	r = check_file(fd, directory, err);
	return r < 0 ? r : TAKE_FD(fd);
}

void journal_place_remove(const char *directory, int fd)
{
	_cleanup_close_ int directory_fd =
		open(directory, O_PATH | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC);
	struct stat own, there;

	if (directory_fd >= 0 && fstat(fd, &own) == 0 &&
	    fstatat(directory_fd, JOURNAL_PLACE_NAME, &there, AT_SYMLINK_NOFOLLOW) == 0 &&
	    own.st_dev == there.st_dev && own.st_ino == there.st_ino)
		unlinkat(directory_fd, JOURNAL_PLACE_NAME, 0);
}
