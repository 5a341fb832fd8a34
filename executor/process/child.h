/* A child process: started with nothing of ours left in it, waited for without blocking. */
#pragma once

#include "executor/base/error.h"
#include "executor/process/signals.h"

#include <stdbool.h>
#include <sys/types.h>

struct child_options {
	const char *path; /* executed as it is; no search */
	char *const *argv;
	char *const *envp;
	int stdin_fd, stdout_fd, stderr_fd; /* -1 = inherited */
	bool has_terminal; /* stdin_fd is a pty slave: new session, controlling terminal */
	const struct signals *signals; /* whose mask to give back; NULL = it keeps ours */
};

/*
 * Forks and executes. Without has_terminal the child leads a new process group in our session.
 * Returns 0 and the pid once exec(2) has succeeded, or the negative errno with which it (or
 * anything before it) failed, err filled with "fork/exec <path>: <reason>". The failed child has
 * been reaped then.
 */
int child_spawn(const struct child_options *options, pid_t *ret_pid, struct error *err);

/* The file that this process was executed from, for open(2) or execve(2): it may have been replaced
 * under its name, or removed. */
const char *child_own_program(void);

/* What waitid(2) said, as a shell's status: n for exit(n), 128+s for a death by signal s. */
struct child_status {
	bool is_signalled;
	int number; /* exit code or signal */
};
int child_status_code(const struct child_status *status);

/*
 * Reaps whatever has ended. Returns 1 and fills *ret when `pid` is among them, else 0; orphans
 * that we inherited (as PID 1 or subreaper) are reaped and forgotten. The wanted child is looked
 * at first, so a crowd of zombies does not delay its end.
 */
int child_reap(pid_t pid, struct child_status *ret);

/* Sends signo to the process group that pid leads; to pid alone if there is no such group.
 * 0 or a negative errno. */
int child_signal_group(pid_t pid, int signo);

/* Resolves a command as execvp(3) would, under the rules of Go's exec.LookPath that Argo's users
 * know: a name with a slash must be an executable file; any other is searched in `path`
 * ($PATH); a hit through an empty or relative entry is refused. Caller frees *ret. The message for
 * a miss is `exec: "<name>": executable file not found in $PATH`. */
int child_find_program(const char *name, const char *path, char **ret, struct error *err);
