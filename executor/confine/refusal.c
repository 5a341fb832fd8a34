/* A system call beyond the table: what the process that makes it does, and what others learn of it. */
#include "executor/confine/layers.h"

#include <errno.h>
#include <fcntl.h>
#include <seccomp.h>
#include <signal.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/types.h>
#include <unistd.h>

struct notice {
	int32_t number;
	uint32_t architecture; /* AUDIT_ARCH_… */
};

static void name_call(const struct notice *notice, char name[static CONFINE_CALL_NAME_MAX])
{
	char *resolved = seccomp_syscall_resolve_num_arch(notice->architecture, notice->number);

	if (resolved)
		snprintf(name, CONFINE_CALL_NAME_MAX, "%s", resolved);
	else
		snprintf(name, CONFINE_CALL_NAME_MAX, "number %d", notice->number);
	free(resolved);
}

/* --- in the process that makes it ------------------------------------------------------------ */

/* A signal handler has no other way to know: set once, before the filter. */
static struct {
	int notice_fd;
	const char *termination_log;
} told;

/* As failure_report() would: to the log, and to the controller. Asking for the name takes memory; but the
 * signal is this thread's own call, and what malloc(3) calls is in every table. */
static void say(const struct notice *notice)
{
	static const char before[] = "Error: ";
	char name[CONFINE_CALL_NAME_MAX], text[sizeof(name) + 64];
	int size, fd;

	name_call(notice, name);
	size = snprintf(text, sizeof(text), "%sstopped at the system call %s\n", before, name);
	(void)!write(STDERR_FILENO, text, (size_t)size);
	fd = told.termination_log ? open(told.termination_log, O_WRONLY | O_CLOEXEC) : -1;
	if (fd < 0 || ftruncate(fd, 0) < 0)
		return;
	(void)!write(fd, text + strlen(before), (size_t)size - strlen(before) - 1);
}

/* Calls only what is in every table. The signal may come on any stack, of any thread. */
static void on_refusal(int signo, siginfo_t *info, void *context)
{
	const struct notice notice = { .number = info->si_syscall, .architecture = info->si_arch };

	(void)signo;
	(void)context;
	/* By kill(2), from whoever may. */
	if (info->si_code <= 0)
		return;
	if (told.notice_fd >= 0)
		(void)!write(told.notice_fd, &notice, sizeof(notice));
	else
		say(&notice);
	_exit(CONFINE_EXIT_STATUS);
}

/* A blocked SIGSYS would end the process without a word. */
int confine_refusals(const struct confine_options *options)
{
	struct sigaction action = { .sa_sigaction = on_refusal, .sa_flags = SA_SIGINFO };
	sigset_t only;

	told.notice_fd = options->notice_fd;
	told.termination_log = options->termination_log;
	sigemptyset(&only);
	sigaddset(&only, SIGSYS);
	if (sigaction(SIGSYS, &action, NULL) < 0 || sigprocmask(SIG_UNBLOCK, &only, NULL) < 0)
		return -errno;
	return 0;
}

/* --- seen from outside ----------------------------------------------------------------------- */

bool confine_notice(int fd, char name[static CONFINE_CALL_NAME_MAX])
{
	struct notice notice;

	if (read(fd, &notice, sizeof(notice)) != sizeof(notice))
		return false;
	name_call(&notice, name);
	return true;
}
