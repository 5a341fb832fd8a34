#include "executor/stage/engine_pulse.h"

#include "executor/base/cleanup.h"
#include "executor/base/clock.h"

#include <setjmp.h>
#include <signal.h>
#include <stdarg.h>
#include <stddef.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#include <cmocka.h>

struct fixture {
	struct engine_pulse pulse; /* first */
	bool is_silent;
};

static void on_silence(struct engine_pulse *pulse)
{
	((struct fixture *)pulse)->is_silent = true;
}

static struct event_loop *begin(struct fixture *f)
{
	struct event_loop *loop = event_loop_new();

	assert_non_null(loop);
	*f = (struct fixture){ .is_silent = false };
	assert_int_equal(engine_pulse_init(&f->pulse, loop, on_silence), 0);
	f->pulse.look_ms = 1;
	return loop;
}

static void pause_ms(long ms)
{
	nanosleep(&(struct timespec){ .tv_sec = ms / 1000, .tv_nsec = ms % 1000 * 1000000 }, NULL);
}

static void test_silence(void **state)
{
	struct fixture f;
	_cleanup_(event_loop_freep) struct event_loop *loop = begin(&f);

	(void)state;
	engine_pulse_watch(&f.pulse, getpid());
	assert_int_equal(event_loop_wait(loop, &f.is_silent), 0);
	assert_int_equal(f.pulse.silent, 0);
	assert_int_equal(f.pulse.pid, 0);
	engine_pulse_done(&f.pulse);
}

/* Nobody is watched, nothing is told: the loop has nothing to do. */
static void test_idle(void **state)
{
	struct fixture f;
	_cleanup_(event_loop_freep) struct event_loop *loop = begin(&f);

	(void)state;
	engine_pulse_watch(&f.pulse, getpid());
	engine_pulse_watch(&f.pulse, 0);
	engine_pulse_hear(&f.pulse);
	engine_pulse_hurry(&f.pulse);
	for (unsigned i = 0; i < 2 * ENGINE_PULSE_LOOKS_MAX; i++) {
		pause_ms(1);
		assert_int_equal(event_loop_poll(loop), 0);
	}
	assert_int_equal(f.pulse.silent, 0);
	assert_false(f.is_silent);
	engine_pulse_done(&f.pulse);
}

/* Whoever did not look for long, for whatever reason, has looked once. */
static void test_looks_count(void **state)
{
	struct fixture f;
	_cleanup_(event_loop_freep) struct event_loop *loop = begin(&f);

	(void)state;
	engine_pulse_watch(&f.pulse, getpid());
	for (unsigned i = 1; i <= 5; i++) {
		pause_ms(2 * ENGINE_PULSE_LOOKS_MAX / 5);
		assert_int_equal(event_loop_poll(loop), 0);
		assert_int_equal(f.pulse.silent, i);
	}
	assert_false(f.is_silent);
	engine_pulse_done(&f.pulse);
}

/* A word now and then is enough, but not where it is to be a particular one. */
static void test_words(void **state)
{
	struct fixture f;
	_cleanup_(event_loop_freep) struct event_loop *loop = begin(&f);
	unsigned looks = 0;

	(void)state;
	engine_pulse_watch(&f.pulse, getpid());
	while (looks < 3 * ENGINE_PULSE_LOOKS_MAX) {
		pause_ms(2);
		assert_int_equal(event_loop_poll(loop), 0);
		looks += f.pulse.silent;
		engine_pulse_hear(&f.pulse);
	}
	assert_false(f.is_silent);
	engine_pulse_hurry(&f.pulse);
	engine_pulse_hear(&f.pulse);
	pause_ms(2 * ENGINE_PULSE_HURRIED_LOOK_MS);
	assert_int_equal(event_loop_poll(loop), 0);
	engine_pulse_hear(&f.pulse);
	assert_int_equal(f.pulse.silent, 1);
	engine_pulse_relax(&f.pulse);
	assert_int_equal(f.pulse.silent, 0);
	engine_pulse_hurry(&f.pulse);
	f.pulse.look_ms = 1000000;
	assert_int_equal(event_loop_wait(loop, &f.is_silent), 0);
	engine_pulse_done(&f.pulse);
}

/* One that was stopped does not wait for a disk; one that is gone neither. */
static void test_a_stopped_one(void **state)
{
	struct fixture f;
	_cleanup_(event_loop_freep) struct event_loop *loop = begin(&f);
	pid_t pid = fork();

	(void)state;
	if (pid == 0) {
		raise(SIGSTOP);
		_exit(0);
	}
	assert_int_equal(waitpid(pid, NULL, WUNTRACED), pid);
	engine_pulse_watch(&f.pulse, pid);
	assert_int_equal(event_loop_wait(loop, &f.is_silent), 0);
	kill(pid, SIGKILL);
	assert_int_equal(waitpid(pid, NULL, 0), pid);
	f.is_silent = false;
	engine_pulse_watch(&f.pulse, pid);
	assert_int_equal(event_loop_wait(loop, &f.is_silent), 0);
	engine_pulse_done(&f.pulse);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_silence),       cmocka_unit_test(test_idle),
		cmocka_unit_test(test_looks_count),   cmocka_unit_test(test_words),
		cmocka_unit_test(test_a_stopped_one),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
