#include "executor/process/record.h"

#include "executor/base/cleanup.h"
#include "executor/base/fd.h"
#include "executor/process/files.h"

#include <errno.h>
#include <fcntl.h>
#include <sched.h>
#include <signal.h>
#include <stdio.h>
#include <sys/pidfd.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <unistd.h>

#define FILE_NAME "pid"

/* Attempts against somebody who puts another file in the way each time. */
#define ROUNDS_MAX 16

/* What holder_of() says beside a process id. */
#define HELD_BY_NOBODY (-1)
#define HELD_ELSEWHERE 0

static bool is_marked(pid_t pid)
{
	int policy = sched_getscheduler(pid);

	return policy >= 0 && policy & SCHED_RESET_ON_FORK;
}

/* Children of a process with real-time policy or raised priority would start without it: such a
 * process is not marked, as the user's command has to inherit everything. */
static int mark(void)
{
	const struct sched_param ordinary = { .sched_priority = 0 };

	if (is_marked(0))
		return 0;
	if (sched_getscheduler(0) != SCHED_OTHER || getpriority(PRIO_PROCESS, 0) < 0)
		return -EPERM;
	return sched_setscheduler(0, SCHED_OTHER | SCHED_RESET_ON_FORK, &ordinary) < 0 ? -errno : 0;
}

static int lock(int fd)
{
	struct flock whole = { .l_type = F_WRLCK, .l_whence = SEEK_SET };

	return fcntl(fd, F_SETLK, &whole) < 0 ? -errno : 0;
}

/* Always a file of our own making: what lies there may be locked, linked or no file at all. */
static int create(int directory_fd)
{
	int fd, r = -EEXIST;

	for (unsigned i = 0; i < ROUNDS_MAX; i++) {
		if (unlinkat(directory_fd, FILE_NAME, 0) < 0 && errno != ENOENT)
			return -errno;
		fd = openat(directory_fd, FILE_NAME,
			    O_RDWR | O_CREAT | O_EXCL | O_NOFOLLOW | O_CLOEXEC, 0644);
		if (fd < 0 && errno != EEXIST)
			return -errno;
		if (fd < 0)
			continue;
		r = lock(fd);
		if (r == 0)
			return fd;
		close(fd);
		if (r != -EAGAIN && r != -EACCES)
			return r;
	}
	return r;
}

int record_leave(const char *root, const char *container, struct error *err)
{
	_cleanup_close_ int directory_fd = -1;
	char relative[256];
	int r = mark();

	if (r < 0)
		return error_errno(err, r, "mark this process");
	if (getpid() == 1)
		return 0;
	r = files_make_container_directory(root, container, err);
	if (r < 0)
		return r;
	snprintf(relative, sizeof(relative), "ctr/%s", container);
	directory_fd = file_open_beneath(root, relative, O_PATH | O_DIRECTORY, BENEATH_REFUSE, err);
	if (directory_fd < 0)
		return directory_fd;
	r = create(directory_fd);
	return r < 0 ? error_errno(err, r, "create %s/%s/" FILE_NAME, root, relative) : 0;
}

/* A process of this namespace, HELD_BY_NOBODY, or HELD_ELSEWHERE for one that it cannot name
 * (which is also the answer to a lock of an open file description). */
static pid_t holder_of(int fd)
{
	struct flock lock = { .l_type = F_RDLCK, .l_whence = SEEK_SET };

	if (fcntl(fd, F_GETLK, &lock) < 0)
		return HELD_ELSEWHERE;
	if (lock.l_type == F_UNLCK)
		return HELD_BY_NOBODY;
	return lock.l_pid > 0 ? lock.l_pid : HELD_ELSEWHERE;
}

static enum record_role ask(int fd, struct record_holder *ret)
{
	_cleanup_close_ int pidfd = -1;
	pid_t pid = holder_of(fd), again = pid;

	if (pid > 1) {
		pidfd = pidfd_open(pid, 0);
		/* The number may have changed hands in between. If it is the holder's now, then
		 * either that is the process which the descriptor stands for, or that has ended. */
		again = holder_of(fd);
	}
	if (again == HELD_BY_NOBODY)
		return RECORD_ENDED;
	if (again <= 1 || again != pid || !is_marked(pid))
		return RECORD_UNKNOWN;
	*ret = (struct record_holder){ .pid = pid, .pidfd = TAKE_FD(pidfd) };
	return RECORD_FOUND;
}

enum record_role record_find(const char *root, const char *container, struct record_holder *ret)
{
	_cleanup_close_ int fd = -1;
	struct error unused = ERROR_NONE;
	char relative[256];
	struct stat st;

	if (is_marked(1))
		return RECORD_FIRST;
	snprintf(relative, sizeof(relative), "ctr/%s/" FILE_NAME, container);
	fd = file_open_beneath(root, relative, O_RDONLY, BENEATH_REFUSE, &unused);
	if (fd < 0 || fstat(fd, &st) < 0 || !S_ISREG(st.st_mode))
		return RECORD_UNKNOWN;
	return ask(fd, ret);
}

int record_signal(const struct record_holder *holder, int signo)
{
	int r = holder->pidfd >= 0 ? pidfd_send_signal(holder->pidfd, signo, NULL, 0) :
				     kill(holder->pid, signo);

	return r < 0 ? -errno : 0;
}
