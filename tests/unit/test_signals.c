#include "executor/process/signals.h"

#include <errno.h>
#include <setjmp.h>
#include <signal.h>
#include <stdarg.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

#include <cmocka.h>

#include "tests/unit/scratch.h"

static struct signals signals;
static int seen[SIGNALS_MAX * 2], count;
static uint32_t sender;
static bool is_ended;

static uint64_t mask_now(void)
{
	uint64_t mask = 0;

	syscall(SYS_rt_sigprocmask, SIG_SETMASK, NULL, &mask, sizeof(mask));
	return mask;
}

static void set_mask(uint64_t mask)
{
	syscall(SYS_rt_sigprocmask, SIG_SETMASK, &mask, NULL, sizeof(mask));
}

static void on_signal(struct signals *self, const struct signalfd_siginfo *info)
{
	(void)self;
	seen[count++] = (int)info->ssi_signo;
	sender = info->ssi_pid;
	if (info->ssi_signo == SIGTERM)
		is_ended = true;
}

static bool can_be_blocked(int signo)
{
	return signo != SIGKILL && signo != SIGSTOP;
}

/* In a child, so that whatever goes wrong hits nobody else. */
static int receive_all(void *context)
{
	struct event_loop *loop = event_loop_new();

	(void)context;
	signals_block_all(&signals);
	if (signals_start(&signals, loop, on_signal) < 0)
		return __LINE__;
	for (int signo = 1; signo <= SIGNALS_MAX; signo++) {
		if (!can_be_blocked(signo))
			continue;
		count = 0;
		/* Half of them to the process, half to the thread. */
		if (signo % 2 ? syscall(SYS_kill, getpid(), signo) :
				syscall(SYS_tgkill, getpid(), getpid(), signo))
			return __LINE__;
		if (event_loop_poll(loop) < 0 || count != 1 || seen[0] != signo ||
		    sender != (uint32_t)getpid())
			return signo + 1000;
	}
	signals_done(&signals);
	signals_done(&signals);
	event_loop_free(loop);
	return 0;
}

static void test_all_sixty_four(void **state)
{
	(void)state;
	scratch_run_child(receive_all, NULL);
}

/* What waits is delivered in the kernel's order: ascending; real-time signals queue. */
static int receive_in_order(void *context)
{
	static const int expected[] = { SIGHUP, SIGUSR1, SIGTERM, 34, 50, 50, 64 };
	static const int sent[] = { 64, 50, SIGTERM, SIGHUP, SIGUSR1, 50, 34, SIGTERM };
	struct event_loop *loop = event_loop_new();

	(void)context;
	signals_block_all(&signals);
	for (size_t i = 0; i < sizeof(sent) / sizeof(sent[0]); i++)
		kill(getpid(), sent[i]); /* before anybody listens: nothing is lost */
	if (signals_start(&signals, loop, on_signal) < 0 || event_loop_poll(loop) < 0)
		return __LINE__;
	if (count != 7 || memcmp(seen, expected, sizeof(expected)) != 0)
		return __LINE__;
	signals_done(&signals);
	event_loop_free(loop);
	return 0;
}

static void test_order(void **state)
{
	(void)state;
	scratch_run_child(receive_in_order, NULL);
}

static int give_mask_back(void *context)
{
	const uint64_t before = *(uint64_t *)context;
	const uint64_t never = signals_bit(SIGKILL) | signals_bit(SIGSTOP);

	set_mask(before);
	signals_block_all(&signals);
	if (signals.inherited_mask != (before & ~never))
		return __LINE__;
	if (mask_now() != ~never)
		return __LINE__;
	signals_restore(&signals);
	return mask_now() == (before & ~never) ? 0 : __LINE__;
}

static void test_mask_is_given_back(void **state)
{
	uint64_t masks[] = { 0, ~0ULL, signals_bit(SIGTERM) | signals_bit(32) | signals_bit(33),
			     signals_bit(1) | signals_bit(64) };

	(void)state;
	for (size_t i = 0; i < sizeof(masks) / sizeof(masks[0]); i++)
		scratch_run_child(give_mask_back, &masks[i]);
	assert_true(signals_bit(1) == 1 && signals_bit(64) == 1ULL << 63);
}

static void end_in_callback(struct signals *self, const struct signalfd_siginfo *info)
{
	count++;
	(void)info;
	signals_done(self);
}

static int end_while_more_wait(void *context)
{
	struct event_loop *loop = event_loop_new();

	(void)context;
	signals_block_all(&signals);
	kill(getpid(), SIGUSR1);
	kill(getpid(), SIGUSR2);
	if (signals_start(&signals, loop, end_in_callback) < 0 || event_loop_poll(loop) < 0)
		return __LINE__;
	event_loop_free(loop);
	return count == 1 ? 0 : __LINE__;
}

static void test_may_end_in_its_callback(void **state)
{
	(void)state;
	scratch_run_child(end_while_more_wait, NULL);
}

/* From another process, through the blocking wait. */
static int wait_for_term(void *context)
{
	struct event_loop *loop = event_loop_new();
	pid_t parent = getpid(), child;

	(void)context;
	signals_block_all(&signals);
	if (signals_start(&signals, loop, on_signal) < 0)
		return __LINE__;
	child = fork();
	if (child == 0) {
		usleep(5000);
		kill(parent, SIGUSR1);
		kill(parent, SIGTERM);
		_exit(0);
	}
	if (event_loop_wait(loop, &is_ended) < 0 || waitpid(child, NULL, 0) != child)
		return __LINE__;
	signals_done(&signals);
	event_loop_free(loop);
	return sender == (uint32_t)child && count >= 2 ? 0 : __LINE__;
}

static void test_wakes_the_loop(void **state)
{
	(void)state;
	scratch_run_child(wait_for_term, NULL);
}

static void test_names(void **state)
{
	static const struct {
		int signo;
		const char *name;
	} cases[] = {
		{ 1, "hangup" },
		{ 2, "interrupt" },
		{ 3, "quit" },
		{ 6, "aborted" },
		{ 9, "killed" },
		{ 10, "user defined signal 1" },
		{ 11, "segmentation fault" },
		{ 15, "terminated" },
		{ 0, "signal 0" },
		{ -1, "signal -1" },
		{ 16, "signal 16" },
		{ 34, "signal 34" },
		{ 64, "signal 64" },
		{ 1000, "signal 1000" },
	};
	char buffer[32];

	(void)state;
	for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++)
		assert_string_equal(signals_go_name(cases[i].signo, buffer, sizeof(buffer)),
				    cases[i].name);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_all_sixty_four),
		cmocka_unit_test(test_order),
		cmocka_unit_test(test_mask_is_given_back),
		cmocka_unit_test(test_may_end_in_its_callback),
		cmocka_unit_test(test_wakes_the_loop),
		cmocka_unit_test(test_names),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
