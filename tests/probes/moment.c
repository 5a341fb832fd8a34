/*
 * moment: says when it runs, by the real-time clock.
 *
 *	moment [TEXT]		a line "SECONDS.NANOSECONDS TEXT" to stdout
 *	moment --on SIGNAL	the line "ready", then such a line when that signal comes
 *	moment --file FILE [COUNT]
 *				two 64-bit counts of nanoseconds to the start of FILE, which has to
 *				hold 16 bytes: when main began, and right before the end; COUNT
 *				children have ended by then that nobody has waited for
 */
#include <fcntl.h>
#include <signal.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

static uint64_t now(void)
{
	struct timespec time;

	clock_gettime(CLOCK_REALTIME, &time);
	return (uint64_t)time.tv_sec * 1000000000u + (uint64_t)time.tv_nsec;
}

static int leave_zombies(long count)
{
	for (; count > 0; count--) {
		siginfo_t info;
		pid_t pid = fork();

		if (pid == 0)
			_exit(0);
		if (pid < 0 || waitid(P_PID, (id_t)pid, &info, WEXITED | WNOWAIT) < 0) {
			perror("fork");
			return 1;
		}
	}
	return 0;
}

/* A mapping, because the last store to it costs no system call after the clock was read. */
static int stamp(uint64_t began, const char *path)
{
	volatile uint64_t *times;
	int fd = open(path, O_RDWR | O_CLOEXEC);

	if (fd < 0) {
		perror(path);
		return 1;
	}
	times = mmap(NULL, 16, PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0);
	if (times == MAP_FAILED) {
		perror(path);
		return 1;
	}
	times[0] = began;
	times[1] = now();
	_exit(0);
}

static int wait_for(int signo)
{
	sigset_t set;

	sigemptyset(&set);
	sigaddset(&set, signo);
	sigprocmask(SIG_BLOCK, &set, NULL);
	puts("ready");
	return fflush(stdout) != 0 || sigwaitinfo(&set, NULL) < 0;
}

int main(int argc, char **argv)
{
	uint64_t began = now();

	if (argc > 2 && strcmp(argv[1], "--file") == 0) {
		if (argc > 3 && leave_zombies(strtol(argv[3], NULL, 10)) != 0)
			return 1;
		return stamp(began, argv[2]);
	}
	if (argc == 3 && strcmp(argv[1], "--on") == 0) {
		if (wait_for((int)strtol(argv[2], NULL, 10)) != 0)
			return 1;
		began = now();
	}
	printf("%llu.%09llu%s%s\n", (unsigned long long)(began / 1000000000u),
	       (unsigned long long)(began % 1000000000u), argc > 1 ? " " : "",
	       argc > 1 ? argv[1] : "");
	return fflush(stdout) != 0;
}
