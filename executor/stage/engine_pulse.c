#include "executor/stage/engine_pulse.h"

#include "executor/base/buffer.h"
#include "executor/base/fd.h"

#include <stdio.h>
#include <string.h>

/* /proc/<pid>/stat: a pid, a name of 15 bytes, the state, numbers. */
#define STAT_BYTES_MAX 4096

static bool waits_for_disk(pid_t pid)
{
	_cleanup_buffer_ struct buffer text = BUFFER_INIT(STAT_BYTES_MAX);
	char path[32];
	const char *name_end;

	snprintf(path, sizeof(path), "/proc/%d/stat", pid);
	if (file_read(path, &text, NULL) < 0)
		return false;
	name_end = strrchr(buffer_string(&text), ')');
	return name_end && strncmp(name_end, ") D", 3) == 0;
}

static void look_again(struct engine_pulse *pulse)
{
	event_timer_set(&pulse->timer,
			pulse->is_hurried ? ENGINE_PULSE_HURRIED_LOOK_MS : pulse->look_ms);
}

static void on_look(struct event_timer *timer)
{
	struct engine_pulse *pulse = (struct engine_pulse *)timer;
	unsigned looks_max = pulse->is_hurried ? ENGINE_PULSE_HURRIED_LOOKS_MAX :
						 ENGINE_PULSE_LOOKS_MAX;

	if (++pulse->silent < looks_max || (!pulse->is_hurried && waits_for_disk(pulse->pid))) {
		look_again(pulse);
		return;
	}
	engine_pulse_watch(pulse, 0);
	pulse->on_silence(pulse);
}

int engine_pulse_init(struct engine_pulse *pulse, struct event_loop *loop,
		      void (*on_silence)(struct engine_pulse *pulse))
{
	*pulse = (struct engine_pulse){ .on_silence = on_silence, .look_ms = ENGINE_PULSE_LOOK_MS };
	return event_timer_init(&pulse->timer, loop, on_look);
}

void engine_pulse_done(struct engine_pulse *pulse)
{
	event_timer_done(&pulse->timer);
	pulse->pid = 0;
}

void engine_pulse_watch(struct engine_pulse *pulse, pid_t pid)
{
	if (pulse->pid == pid)
		return;
	pulse->pid = pid;
	pulse->silent = 0;
	pulse->is_hurried = false;
	if (pid)
		look_again(pulse);
	else
		event_timer_clear(&pulse->timer);
}

void engine_pulse_hear(struct engine_pulse *pulse)
{
	if (!pulse->is_hurried)
		pulse->silent = 0;
}

void engine_pulse_hurry(struct engine_pulse *pulse)
{
	if (pulse->pid == 0)
		return;
	pulse->is_hurried = true;
	pulse->silent = 0;
	look_again(pulse);
}

void engine_pulse_relax(struct engine_pulse *pulse)
{
	if (!pulse->is_hurried)
		return;
	pulse->is_hurried = false;
	pulse->silent = 0;
	look_again(pulse);
}
