#include "executor/stage/engine_process.h"

#include "executor/base/cleanup.h"
#include "executor/confine/confine.h"
#include "executor/process/child.h"
#include "executor/stage/engine_environment.h"

#include <errno.h>
#include <fcntl.h>
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
	_cleanup_close_ int notices = -1, its_notices = -1;
	_cleanup_free_ char **environment = engine_environment();
	int ends[2], r = make_pair(&orders, &its_orders, err);

	if (r == 0)
		r = make_pair(&asks, &its_asks, err);
	if (r == 0 && !environment)
		r = error_set(err, -ENOMEM, "out of memory");
	if (r == 0 && pipe2(ends, O_CLOEXEC | O_NONBLOCK) < 0)
		r = error_errno(err, -errno, "pipe");
	if (r < 0)
		return r;
	notices = ends[0];
	its_notices = ends[1];
	r = child_spawn(&(struct child_options){ .path = child_own_program(),
						 .argv = argv,
						 .envp = environment,
						 .stdin_fd = its_orders,
						 .stdout_fd = its_asks,
						 .stderr_fd = -1 },
			&process->pid, err);
	if (r < 0)
		return r;
	process->orders_fd = TAKE_FD(orders);
	process->asks_fd = TAKE_FD(asks);
	process->notices_fd = TAKE_FD(notices);
	process->its_notices_fd = TAKE_FD(its_notices);
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

void engine_process_has_notices(struct engine_process *process)
{
	cleanup_close(&process->its_notices_fd);
	process->its_notices_fd = -1;
}

static void describe_death(const siginfo_t *info, const char *call,
			   char death[ENGINE_PROCESS_DEATH_MAX])
{
	if (call)
		snprintf(death, ENGINE_PROCESS_DEATH_MAX, "was stopped at the system call %s",
			 call);
	else if (info->si_code == CLD_EXITED)
		snprintf(death, ENGINE_PROCESS_DEATH_MAX, "ended with exit status %d",
			 info->si_status);
	else if (info->si_status == SIGSYS)
		snprintf(death, ENGINE_PROCESS_DEATH_MAX, "was killed at a forbidden system call");
	else if (info->si_status != SIGKILL)
		snprintf(death, ENGINE_PROCESS_DEATH_MAX, "was killed by signal %d",
			 info->si_status);
	else
		snprintf(death, ENGINE_PROCESS_DEATH_MAX,
			 "was killed by signal 9 (out of memory?)");
}

void engine_process_end(struct engine_process *process, char death[ENGINE_PROCESS_DEATH_MAX])
{
	siginfo_t info = { .si_code = CLD_KILLED, .si_status = SIGKILL };
	char call[CONFINE_CALL_NAME_MAX];
	bool is_refusal;
	int r;

	if (process->pid == 0)
		return;
	close(TAKE_FD(process->orders_fd));
	close(TAKE_FD(process->asks_fd));
	engine_process_has_notices(process);
	kill(process->pid, SIGKILL);
	if (!has_ended(process->pid)) {
		process->pid = 0;
		close(TAKE_FD(process->notices_fd));
		if (death)
			snprintf(death, ENGINE_PROCESS_DEATH_MAX,
				 "waits for a disk and cannot be killed");
		return;
	}
	do
		r = waitid(P_PID, (id_t)process->pid, &info, WEXITED);
	while (r < 0 && errno == EINTR);
	process->pid = 0;
	/* However it ended then: its end and our SIGKILL may have met. */
	is_refusal = confine_notice(process->notices_fd, call);
	close(TAKE_FD(process->notices_fd));
	if (death)
		describe_death(&info, is_refusal ? call : NULL, death);
}

void engine_process_begin(void)
{
	/* A role that was gone before this is seen by the end of the orders. */
	prctl(PR_SET_PDEATHSIG, SIGKILL);
	prctl(PR_SET_NAME, ENGINE_PROCESS_NAME);
}
