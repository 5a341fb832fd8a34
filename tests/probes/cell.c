/*
 * cell: a bare container. PID and mount namespaces of its own, in a root that somebody has made.
 *
 *	cell run STATUS_FD ROOT [SOURCE:TARGET...] -- COMMAND [ARGUMENT...]
 *	cell enter PID -- COMMAND [ARGUMENT...]
 *
 * run: SOURCE is mounted on ROOT/TARGET, fresh ones on ROOT/proc and ROOT/tmp; then COMMAND runs as
 * PID 1 of ROOT, with our streams and environment. To STATUS_FD, a socket, go "pid N\n" and, when
 * it has ended, "exit N T\n" or "signal N T\n" with the time by the monotonic clock, in nanoseconds.
 * It stays a zombie, and its pid its own, until the other end of STATUS_FD is closed; if that
 * happens earlier, it is killed.
 *
 * enter: COMMAND runs in the namespaces and the root of that process, as an exec of a container
 * runtime does. Ends with its exit code; 125 if the container is gone.
 */
#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <sched.h>
#include <signal.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mount.h>
#include <sys/pidfd.h>
#include <sys/prctl.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#define GONE 125

static int fail(const char *what)
{
	fprintf(stderr, "cell: %s: %s\n", what, strerror(errno));
	return GONE;
}

static const char *beneath(char path[512], const char *root, const char *name)
{
	snprintf(path, 512, "%s/%s", root, name);
	return path;
}

static bool arrange(const char *root, char **mounts, int count)
{
	char path[512];

	if (unshare(CLONE_NEWNS | CLONE_NEWPID) < 0)
		return false;
	for (int i = 0; i < count; i++) {
		char *target = strchr(mounts[i], ':');

		*target++ = '\0';
		if (mount(mounts[i], beneath(path, root, target), NULL, MS_BIND, NULL) < 0)
			return false;
	}
	return mount("tmpfs", beneath(path, root, "tmp"), "tmpfs", 0, "mode=1777") == 0;
}

static void become(const char *root, char **command)
{
	char path[512];

	prctl(PR_SET_PDEATHSIG, SIGKILL);
	if (mount("proc", beneath(path, root, "proc"), "proc", 0, NULL) < 0 || chroot(root) < 0 ||
	    chdir("/") < 0)
		_exit(fail(root));
	execv(command[0], command);
	_exit(fail(command[0]));
}

static void tell_end(int fd, pid_t pid)
{
	siginfo_t info = { 0 };
	struct timespec time;

	while (waitid(P_PID, (id_t)pid, &info, WEXITED | WNOWAIT) < 0)
		;
	clock_gettime(CLOCK_MONOTONIC, &time);
	dprintf(fd, "%s %d %lld\n", info.si_code == CLD_EXITED ? "exit" : "signal", info.si_status,
		(long long)time.tv_sec * 1000000000 + time.tv_nsec);
}

/* Tells of the end, then waits for the other end to be closed. */
static void watch(int fd, pid_t pid)
{
	struct pollfd fds[] = { { .fd = fd, .events = POLLIN },
				{ .fd = pidfd_open(pid, 0), .events = POLLIN } };
	char byte;

	for (;;) {
		if (poll(fds, 2, -1) < 0)
			continue;
		if (fds[1].revents) {
			tell_end(fd, pid);
			fds[1].fd = -1;
			fds[1].revents = 0;
		}
		if (fds[0].revents && read(fd, &byte, 1) <= 0)
			return;
	}
}

static int run(int fd, const char *root, char **mounts, int count, char **command)
{
	pid_t pid;

	fcntl(fd, F_SETFD, FD_CLOEXEC);
	signal(SIGPIPE, SIG_IGN);
	if (!arrange(root, mounts, count))
		return fail("namespaces");
	pid = fork();
	if (pid < 0)
		return fail("fork");
	if (pid == 0) {
		/* Whoever started the tests may ignore some. */
		for (int signo = 1; signo <= SIGRTMAX; signo++)
			signal(signo, SIG_DFL);
		become(root, command);
	}
	/* Nobody may think that the streams are open because we have them. */
	for (int i = 0; i < 3; i++)
		close(i);
	dprintf(fd, "pid %d\n", (int)pid);
	watch(fd, pid);
	kill(pid, SIGKILL);
	waitpid(pid, NULL, 0);
	return 0;
}

static int enter(const char *pid, char **command)
{
	static const char *const spaces[] = { "ns/mnt", "ns/pid" };
	char path[64];
	int root, status, fds[2];
	pid_t child;

	snprintf(path, sizeof(path), "/proc/%s/root", pid);
	root = open(path, O_PATH | O_CLOEXEC);
	for (int i = 0; i < 2; i++) {
		snprintf(path, sizeof(path), "/proc/%s/%s", pid, spaces[i]);
		fds[i] = open(path, O_RDONLY | O_CLOEXEC);
	}
	if (root < 0 || setns(fds[0], 0) < 0 || setns(fds[1], 0) < 0 || fchdir(root) < 0 ||
	    chroot(".") < 0)
		return fail("enter");
	child = fork();
	if (child == 0) {
		execv(command[0], command);
		_exit(GONE);
	}
	if (child < 0 || waitpid(child, &status, 0) < 0)
		return fail("fork");
	return WIFEXITED(status) ? WEXITSTATUS(status) : GONE;
}

int main(int argc, char **argv)
{
	int dash = 1;

	while (dash < argc && strcmp(argv[dash], "--") != 0)
		dash++;
	if (dash + 1 < argc && dash == 3 && strcmp(argv[1], "enter") == 0)
		return enter(argv[2], argv + dash + 1);
	if (dash + 1 < argc && dash >= 4 && strcmp(argv[1], "run") == 0)
		return run((int)strtol(argv[2], NULL, 10), argv[3], argv + 4, dash - 4,
			   argv + dash + 1);
	fprintf(stderr, "cell: what?\n");
	return 64;
}
