#include "emissary/leftovers.h"

#include "executor/base/clock.h"

#include <errno.h>
#include <signal.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

void leftovers_end(void)
{
	int64_t end_ms = clock_now_ms() + LEFTOVERS_MS;
	sigset_t child;

	if (getpid() != 1)
		return;
	sigemptyset(&child);
	sigaddset(&child, SIGCHLD);
	/* Orphans are ours as PID 1: when no child is left, nobody is. One that was forked just before
	 * is caught by the next round. */
	for (;;) {
		int64_t left_ms = end_ms - clock_now_ms();
		struct timespec patience = { left_ms / 1000, left_ms % 1000 * 1000000 };
		pid_t pid;

		if (kill(-1, SIGKILL) < 0)
			return;
		do
			pid = waitpid(-1, NULL, WNOHANG);
		while (pid > 0);
		/* Uninterruptible ones end when they can: they change nothing before. */
		if (pid < 0 || left_ms <= 0)
			return;
		sigtimedwait(&child, NULL, &patience); /* blocked: signals.h */
	}
}
