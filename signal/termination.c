#include "signal/termination.h"

#include <signal.h>

#define KEEP TERMINATION_PHASE_COUNT

/* Rows are phases, columns are events: ask, ask kill, send, grace over, end. */
static const enum termination_phase table[TERMINATION_PHASE_COUNT][TERMINATION_EVENT_COUNT] = {
	[TERMINATION_RUNNING] = { TERMINATION_ASKED, TERMINATION_ASKED, KEEP, KEEP,
				  TERMINATION_ENDED },
	[TERMINATION_ASKED] = { KEEP, KEEP, TERMINATION_TERM_SENT, KEEP, TERMINATION_ENDED },
	[TERMINATION_TERM_SENT] = { KEEP, TERMINATION_ASKED, KEEP, TERMINATION_KILL_SENT,
				    TERMINATION_ENDED },
	[TERMINATION_KILL_SENT] = { KEEP, KEEP, KEEP, KEEP, TERMINATION_ENDED },
	[TERMINATION_ENDED] = { KEEP, KEEP, KEEP, KEEP, KEEP },
};

enum termination_phase termination_next(enum termination_phase phase, enum termination_event event)
{
	enum termination_phase next = table[phase][event];

	return next == KEEP ? phase : next;
}

static bool ends_a_process(int signo)
{
	return signo == SIGHUP || signo == SIGINT || signo == SIGQUIT || signo == SIGTERM ||
	       signo == SIGKILL;
}

static uint64_t bit(int signo)
{
	return 1ULL << (signo - 1);
}

/* A later request may bring the end nearer, never put it off. */
static void shorten_grace(struct termination *termination, int64_t grace_ms, int64_t now_ms)
{
	int64_t at = now_ms + grace_ms;

	if (grace_ms < 0)
		return;
	if (termination->phase == TERMINATION_TERM_SENT &&
	    (!termination->kill_at_ms || at < termination->kill_at_ms))
		termination->kill_at_ms = at;
	if (termination->phase == TERMINATION_ASKED &&
	    (termination->by.grace_ms < 0 || grace_ms < termination->by.grace_ms))
		termination->by.grace_ms = grace_ms;
}

enum termination_outcome termination_ask(struct termination *termination,
					 const struct termination_request *request, unsigned id,
					 int64_t now_ms)
{
	bool is_kill = request->signo == SIGKILL;
	bool is_first = termination->phase == TERMINATION_RUNNING;

	if (termination->phase == TERMINATION_ENDED)
		return TERMINATION_LATE;
	if (!ends_a_process(request->signo)) {
		bool is_waiting = termination->passing & bit(request->signo);

		termination->passing |= bit(request->signo);
		return is_waiting ? TERMINATION_COALESCED : TERMINATION_ACCEPTED;
	}
	if (!is_first && (!is_kill || termination->by.signo == SIGKILL)) {
		shorten_grace(termination, request->grace_ms, now_ms);
		return TERMINATION_COALESCED;
	}
	termination->phase = termination_next(termination->phase,
					      is_kill ? TERMINATION_ASK_KILL : TERMINATION_ASK);
	termination->by = *request;
	termination->id = id;
	termination->kill_at_ms = 0;
	clock_gettime(CLOCK_REALTIME, &termination->asked_at);
	return is_first ? TERMINATION_ACCEPTED : TERMINATION_ESCALATED;
}

enum termination_outcome termination_note(struct termination *termination,
					  const struct termination_request *request, unsigned id)
{
	enum termination_outcome outcome;

	if (termination->phase != TERMINATION_RUNNING)
		return termination->phase == TERMINATION_ENDED ? TERMINATION_LATE :
								 TERMINATION_COALESCED;
	outcome = termination_ask(termination, request, id, 0);
	if (termination->phase == TERMINATION_ASKED)
		termination->phase = termination_next(termination->phase, TERMINATION_SEND);
	return outcome;
}

uint64_t termination_due(struct termination *termination, int64_t now_ms)
{
	uint64_t due = termination->phase == TERMINATION_ENDED ? 0 : termination->passing;

	termination->passing = 0;
	if (termination->phase == TERMINATION_ASKED) {
		termination->phase = termination_next(termination->phase, TERMINATION_SEND);
		due |= bit(termination->by.signo);
		if (termination->by.signo == SIGKILL)
			termination->phase =
				termination_next(termination->phase, TERMINATION_GRACE_OVER);
		else if (termination->by.grace_ms >= 0)
			termination->kill_at_ms = now_ms + termination->by.grace_ms;
	} else if (termination->phase == TERMINATION_TERM_SENT && termination->kill_at_ms &&
		   now_ms >= termination->kill_at_ms) {
		termination->phase = termination_next(termination->phase, TERMINATION_GRACE_OVER);
		termination->by.signo = SIGKILL;
		termination->kill_at_ms = 0;
		due |= bit(SIGKILL);
	}
	return due;
}

int64_t termination_next_ms(const struct termination *termination)
{
	return termination->phase == TERMINATION_TERM_SENT ? termination->kill_at_ms : 0;
}

void termination_end(struct termination *termination)
{
	termination->phase = termination_next(termination->phase, TERMINATION_END);
	termination->kill_at_ms = 0;
	termination->passing = 0;
}

const char *termination_phase_name(enum termination_phase phase)
{
	static const char *const names[TERMINATION_PHASE_COUNT] = { "running", "asked", "term sent",
								    "kill sent", "ended" };

	return names[phase];
}

const char *termination_outcome_name(enum termination_outcome outcome)
{
	static const char *const names[TERMINATION_OUTCOME_COUNT] = { "accepted", "escalated",
								      "coalesced", "late" };

	return names[outcome];
}

const char *termination_source_name(enum termination_source source)
{
	static const char *const names[TERMINATION_SOURCE_COUNT] = { "control", "file", "deadline",
								     "pod", "kernel" };

	return names[source];
}
