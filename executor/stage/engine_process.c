#include "executor/stage/engine_process.h"

#include "executor/base/cleanup.h"
#include "executor/process/child.h"

#include <errno.h>
#include <poll.h>
#include <signal.h>
#include <stdio.h>
#include <sys/pidfd.h>
#include <sys/prctl.h>
#include <sys/socket.h>
#include <sys/wait.h>

static int make_pair(int *ret_ours, int *ret_its, struct error *err)
{
	int ends[2];

	if (socketpair(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0, ends) < 0)
		return error_errno(err, -errno, "socketpair");
	*ret_ours = ends[0];
	*ret_its = ends[1];
	return 0;
}

int engine_process_start(struct engine_process *process, struct error *err)
{
	static char name[] = "argoexec", command[] = ENGINE_PROCESS_COMMAND;
	char *const argv[] = { name, command, NULL };
	_cleanup_close_ int orders = -1, asks = -1, its_orders = -1, its_asks = -1;
	int r = make_pair(&orders, &its_orders, err);

	if (r == 0)
		r = make_pair(&asks, &its_asks, err);
	if (r == 0)
		r = child_spawn(&(struct child_options){ .path = child_own_program(),
							 .argv = argv,
							 .envp = environ,
							 .stdin_fd = its_orders,
							 .stdout_fd = its_asks,
							 .stderr_fd = -1 },
				&process->pid, err);
	if (r < 0)
		return r;
	process->orders_fd = TAKE_FD(orders);
	process->asks_fd = TAKE_FD(asks);
	return 0;
}

/* Nothing ends while it waits for a disk. */
static bool has_ended(pid_t pid)
{
	_cleanup_close_ int fd = pidfd_open(pid, 0);
	struct pollfd end = { .fd = fd, .events = POLLIN };
	int r;

	if (fd < 0)
		return true;
	do
		r = poll(&end, 1, ENGINE_PROCESS_END_MS);
	while (r < 0 && errno == EINTR);
	return r != 0;
}

void engine_process_end(struct engine_process *process, char death[ENGINE_PROCESS_DEATH_MAX])
{
	siginfo_t info = { .si_pid = 0 };
	int r;

	if (process->pid == 0)
		return;
	close(TAKE_FD(process->orders_fd));
	close(TAKE_FD(process->asks_fd));
	kill(process->pid, SIGKILL);
	if (!has_ended(process->pid)) {
		process->pid = 0;
		if (death)
			snprintf(death, ENGINE_PROCESS_DEATH_MAX,
				 "waits for a disk and cannot be killed");
		return;
	}
	do
		r = waitid(P_PID, (id_t)process->pid, &info, WEXITED);
	while (r < 0 && errno == EINTR);
	process->pid = 0;
	if (death && r == 0 && info.si_code == CLD_EXITED)
		snprintf(death, ENGINE_PROCESS_DEATH_MAX, "ended with exit status %d",
			 info.si_status);
	else if (death && r == 0 && info.si_status != SIGKILL)
		snprintf(death, ENGINE_PROCESS_DEATH_MAX, "was killed by signal %d",
			 info.si_status);
	else if (death)
		snprintf(death, ENGINE_PROCESS_DEATH_MAX,
			 "was killed by signal 9 (out of memory?)");
}

void engine_process_begin(void)
{
	/* A role that was gone before this is seen by the end of the orders. */
	prctl(PR_SET_PDEATHSIG, SIGKILL);
	prctl(PR_SET_NAME, ENGINE_PROCESS_NAME);
}
