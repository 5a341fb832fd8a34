/*
 * One attempt at the user's command: started, its output passed on (and kept, if asked), signals
 * delivered to its process group, its end waited for. Drawn in docs/states.md.
 */
#pragma once

#include "emissary/command.h"
#include "executor/base/log.h"
#include "executor/event/loop.h"
#include "executor/process/capture.h"
#include "executor/process/child.h"
#include "executor/process/signals.h"
#include "executor/process/terminal.h"

#include <stdbool.h>

struct run {
	struct event_loop *loop;
	const struct log *log;
	const struct signals *signals; /* mask to give to the child */
	const char *root, *container; /* ctr/<container>: where stdout and combined are kept */
	bool keeps_stdout; /* in the file `stdout`, for the step's result */
	bool keeps_combined; /* both streams in the file `combined`, for the archived log */
	bool is_first; /* a later attempt starts with an empty `stdout`: the result is its own */
	pid_t pid; /* > 0 while the child lives */
	struct child_status status;
	struct capture streams[2]; /* stdout, stderr */
	struct terminal terminal;
	unsigned streams_open;
	struct event_timer
		patience; /* with a reader of the output that is slower than a stop allows */
	int64_t output_until_ms; /* monotonic; 0 = as long as it takes */
	int64_t ended_ms; /* the child did, at that time */
	int stdout_copy_fd, combined_fd;
	bool is_done;
};

/* Starts the command and waits for its end and that of its output. 0 with run->status set, or a
 * negative errno if it could not be started. Signals meanwhile: run_signal(). */
int run_command(struct run *run, const struct command *command, struct error *err);

/* To the child's process group; ignored when there is none (any more). */
void run_signal(struct run *run, int signo);

/* A stop was asked for: once the child has ended, what it wrote is passed on until then (monotonic
 * milliseconds) and dropped afterwards, but never before RUN_READER_MS have passed since its end.
 * A later call can only shorten it. The kept copies are complete in any case. */
#define RUN_READER_MS 1000
void run_limit_output(struct run *run, int64_t until_ms);

/* To be called on SIGCHLD. */
void run_reap(struct run *run);
