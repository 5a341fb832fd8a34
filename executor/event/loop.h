/*
 * One epoll loop per process. Everything that can happen is a descriptor: signals (signalfd),
 * children (pidfd), files (inotify), time (timerfd), sockets. Nothing sleeps, nothing polls.
 *
 * Sources are embedded in and owned by whoever cares about them. A source may be removed, and its
 * memory freed, at any moment, also inside a callback of the same batch: the kernel's event names
 * a slot and a generation, and an event for a slot that has moved on is dropped.
 *
 * Waiting inside the loop is allowed: a function that needs an answer calls event_loop_wait(),
 * which dispatches whatever happens until its own condition holds. That keeps long sequences
 * (load an artifact, report) readable from top to bottom while signals are still served at once.
 */
#pragma once

#include "executor/base/error.h"

#include <stdbool.h>
#include <stdint.h>
#include <sys/epoll.h>

struct event_loop;

struct event_source {
	/* revents as epoll gives them. */
	void (*callback)(struct event_source *source, uint32_t revents);
	const char *name; /* for diagnosis; static storage */
	struct event_loop *loop; /* NULL while not registered */
	int fd; /* not owned by the loop */
	uint32_t slot;
};

/* NULL when the kernel gives no descriptor or memory is out (errno is set). */
struct event_loop *event_loop_new(void);
void event_loop_free(struct event_loop *loop);
static inline void event_loop_freep(struct event_loop **loop)
{
	event_loop_free(*loop);
}

/* Registers source->fd for `events` (EPOLLIN, …). 0 or a negative errno. */
int event_add(struct event_loop *loop, struct event_source *source, uint32_t events);
int event_change(struct event_source *source, uint32_t events);
/* Harmless for a source that is not registered. Call before closing the descriptor. */
void event_remove(struct event_source *source);

/* Dispatches until *done, blocking as long as nothing happens. Returns 0, or -ECANCELED as soon
 * as the loop is cancelled (also when it was before), or a negative errno of epoll itself.
 * `done` is usually set by a callback; it is looked at before the first wait. */
int event_loop_wait(struct event_loop *loop, const bool *done);

/* The same, but cancellation does not end it: for work that must be finished under termination. */
int event_loop_wait_uncancelled(struct event_loop *loop, const bool *done);

/* Dispatches what is pending without blocking. -ECANCELED if the loop is cancelled. Called now
 * and then by CPU-bound work, so that a signal is not kept waiting. */
int event_loop_poll(struct event_loop *loop);

/* The same, for who calls it all the time: within a millisecond of the last one it returns at once. */
int event_loop_give_turn(struct event_loop *loop);

/* From now on every cancellable wait ends with -ECANCELED; callbacks go on as usual. */
void event_loop_cancel(struct event_loop *loop);
bool event_loop_is_cancelled(const struct event_loop *loop);
/* Waits are possible again: the cancelled phase is over, another one begins. */
void event_loop_resume(struct event_loop *loop);

/* Fills err for the -ECANCELED of a wait: class CANCELLED, text "cancelled". */
int event_loop_cancelled_error(struct error *err);

/* A one-shot timer on CLOCK_MONOTONIC. Embedded and owned by the caller, like a source. */
struct event_timer {
	struct event_source source;
	void (*callback)(struct event_timer *timer);
};

/* 0 or a negative errno; the timer is not armed. event_timer_done() is harmless on zeroed memory. */
int event_timer_init(struct event_timer *timer, struct event_loop *loop,
		     void (*callback)(struct event_timer *timer));
void event_timer_done(struct event_timer *timer);
/* Fires once in delay_ms milliseconds (0 = at the next dispatch); arming again moves it. */
void event_timer_set(struct event_timer *timer, int64_t delay_ms);
void event_timer_clear(struct event_timer *timer);

/* A one-shot timer on the wall clock: it goes by that clock also when somebody sets it. */
int event_timer_init_wall(struct event_timer *timer, struct event_loop *loop,
			  void (*callback)(struct event_timer *timer));
/* Fires at that time, in seconds since 1970; at the next dispatch if it is over. */
void event_timer_set_at(struct event_timer *timer, int64_t at_s);

/* Waits delay_ms on the loop: 0, or -ECANCELED. */
int event_loop_pause(struct event_loop *loop, int64_t delay_ms);
