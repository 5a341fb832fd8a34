/* What loop.c and fibers.c share. */
#pragma once

#include "executor/event/loop.h"

struct fiber;

struct slot {
	struct event_source *source; /* NULL = free */
	uint32_t generation;
};

struct event_loop {
	int epoll_fd;
	bool is_cancelled;
	struct slot *slots;
	uint32_t slot_count;
	struct fiber *current; /* whose stack this is; NULL = the thread's own */
	struct fiber *fibers; /* all that live */
	int64_t turn_ms; /* when somebody who calls it all the time gave others their turn */
	int failure; /* of epoll itself: every wait ends with it; 0 = none */
};

/* The waits of loop.h, called on a fiber's stack. `done` NULL: just give way once. */
int fiber_wait(struct event_loop *loop, const bool *done, bool is_cancellable);

/* Gives each fiber that can go on a turn. True if one of them still (or again) can. */
bool fibers_resume(struct event_loop *loop);
