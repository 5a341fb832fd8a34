#include "signal/control_answer.h"
#include "signal/termination.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include <signal.h>

#define BIT(signo) (1ULL << ((signo)-1))

static struct termination_request request(int signo, int64_t grace_ms)
{
	return (struct termination_request){ .signo = signo,
					     .grace_ms = grace_ms,
					     .source = TERMINATION_BY_CONTROL };
}

static enum termination_outcome ask(struct termination *t, int signo, int64_t grace_ms, unsigned id)
{
	struct termination_request r = request(signo, grace_ms);

	return termination_ask(t, &r, id, 1000);
}

/* Every phase and every event, as docs/states.md draws them. */
static void test_every_transition(void **state)
{
	enum { R = TERMINATION_RUNNING, A, T, K, E };
	static const int expected[5][5] = {
		/* ask, ask kill, send, grace over, end */
		{ A, A, R, R, E }, { A, A, T, A, E }, { T, A, T, K, E },
		{ K, K, K, K, E }, { E, E, E, E, E },
	};

	(void)state;
	for (int p = 0; p < TERMINATION_PHASE_COUNT; p++)
		for (int e = 0; e < TERMINATION_EVENT_COUNT; e++)
			assert_int_equal(termination_next((enum termination_phase)p,
							  (enum termination_event)e),
					 expected[p][e]);
}

static void test_term_then_grace_then_kill(void **state)
{
	struct termination t = { .phase = TERMINATION_RUNNING };

	(void)state;
	assert_int_equal(termination_due(&t, 1), 0);
	assert_int_equal(ask(&t, SIGTERM, 500, 1), TERMINATION_ACCEPTED);
	assert_int_equal(t.phase, TERMINATION_ASKED);
	assert_int_equal(termination_due(&t, 2000), BIT(SIGTERM));
	assert_int_equal(t.phase, TERMINATION_TERM_SENT);
	assert_int_equal(termination_next_ms(&t), 2500);
	assert_int_equal(termination_due(&t, 2499), 0);
	assert_int_equal(termination_due(&t, 2500), BIT(SIGKILL));
	assert_int_equal(t.phase, TERMINATION_KILL_SENT);
	assert_int_equal(termination_due(&t, 9999), 0);
	termination_end(&t);
	assert_int_equal(ask(&t, SIGKILL, 0, 2), TERMINATION_LATE);
	assert_int_equal(termination_due(&t, 9999), 0);
}

static void test_requests_coalesce_and_escalate(void **state)
{
	struct termination t = { .phase = TERMINATION_RUNNING };

	(void)state;
	assert_int_equal(ask(&t, SIGTERM, TERMINATION_NO_GRACE_END, 1), TERMINATION_ACCEPTED);
	assert_int_equal(ask(&t, SIGINT, TERMINATION_NO_GRACE_END, 2), TERMINATION_COALESCED);
	assert_int_equal(t.id, 1);
	assert_int_equal(termination_due(&t, 1), BIT(SIGTERM));
	assert_int_equal(termination_next_ms(&t), 0);
	assert_int_equal(ask(&t, SIGKILL, 0, 3), TERMINATION_ESCALATED);
	assert_int_equal(t.id, 3);
	assert_int_equal(ask(&t, SIGTERM, 0, 4), TERMINATION_COALESCED);
	assert_int_equal(ask(&t, SIGKILL, 0, 5), TERMINATION_COALESCED);
	assert_int_equal(termination_due(&t, 2), BIT(SIGKILL));
	assert_int_equal(t.phase, TERMINATION_KILL_SENT);
	assert_int_equal(ask(&t, SIGKILL, 0, 6), TERMINATION_COALESCED);
	assert_int_equal(termination_due(&t, 3), 0);
}

/* What a process has been sent already, by somebody else. */
static void test_a_signal_that_it_has(void **state)
{
	struct termination t = { .phase = TERMINATION_RUNNING };
	struct termination_request r = request(SIGTERM, TERMINATION_NO_GRACE_END);

	(void)state;
	r.source = TERMINATION_BY_KERNEL;
	assert_int_equal(termination_note(&t, &r, 1), TERMINATION_ACCEPTED);
	assert_int_equal(t.phase, TERMINATION_TERM_SENT);
	assert_int_equal(t.by.source, TERMINATION_BY_KERNEL);
	assert_int_equal(termination_due(&t, 1), 0);
	assert_int_equal(termination_note(&t, &r, 2), TERMINATION_COALESCED);
	assert_int_equal(t.id, 1);
	/* The grace of the next request counts. */
	assert_int_equal(ask(&t, SIGTERM, 500, 3), TERMINATION_COALESCED);
	assert_int_equal(termination_due(&t, 1499), 0);
	assert_int_equal(termination_due(&t, 1500), BIT(SIGKILL));
	assert_int_equal(termination_note(&t, &r, 4), TERMINATION_COALESCED);
	termination_end(&t);
	assert_int_equal(termination_note(&t, &r, 5), TERMINATION_LATE);

	/* Nor is it sent again when somebody has asked, but was not served yet. */
	t = (struct termination){ .phase = TERMINATION_RUNNING };
	ask(&t, SIGTERM, 500, 1);
	assert_int_equal(termination_note(&t, &r, 2), TERMINATION_COALESCED);
	assert_int_equal(termination_due(&t, 1), BIT(SIGTERM));
}

static void test_escalation_before_anything_was_sent(void **state)
{
	struct termination t = { .phase = TERMINATION_RUNNING };

	(void)state;
	ask(&t, SIGTERM, 500, 1);
	assert_int_equal(ask(&t, SIGKILL, 0, 2), TERMINATION_ESCALATED);
	assert_int_equal(termination_due(&t, 1), BIT(SIGKILL));
	assert_int_equal(t.phase, TERMINATION_KILL_SENT);
}

static void test_grace_gets_shorter_only(void **state)
{
	struct termination t = { .phase = TERMINATION_RUNNING };

	(void)state;
	ask(&t, SIGTERM, 5000, 1);
	ask(&t, SIGTERM, 4000, 2);
	ask(&t, SIGTERM, 6000, 3);
	ask(&t, SIGTERM, TERMINATION_NO_GRACE_END, 4);
	termination_due(&t, 1000);
	assert_int_equal(termination_next_ms(&t), 5000);
	ask(&t, SIGTERM, 9000, 5);
	assert_int_equal(termination_next_ms(&t), 5000);
	ask(&t, SIGTERM, 100, 6);
	assert_int_equal(termination_next_ms(&t), 1100);
}

static void test_other_signals_pass(void **state)
{
	struct termination t = { .phase = TERMINATION_RUNNING };

	(void)state;
	assert_int_equal(ask(&t, SIGUSR1, 0, 1), TERMINATION_ACCEPTED);
	assert_int_equal(ask(&t, SIGUSR1, 0, 2), TERMINATION_COALESCED);
	assert_int_equal(ask(&t, 64, 0, 3), TERMINATION_ACCEPTED);
	assert_int_equal(termination_due(&t, 1), BIT(SIGUSR1) | BIT(64));
	assert_int_equal(termination_due(&t, 1), 0);
	assert_int_equal(t.phase, TERMINATION_RUNNING);
	assert_int_equal(ask(&t, SIGUSR1, 0, 4), TERMINATION_ACCEPTED);
	termination_end(&t);
	assert_int_equal(termination_due(&t, 2), 0);
}

static const char *running(void *context, size_t i)
{
	(void)context;
	(void)i;
	return "running";
}

static void test_parse_terminate(void **state)
{
	static const char *const names[] = { "a", "b" };
	struct terminator terminator = { .options = { .names = names, .count = 2 } };
	struct control_model model = { .terminator = &terminator,
				       .grace_ms = 30000,
				       .state = running };
	static const char full[] = "{\"signal\":9,\"graceSeconds\":86400,"
				   "\"containers\":[\"b\",\"a\"],\"reason\":\"why\"}";
	static const char nul[] = "{\"containers\":[\"a\\u0000x\"]}";
	static const char twice[] = "{\"containers\":[\"a\",\"b\"],\"containers\":[\"b\"]}";
	struct control_terminate parsed;
	struct error err = ERROR_NONE;

	(void)state;
	assert_int_equal(control_parse_terminate(&model, "", 0, &parsed, &err), 0);
	assert_int_equal(parsed.request.signo, SIGTERM);
	assert_int_equal(parsed.request.grace_ms, 30000);
	assert_null(parsed.which);
	assert_int_equal(control_parse_terminate(&model, full, strlen(full), &parsed, &err), 0);
	assert_int_equal(parsed.request.signo, SIGKILL);
	assert_int_equal(parsed.request.grace_ms, 86400000);
	assert_string_equal(parsed.request.reason, "why");
	assert_int_equal(parsed.count, 2);
	assert_int_equal(parsed.which[0], 1);
	assert_int_equal(parsed.which[1], 0);
	control_terminate_done(&parsed);
	assert_int_equal(control_parse_terminate(&model, "{\"a\":1}", 7, &parsed, &err), -22);
	assert_string_equal(err.message, "unknown field \"a\"");
	assert_int_equal(control_parse_terminate(&model, nul, strlen(nul), &parsed, &err), -22);
	assert_null(parsed.which);
	/* Repeated members: refused or the last one, never a leak or a mixture. */
	if (control_parse_terminate(&model, twice, strlen(twice), &parsed, &err) == 0) {
		assert_int_equal(parsed.count, 1);
		assert_int_equal(parsed.which[0], 1);
		control_terminate_done(&parsed);
	}
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_every_transition),
		cmocka_unit_test(test_term_then_grace_then_kill),
		cmocka_unit_test(test_requests_coalesce_and_escalate),
		cmocka_unit_test(test_a_signal_that_it_has),
		cmocka_unit_test(test_escalation_before_anything_was_sent),
		cmocka_unit_test(test_grace_gets_shorter_only),
		cmocka_unit_test(test_other_signals_pass),
		cmocka_unit_test(test_parse_terminate),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
