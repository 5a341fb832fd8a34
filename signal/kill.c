#include "signal/kill.h"

#include "executor/base/text.h"
#include "executor/process/files.h"
#include "executor/process/signals.h"
#include "executor/report/failure.h"
#include "executor/template/environment.h"

#include <errno.h>
#include <limits.h>
#include <signal.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

static int parse(const char *word, const char *what, int64_t low, int64_t high, int *ret,
		 struct error *err)
{
	int64_t value;

	if (text_parse_int64(word, &value) < 0 || value < low || value > high)
		return error_set(err, -EINVAL,
				 "kill: %s \"%.64s\" is not a number from %lld to %lld", what, word,
				 (long long)low, (long long)high);
	*ret = (int)value;
	return 0;
}

/*
 * SIGKILL from inside a container does not reach its PID 1: the kernel drops it. For a user's
 * container the wrapper is asked to kill the command instead, through its signal file. `wait` and
 * `supervisor` are let be: an upload that takes longer than the grace period survives that way.
 */
static void escalate(const struct role *role)
{
	const char *name = environment_get("ARGO_CONTAINER_NAME");
	struct error err = ERROR_NONE;

	if (!text_is_dns_label(name) || strcmp(name, "wait") == 0 ||
	    strcmp(name, "supervisor") == 0)
		return;
	if (files_write_signal(FILES_VAR_RUN_ARGO, name, SIGKILL, &err) < 0)
		log_debug(&role->log, "No wrapper to ask", log_error_field(&err));
}

int kill_main(const struct role *role)
{
	struct error err = ERROR_NONE;
	char name[32], line[64];
	int signo = 0, pid = 0, r;

	/* Nobody needs to read the line: it must not end us before the signal is sent. */
	signal(SIGPIPE, SIG_IGN);
	r = parse(role->argv[0], "signal", 1, SIGNALS_MAX, &signo, &err);
	if (r == 0)
		r = parse(role->argv[1], "process id", 1, INT_MAX, &pid, &err);
	if (r == 0) {
		int size = snprintf(line, sizeof(line), "killing %d with %s\n", pid,
				    signals_go_name(signo, name, sizeof(name)));

		(void)!write(STDOUT_FILENO, line, (size_t)size);
		r = kill(pid, signo) < 0 ? error_errno(&err, -errno, "kill %d", pid) : 0;
	}
	if (r == 0 && signo == SIGKILL && pid == 1)
		escalate(role);
	if (r == 0)
		return ROLE_OK;
	failure_report(role, &err);
	return ROLE_FAILED;
}
