/*
 * Whether the staging process still goes on. While something is under way it tells how far it is five
 * times a second, from the loop that does the work: one that was stopped, or is caught in a loop, tells
 * nothing. The role looks once a second, and counts its own looks, not the time: where the whole pod is
 * frozen, or gets no CPU, it does not look either. One that waits for a disk is left alone: it would
 * not end before the disk answers, and another one would wait as well.
 */
#pragma once

#include "executor/event/loop.h"

#include <sys/types.h>

/* So many looks in a row without a word, a second apart: as long as a connection may be silent. */
#define ENGINE_PULSE_LOOK_MS 1000
#define ENGINE_PULSE_LOOKS_MAX 60
/* Of one that is to say at once that it has heard (engine_pulse_hurry). */
#define ENGINE_PULSE_HURRIED_LOOK_MS 20
#define ENGINE_PULSE_HURRIED_LOOKS_MAX 3

struct engine_pulse {
	struct event_timer timer;
	void (*on_silence)(struct engine_pulse *pulse);
	pid_t pid; /* 0 = nobody is watched */
	bool is_hurried;
	unsigned silent; /* looks, in a row */
	int64_t look_ms; /* ENGINE_PULSE_LOOK_MS but for tests */
};

/* 0 or a negative errno. on_silence: nothing was told for too long, and nothing is watched any more. */
int engine_pulse_init(struct engine_pulse *pulse, struct event_loop *loop,
		      void (*on_silence)(struct engine_pulse *pulse));
/* Harmless on zeroed memory. */
void engine_pulse_done(struct engine_pulse *pulse);

/* Watches that process from now on, if it does not yet; 0 = nobody. Idle, this costs nothing. */
void engine_pulse_watch(struct engine_pulse *pulse, pid_t pid);
/* It has told something. */
void engine_pulse_hear(struct engine_pulse *pulse);
/* It was told to end what it does, and is to say that it has heard: watched closely until
 * engine_pulse_relax(). */
void engine_pulse_hurry(struct engine_pulse *pulse);
void engine_pulse_relax(struct engine_pulse *pulse);
