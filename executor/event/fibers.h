/*
 * Several sequences side by side on one loop, without threads: each job has a stack of its own,
 * and whenever it waits (event_loop_wait() and what is built on it) the others go on. Between two
 * waits a job has the process to itself, so nothing needs a lock; what it reads before a wait may
 * have changed after it.
 *
 * Jobs are children of the call that starts them: when fibers_run() returns, all of them have
 * ended. A job may call fibers_run() itself.
 */
#pragma once

#include "executor/event/loop.h"

#include <stddef.h>

/* A job's stack; below it lies a page that ends the process when it is touched. Memory is taken as
 * it is used. */
#define FIBERS_STACK_BYTES (2 * 1024 * 1024)

/*
 * Runs job(context, 0) to job(context, count - 1), at most `width` (≥ 1) at a time, started in that
 * order. The first failure (a negative return) cancels the others: their cancellable waits end with
 * -ECANCELED, and no further job is started. Returns 0, or the first failure, with its err.
 *
 * When the loop is cancelled the jobs that run see it in their waits, and the rest is not started:
 * -ECANCELED, unless a job failed otherwise before.
 */
int fibers_run(struct event_loop *loop, size_t count, size_t width,
	       int (*job)(void *context, size_t i, struct error *err), void *context,
	       struct error *err);
