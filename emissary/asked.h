/*
 * Who asked for the end, in the wrapper's log: once, and once more if it comes to SIGKILL. A log
 * that takes nothing at the moment shall not hold up the signals that follow; it is told later.
 */
#pragma once

#include "executor/base/log.h"

#include <stdbool.h>
#include <stdint.h>
#include <sys/types.h>

struct asked_request {
	int signo; /* 0 = none yet */
	const char *source; /* "kernel" or "file"; borrowed */
	pid_t pid; /* 0 = not known, or of another PID namespace */
	int64_t uid; /* -1 = not known */
	int64_t at_ms; /* clock_now_ms() */
	bool is_due;
};

/* Zeroed memory is nobody. */
struct asked {
	struct asked_request mildly, kill;
};

/* Notes a request for the end by `signo`; what repeats an earlier one is told at level debug. */
void asked_note(struct asked *asked, const struct log *log, const struct asked_request *request);

/* Tells what is still to be told, however long that takes. */
void asked_tell(struct asked *asked, const struct log *log);
