/*
 * Many small things done side by side: one job finds them, `width` others do them, and a short queue
 * between them keeps the finder from running ahead. All are fibers of the calling job.
 */
#pragma once

#include "executor/event/loop.h"

#include <stddef.h>

/* Found and not yet taken. */
#define CREW_QUEUE_MAX 64

struct crew;

struct crew_duties {
	/* Calls crew_put() for each thing, and returns when there are no more. */
	int (*find)(void *context, struct crew *crew, struct error *err);
	/* Does one of them, and frees it in any case. */
	int (*work)(void *context, void *item, struct error *err);
	/* Frees one that nobody will do. */
	void (*drop)(void *item);
	void *context;
};

/* Runs them until everything that was found is done. The first failure, of whomever, ends all:
 * returned with its err, as by fibers_run(). */
int crew_run(struct event_loop *loop, size_t width, const struct crew_duties *duties,
	     struct error *err);

/* For find(): hands an item over; waits while the queue is full. After a failure, which can only be
 * -ECANCELED, the item is the caller's. */
int crew_put(struct crew *crew, void *item, struct error *err);
