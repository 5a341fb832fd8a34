#include "signal/kill.h"

#include "executor/base/cleanup.h"
#include "executor/base/text.h"
#include "executor/process/files.h"
#include "executor/process/record.h"
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
 * container the wrapper is asked to kill the command instead, through its signal file. `wait`,
 * `supervisor` and the artifact plugins that they save through are let be: an upload that takes
 * longer than the grace period survives that way.
 */
static void escalate(const struct role *role, const char *container)
{
	struct error err = ERROR_NONE;

	if (strcmp(container, "wait") == 0 || strcmp(container, "supervisor") == 0 ||
	    text_has_prefix(container, "artifact-plugin-"))
		return;
	if (files_write_signal(FILES_VAR_RUN_ARGO, container, SIGKILL, &err) < 0)
		log_debug(&role->log, "No wrapper to ask", log_error_field(&err));
}

static int send_as_asked(pid_t pid, int signo, struct error *err)
{
	return kill(pid, signo) < 0 ? error_errno(err, -errno, "kill %d", pid) : 0;
}

/*
 * PID 1 means the container's role. Where that is another process the signal goes there: the pause
 * process that PID 1 is in pods with a shared PID namespace would end and take every container
 * with it. Nor does anybody get what was meant for a role that has just ended. What the kernel
 * drops for PID 1, SIGKILL and SIGSTOP, is kept from such a role, too.
 */
static int send_to_role(const struct role *role, const char *container, int signo,
			struct error *err)
{
	struct record_holder holder = { .pidfd = -1 };
	enum record_role found = record_find(FILES_VAR_RUN_ARGO, container, &holder);
	_cleanup_close_ int pidfd = holder.pidfd;
	int r = 0;

	if (found == RECORD_FOUND && signo != SIGKILL && signo != SIGSTOP)
		r = record_signal(&holder, signo);
	if (found == RECORD_ENDED || r == -ESRCH)
		return 0;
	if (found != RECORD_FOUND || r < 0)
		r = send_as_asked(1, signo, err);
	if (r == 0 && signo == SIGKILL)
		escalate(role, container);
	return r;
}

int kill_main(const struct role *role)
{
	const char *container = environment_get("ARGO_CONTAINER_NAME");
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
		r = pid == 1 && text_is_dns_label(container) ?
			    send_to_role(role, container, signo, &err) :
			    send_as_asked(pid, signo, &err);
	}
	if (r == 0)
		return ROLE_OK;
	failure_report(role, &err);
	return ROLE_FAILED;
}
