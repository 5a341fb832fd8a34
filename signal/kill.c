#include "signal/kill.h"

#include "executor/base/text.h"
#include "executor/process/signals.h"
#include "executor/report/failure.h"

#include <errno.h>
#include <limits.h>
#include <signal.h>
#include <stdio.h>
#include <unistd.h>

static int parse(const char *word, const char *what, int64_t low, int64_t high, int *ret,
		 struct error *err)
{
	int64_t value;

	if (text_parse_int64(word, &value) < 0 || value < low || value > high)
		return error_set(err, -EINVAL, "kill: %s \"%.64s\" is not a number from %lld to %lld",
				 what, word, (long long)low, (long long)high);
	*ret = (int)value;
	return 0;
}

int kill_main(const struct role *role)
{
	struct error err = ERROR_NONE;
	char name[32], line[64];
	int signo = 0, pid = 0, r;

	r = parse(role->argv[0], "signal", 1, SIGNALS_MAX, &signo, &err);
	if (r == 0)
		r = parse(role->argv[1], "process id", 1, INT_MAX, &pid, &err);
	if (r == 0) {
		int size = snprintf(line, sizeof(line), "killing %d with %s\n", pid,
				    signals_go_name(signo, name, sizeof(name)));

		/* Nobody needs to read it. */
		(void)!write(STDOUT_FILENO, line, (size_t)size);
		r = kill(pid, signo) < 0 ? error_errno(&err, -errno, "kill %d", pid) : 0;
	}
	if (r == 0)
		return ROLE_OK;
	failure_report(role, &err);
	return ROLE_FAILED;
}
