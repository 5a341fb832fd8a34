/*
 * Which process is a container's role, where it is not PID 1: pods with `shareProcessNamespace`,
 * whose first process is the runtime's pause process, and pods with `hostPID`.
 *
 * The kernel keeps the record. A role holds a POSIX write lock on ctr/<container>/pid to its end,
 * and F_GETLK translates the holder into the PID namespace of whoever asks: no content to believe,
 * nothing to clean up, no /proc. It also marks itself, as fork(2) does not hand the mark down:
 * SCHED_RESET_ON_FORK, which anybody may set and nobody but CAP_SYS_NICE may take away, and which
 * means nothing to a process of ordinary priority. Where PID 1 bears it no file is looked at.
 *
 * User code can remove or replace the file. With a lock of its own it can only be named itself;
 * with a hard link to another container's record, that container's role. A lock of a descriptor
 * table that two processes shared (CLONE_FILES) survives the one that took it, whose number may
 * come to mean a third process; that one would have to bear the mark. So the worst is that a role
 * of this pod gets a signal that the controller has sent to this pod.
 */
#pragma once

#include "executor/base/error.h"

#include <sys/types.h>

/*
 * Makes the caller the role of that container until it ends; a descriptor stays open as long, by
 * design. POSIX locks go when any descriptor of the file is closed: it must not be opened again.
 * As PID 1, the ordinary case, the mark suffices and no file is made. Call it before user code
 * runs, with the umask 0. On a negative errno `argoexec kill` will do just what it is asked to.
 */
int record_leave(const char *root, const char *container, struct error *err);

enum record_role {
	RECORD_UNKNOWN, /* no record, or one that says nothing certain */
	RECORD_FIRST, /* PID 1 is a role, and the only one in this namespace */
	RECORD_FOUND,
	RECORD_ENDED, /* there was one; its container is about to go */
};

struct record_holder {
	pid_t pid; /* as seen from here */
	int pidfd; /* -1 where the kernel (before 5.3) or a filter has none to give */
};

/* Who would have to get a signal for PID 1 in that container. Fills *ret only when RECORD_FOUND;
 * the caller closes the pidfd. */
enum record_role record_find(const char *root, const char *container, struct record_holder *ret);

/* The signal, to that very process: 0, -ESRCH if it has ended, or another negative errno. */
int record_signal(const struct record_holder *holder, int signo);
