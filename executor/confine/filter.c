#include "executor/base/cleanup.h"
#include "executor/confine/calls.h"

#include <errno.h>
#include <signal.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

/* --- a refused call, in the process that makes it ----------------------------------------- */

struct notice {
	int32_t number;
	uint32_t architecture; /* AUDIT_ARCH_… */
};

/* A signal handler has no other way to know: set once, before the filter. */
static int notice_fd = -1;

/* To a person, by its number: what knows names needs memory. */
static void say(unsigned number)
{
	char text[] = "Error: stopped at system call           \n";
	char *digit = text + sizeof(text) - 3;

	for (; number > 0; number /= 10)
		*digit-- = (char)('0' + number % 10);
	(void)!write(STDERR_FILENO, text, sizeof(text) - 1);
}

/* Calls two functions, both of the table. The signal may come on any stack, of any thread. */
static void on_refusal(int signo, siginfo_t *info, void *context)
{
	const struct notice notice = { .number = info->si_syscall, .architecture = info->si_arch };

	(void)signo;
	(void)context;
	/* By kill(2), from whoever may. */
	if (info->si_code <= 0)
		return;
	if (notice_fd >= 0)
		(void)!write(notice_fd, &notice, sizeof(notice));
	else
		say((unsigned)notice.number);
	_exit(CONFINE_EXIT_STATUS);
}

/* A blocked SIGSYS would end the process without a word. */
static int handle_refusals(int fd)
{
	struct sigaction action = { .sa_sigaction = on_refusal, .sa_flags = SA_SIGINFO };
	sigset_t only;

	notice_fd = fd;
	sigemptyset(&only);
	sigaddset(&only, SIGSYS);
	if (sigaction(SIGSYS, &action, NULL) < 0 || sigprocmask(SIG_UNBLOCK, &only, NULL) < 0)
		return -errno;
	return 0;
}

/* --- the filter --------------------------------------------------------------------------- */

static void release(scmp_filter_ctx *filter)
{
	if (*filter)
		seccomp_release(*filter);
}

static uint32_t action_of(const struct confine_call *call, bool is_recording)
{
	if (call->failure == CONFINE_CALL_KILLS)
		return is_recording ? SCMP_ACT_LOG : SCMP_ACT_KILL_PROCESS;
	return call->failure ? SCMP_ACT_ERRNO((uint32_t)call->failure) : SCMP_ACT_ALLOW;
}

static int add(scmp_filter_ctx filter, const struct confine_call *call, bool is_recording)
{
	uint32_t action = action_of(call, is_recording);

	/* What is done anyway need not be said, and may not be. */
	if (is_recording && action == SCMP_ACT_LOG)
		return 0;
	/* One that this architecture does not have (open on arm64) is left out by libseccomp. */
	return seccomp_rule_add_array(filter, action, call->number, call->argument_count,
				      call->arguments);
}

int confine_filter(enum confine_kind kind, bool is_recording, int fd)
{
	_cleanup_(release) scmp_filter_ctx filter = NULL;
	const struct confine_call *call = confine_calls(kind, 0);
	int r = 0;

	if (!call)
		return -ENOENT;
	filter = seccomp_init(is_recording ? SCMP_ACT_LOG : SCMP_ACT_TRAP);
	if (!filter)
		return -ENOMEM;
	/* Whose calls have another numbering is no program of ours. */
	r = seccomp_attr_set(filter, SCMP_FLTATR_ACT_BADARCH, SCMP_ACT_KILL_PROCESS);
	/* no_new_privs is a layer of its own: who has CAP_SYS_ADMIN needs none for this. */
	if (r == 0)
		r = seccomp_attr_set(filter, SCMP_FLTATR_CTL_NNP, 0);
	/* The errno of seccomp(2), not one for all. */
	if (r == 0)
		r = seccomp_attr_set(filter, SCMP_FLTATR_API_SYSRAWRC, 1);
	/* A tree instead of a list: the way to any call is short. */
	if (r == 0)
		r = seccomp_attr_set(filter, SCMP_FLTATR_CTL_OPTIMIZE, 2);
	for (size_t i = 1; r == 0 && call; i++) {
		r = add(filter, call, is_recording);
		call = confine_calls(kind, i);
	}
	/* abort(3) says how it ends. */
	if (r == 0)
		r = seccomp_rule_add(filter, SCMP_ACT_ALLOW, SCMP_SYS(tgkill), 1,
				     SCMP_A0_32(SCMP_CMP_EQ, (uint32_t)getpid()));
	if (r == 0)
		r = handle_refusals(fd);
	return r < 0 ? r : seccomp_load(filter);
}

/* --- a refused call, seen from outside ------------------------------------------------------ */

bool confine_notice(int fd, char name[static CONFINE_CALL_NAME_MAX])
{
	struct notice notice;
	char *resolved;

	if (read(fd, &notice, sizeof(notice)) != sizeof(notice))
		return false;
	resolved = seccomp_syscall_resolve_num_arch(notice.architecture, notice.number);
	if (resolved)
		snprintf(name, CONFINE_CALL_NAME_MAX, "%s", resolved);
	else
		snprintf(name, CONFINE_CALL_NAME_MAX, "system call %d", notice.number);
	free(resolved);
	return true;
}
