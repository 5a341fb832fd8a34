/*
 * The progress that a user's command writes into a file, last line "N/M", and that the controller
 * shows on the node. Sent at most once per tick, and the last value at the end.
 */
#pragma once

#include "executor/base/log.h"
#include "executor/event/watch.h"
#include "executor/report/task_result.h"
#include "executor/template/environment.h"

#include <stdbool.h>

/* Longest "N/M": two 64-bit numbers. */
#define PROGRESS_TEXT_MAX 48

struct progress {
	struct event_timer tick;
	const char *path; /* NULL = progress is off */
	int64_t tick_ms;
	int64_t sent_ms; /* clock_now_ms of the last one; 0 = none yet */
	struct task_result *result;
	const struct log *log;
	char seen[PROGRESS_TEXT_MAX]; /* the newest valid value */
	bool is_pending; /* seen has not been sent */
};

/* Starts watching, if the controller switched progress on: the file's directory is added to `watch`,
 * whose owner calls progress_look() when something has changed (inotify instances are scarce, and
 * each takes the kernel some 10 ms to close). Trouble only costs the progress. */
void progress_init(struct progress *progress, struct event_watch *watch, struct event_loop *loop,
		   const struct environment *environment, struct task_result *result,
		   const struct log *log);

void progress_look(struct progress *progress);

/* Main has ended: looks once more, sends what is new, and looks no more. */
void progress_finish(struct progress *progress);
void progress_done(struct progress *progress);

/* The last line of `text` as "N/M" with 0 ≤ N ≤ M and M > 0, or false. */
bool progress_parse(const char *text, char ret[PROGRESS_TEXT_MAX]);
