/*
 * The wrapper's end of handing outputs over to `wait`: an output of the container's own file system
 * goes as an open descriptor through the channel, and once `wait` has taken it nothing of it needs
 * this container any more. Of a tree in which `wait` may not open everything, it opens what it is asked for,
 * and is held for no longer than that takes. What cannot go this way is packed (executor/stage/collect.h).
 */
#pragma once

#include "executor/base/log.h"
#include "executor/event/loop.h"
#include "executor/process/channel.h"
#include "executor/stage/collect.h"

/* How long a wrapper waits, once its command has ended, for a `wait` that it has never seen. */
#define HANDOFF_ABSENCE_MS 2000

/* Without a sign from `wait` for so long the output is packed. */
#define HANDOFF_SILENCE_MS 10000

struct handoff {
	struct channel_client *channel; /* borrowed */
	struct event_loop *loop;
	const struct log *log;
	struct event_timer timer;
	enum channel_verdict verdict;
	int fd; /* what was offered last; borrowed */
	bool is_over; /* what is waited for has happened, or will not */
};

int handoff_init(struct handoff *handoff, struct event_loop *loop, struct channel_client *channel,
		 const struct log *log);
void handoff_done(struct handoff *handoff);

/* From the channel's callbacks. */
void handoff_answered(struct handoff *handoff, enum channel_verdict verdict);
void handoff_asked(struct handoff *handoff, const struct channel_ask *ask);
void handoff_wake(struct handoff *handoff); /* connected, or lost */

/* Waits until the channel is connected, HANDOFF_ABSENCE_MS at most. */
void handoff_await_channel(struct handoff *handoff);

/* For collect_outputs(). */
struct collect_taker handoff_taker(struct handoff *handoff);
