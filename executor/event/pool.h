/*
 * A few threads for work beside the loop: what only computes (deflate, hashes), and opening many files.
 *
 *	self->job = (struct pool_job){ .work = compress, .done = is_compressed };
 *	pool_start(pool, &self->job);
 *
 * A job is embedded in and owned by whoever starts it, and must stay where it is until done() is
 * called or pool_take_back() returns. work() runs on a thread, or at once on the caller's where
 * there is no thread to be had; it touches only what the job owns, never the loop, waits
 * for nothing but a file system, and takes milliseconds. done() is called on the loop afterwards. Jobs begin in the order in
 * which they are started; they may end in another.
 *
 * Threads are started with the first job: as many as cpus_usable() says, POOL_THREADS_MAX at most.
 * They take no signals, and they are why the process must not change its user by the C library any
 * more (it would wait for them to agree by a signal that is blocked); setfsuid(2) concerns the
 * calling thread alone, and is fine.
 */
#pragma once

#include "executor/event/loop.h"

#include <stdbool.h>

#define POOL_THREADS_MAX 4
/* Deep enough for the compressors, and memory is taken as it is used. */
#define POOL_STACK_BYTES (256 * 1024)

struct pool;

enum pool_job_state { POOL_JOB_IDLE, POOL_JOB_QUEUED, POOL_JOB_RUNNING, POOL_JOB_ENDED };

struct pool_job {
	void (*work)(struct pool_job *job);
	void (*done)(struct pool_job *job); /* NULL = not interested */
	/* The pool's own. */
	enum pool_job_state state;
	bool is_done; /* set before done() is called, on the loop; may be waited for */
	struct pool_job *next;
};

/* NULL when memory or descriptors are out (errno is set). The loop must outlive it. */
struct pool *pool_new(struct event_loop *loop);
/* Ends the threads when what was started has run; nobody's done() is called any more. */
void pool_free(struct pool *pool);
static inline void pool_freep(struct pool **pool)
{
	pool_free(*pool);
}
#define _cleanup_pool_ _cleanup_(pool_freep)

/* How many jobs run at a time; 1 for NULL. */
unsigned pool_width(const struct pool *pool);

/* Starts an idle job. pool NULL: work() and done() are called before it returns. */
void pool_start(struct pool *pool, struct pool_job *job);

/* Waits on the loop until a started job is done, whether the loop is cancelled or not: the work is
 * short. 0, or a negative errno of epoll; then it may still run. */
int pool_wait(struct pool *pool, struct pool_job *job);

/* Both. */
int pool_run(struct pool *pool, struct pool_job *job);

/* For owners that go away: when it returns the job does not run any more, and done() will not be
 * called. A job that has not begun never does. Blocks while it runs; harmless for an idle job. */
void pool_take_back(struct pool *pool, struct pool_job *job);
