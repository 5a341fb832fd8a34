/*
 * The terminations of a pod's containers (termination.h) on the loop: takes requests, logs who
 * asked for what, once, sends what is due, and keeps the grace periods with one timer.
 */
#pragma once

#include "executor/base/log.h"
#include "executor/event/loop.h"
#include "signal/termination.h"

#include <stddef.h>

struct terminator_options {
	const char *const *names; /* the containers; borrowed */
	size_t count;
	const struct log *log;
	/* Sends a signal to a container. */
	void (*deliver)(void *context, size_t container, int signo);
	/* A container's termination is not what it was; NULL = nobody cares. */
	void (*on_change)(void *context, size_t container);
	void *context;
};

struct terminator {
	struct terminator_options options;
	struct event_timer timer;
	struct termination *terminations; /* one for each container */
	unsigned last_id;
	/* Counters since the start. */
	unsigned long requests[TERMINATION_SOURCE_COUNT][TERMINATION_OUTCOME_COUNT];
	unsigned long ended[TERMINATION_SOURCE_COUNT][2]; /* containers: before, after SIGKILL */
};

/* 0, -ENOMEM, or a negative errno of timerfd. */
int terminator_init(struct terminator *terminator, struct event_loop *loop,
		    const struct terminator_options *options);
void terminator_done(struct terminator *terminator);

/*
 * A request for the `count` containers in `which` (NULL: all of them). Nothing is sent before
 * terminator_flush(), or TERMINATOR_DELAY_MS, whichever comes first. The outcome is the strongest
 * of all containers', *ret_id the number of the request that counts from now on.
 */
#define TERMINATOR_DELAY_MS 5
enum termination_outcome terminator_ask(struct terminator *terminator,
					const struct termination_request *request,
					const size_t *which, size_t count, unsigned *ret_id);

/* A request that one container was sent by another way, its signal included. */
void terminator_note(struct terminator *terminator, const struct termination_request *request,
		     size_t container);

/* Sends what is due. */
void terminator_flush(struct terminator *terminator);

/* The container has ended. */
void terminator_ended(struct terminator *terminator, size_t container);

/* The signal that a container which was asked to end should have received by now; 0 = none. */
int terminator_sent(const struct terminator *terminator, size_t container);
