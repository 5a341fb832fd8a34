/*
 * spawn: runs a command many times, as PID 1 of a PID namespace each, and says how long it took.
 *
 *	spawn [--beside] COUNT TIMES EXPECTED SOCKET COMMAND [ARGUMENT...]
 *
 * With --beside the command runs in the PID namespace of spawn itself, and what it says goes to
 * /dev/null: whoever reads it would run in the middle of what is measured.
 * TIMES is a file of 16 bytes that `moment --file TIMES` fills when the command comes to run it;
 * EXPECTED a file that each run has to leave, removed afterwards; SOCKET a socket of packets that
 * each run has to connect to, listening from the start. "-" stands for none of each.
 * A line for each run, in nanoseconds: from fork to the first moment, from the last moment to the
 * command's end, from fork to the command's end; then its peak resident size in KiB. "-1" where
 * there is no moment. Exit code 1 as soon as a run fails.
 */
#include <errno.h>
#include <fcntl.h>
#include <sched.h>
#include <signal.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <sys/syscall.h>
#include <sys/un.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

static int64_t now(void)
{
	struct timespec time;

	clock_gettime(CLOCK_REALTIME, &time);
	return (int64_t)time.tv_sec * 1000000000 + time.tv_nsec;
}

static int fail(const char *what)
{
	fprintf(stderr, "spawn: %s: %s\n", what, strerror(errno));
	return 1;
}

static volatile int64_t *map(const char *path)
{
	int fd = open(path, O_RDWR | O_CREAT | O_CLOEXEC, 0666);
	void *memory;

	if (fd < 0 || ftruncate(fd, 16) < 0)
		return NULL;
	memory = mmap(NULL, 16, PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0);
	close(fd);
	return memory == MAP_FAILED ? NULL : memory;
}

static int run(char **command, int namespace, int64_t *ret_began, int64_t *ret_ended, long *ret_rss)
{
	struct rusage usage;
	int status;
	pid_t pid;

	*ret_began = now();
	pid = (pid_t)syscall(SYS_clone, namespace | SIGCHLD, NULL, NULL, NULL, NULL);
	if (pid < 0)
		return fail("clone");
	if (pid == 0) {
		if (namespace == 0)
			dup2(open("/dev/null", O_WRONLY | O_CLOEXEC), STDOUT_FILENO);
		execv(command[0], command);
		_exit(127);
	}
	if (wait4(pid, &status, 0, &usage) < 0)
		return fail("wait4");
	*ret_ended = now();
	*ret_rss = usage.ru_maxrss;
	if (!WIFEXITED(status) || WEXITSTATUS(status) != 0) {
		fprintf(stderr, "spawn: %s ended with status %#x\n", command[0], (unsigned)status);
		return 1;
	}
	return 0;
}

static int listen_at(const char *path)
{
	struct sockaddr_un address = { .sun_family = AF_UNIX };
	int fd = socket(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);

	snprintf(address.sun_path, sizeof(address.sun_path), "%s", path);
	if (fd < 0 || bind(fd, (struct sockaddr *)&address, sizeof(address)) < 0 ||
	    listen(fd, 1) < 0)
		return -1;
	return fd;
}

/* Where a run takes place, and what it has to have done beside ending well. */
struct traces {
	int namespace; /* CLONE_NEWPID or 0 */
	volatile int64_t *times;
	const char *expected;
	int socket_fd;
};

static int find(const struct traces *traces)
{
	int fd;

	if (traces->expected && unlink(traces->expected) < 0)
		return fail(traces->expected);
	if (traces->times && traces->times[1] == 0) {
		fprintf(stderr, "spawn: the command did not run moment\n");
		return 1;
	}
	if (traces->socket_fd >= 0) {
		fd = accept(traces->socket_fd, NULL, NULL);
		if (fd < 0)
			return fail("nobody connected");
		close(fd);
	}
	return 0;
}

static int measure(char **command, const struct traces *traces)
{
	volatile int64_t *times = traces->times;
	int64_t began, ended, first = -1, last = -1;
	long rss;

	if (times)
		times[0] = times[1] = 0;
	if (run(command, traces->namespace, &began, &ended, &rss) != 0 || find(traces) != 0)
		return 1;
	if (times) {
		first = times[0] - began;
		last = ended - times[1];
	}
	printf("%lld %lld %lld %ld\n", (long long)first, (long long)last,
	       (long long)(ended - began), rss);
	return 0;
}

static const char *given(const char *argument)
{
	return strcmp(argument, "-") == 0 ? NULL : argument;
}

int main(int argc, char **argv)
{
	struct traces traces = { .namespace = CLONE_NEWPID, .socket_fd = -1 };

	if (argc > 1 && strcmp(argv[1], "--beside") == 0) {
		traces.namespace = 0;
		argc--;
		argv++;
	}
	if (argc < 6) {
		fprintf(stderr,
			"usage: spawn [--beside] COUNT TIMES|- EXPECTED|- SOCKET|- COMMAND...\n");
		return 64;
	}
	if (given(argv[2])) {
		traces.times = map(argv[2]);
		if (!traces.times)
			return fail(argv[2]);
	}
	traces.expected = given(argv[3]);
	if (given(argv[4])) {
		traces.socket_fd = listen_at(argv[4]);
		if (traces.socket_fd < 0)
			return fail(argv[4]);
	}
	for (long left = strtol(argv[1], NULL, 10); left > 0; left--)
		if (measure(argv + 5, &traces) != 0)
			return 1;
	return 0;
}
