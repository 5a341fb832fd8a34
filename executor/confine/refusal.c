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

/* --- in the process that makes it ------------------------------------------------------------ */

struct notice {
	int32_t number;
	uint32_t architecture; /* AUDIT_ARCH_… */
};

/* More than there are numbers, and more than the longest name. */
#define NUMBERS 512
#define NAME_SIZE 32

/* A signal handler has no other way to know: set once, before the filter. */
static struct {
	int notice_fd;
	const char *termination_log;
	char (*names)[NAME_SIZE]; /* by number; of a process that nobody listens to */
} told;

static void append(char **end, const char *text)
{
	*end = stpcpy(*end, text);
}

static void append_number(char **end, unsigned number)
{
	char digits[16] = "", *digit = digits + sizeof(digits) - 1;

	do
		*--digit = (char)('0' + number % 10);
	while (number /= 10);
	append(end, digit);
}

/* As failure_report() would: to the log, and to the controller. */
static void say(unsigned number)
{
	static const char before[] = "Error: ";
	char text[128], *end = text;
	bool has_name = told.names && number < NUMBERS && told.names[number][0];
	int fd;

	append(&end, before);
	append(&end, "stopped at the system call ");
	if (has_name)
		append(&end, told.names[number]);
	else
		append_number(&end, number);
	*end = '\n';
	(void)!write(STDERR_FILENO, text, (size_t)(end + 1 - text));
	fd = told.termination_log ? open(told.termination_log, O_WRONLY | O_CLOEXEC) : -1;
	if (fd < 0 || ftruncate(fd, 0) < 0)
		return;
	(void)!write(fd, text + sizeof(before) - 1, (size_t)(end - text) - (sizeof(before) - 1));
}

/* Calls only what is async-signal-safe, and in every table. The signal may come on any stack, of any
 * thread. */
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
		say((unsigned)notice.number);
	_exit(CONFINE_EXIT_STATUS);
}

/* What knows names needs memory, which a handler cannot ask for. */
static void prepare_names(void)
{
	told.names = calloc(NUMBERS, sizeof(*told.names));
	for (int i = 0; told.names && i < NUMBERS; i++) {
		char *name = seccomp_syscall_resolve_num_arch(SCMP_ARCH_NATIVE, i);

		if (name)
			snprintf(told.names[i], NAME_SIZE, "%s", name);
		free(name);
	}
}

/* A blocked SIGSYS would end the process without a word. */
int confine_refusals(const struct confine_options *options)
{
	struct sigaction action = { .sa_sigaction = on_refusal, .sa_flags = SA_SIGINFO };
	sigset_t only;

	told.notice_fd = options->notice_fd;
	told.termination_log = options->termination_log;
	if (told.notice_fd < 0)
		prepare_names();
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
