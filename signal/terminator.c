#include "signal/terminator.h"

#include "executor/base/cleanup.h"
#include "executor/base/clock.h"
#include "executor/process/signals.h"

#include <errno.h>
#include <signal.h>
#include <stddef.h>

static void notify(struct terminator *terminator, size_t container)
{
	if (terminator->options.on_change)
		terminator->options.on_change(terminator->options.context, container);
}

/* The earliest end of a grace period; whoever asks for less has set the timer already. */
static void arm(struct terminator *terminator)
{
	int64_t earliest = 0;

	for (size_t i = 0; i < terminator->options.count; i++) {
		int64_t at = termination_next_ms(&terminator->terminations[i]);

		if (at && (!earliest || at < earliest))
			earliest = at;
	}
	if (earliest)
		event_timer_set(&terminator->timer, earliest - clock_now_ms());
	else
		event_timer_clear(&terminator->timer);
}

static void send_due(struct terminator *terminator, size_t container)
{
	struct termination *termination = &terminator->terminations[container];
	bool was_waiting = termination->phase == TERMINATION_TERM_SENT;
	uint64_t due = termination_due(termination, clock_now_ms());

	if (due & signals_bit(SIGKILL) && was_waiting)
		log_warn(terminator->options.log, "The container did not end in time: killing it",
			 log_string("containerName", terminator->options.names[container]));
	for (int signo = 1; signo <= SIGNALS_MAX; signo++)
		if (due & signals_bit(signo))
			terminator->options.deliver(terminator->options.context, container, signo);
	if (due)
		notify(terminator, container);
}

void terminator_flush(struct terminator *terminator)
{
	for (size_t i = 0; i < terminator->options.count; i++)
		send_due(terminator, i);
	arm(terminator);
}

static void on_timer(struct event_timer *timer)
{
	terminator_flush((struct terminator *)((char *)timer - offsetof(struct terminator, timer)));
}

int terminator_init(struct terminator *terminator, struct event_loop *loop,
		    const struct terminator_options *options)
{
	*terminator = (struct terminator){ .options = *options };
	terminator->terminations = calloc(options->count + 1, sizeof(*terminator->terminations));
	if (!terminator->terminations)
		return -ENOMEM;
	return event_timer_init(&terminator->timer, loop, on_timer);
}

void terminator_done(struct terminator *terminator)
{
	event_timer_done(&terminator->timer);
	free(TAKE_PTR(terminator->terminations));
}

/* What changes something is told once; what repeats it, only to who looks closely. */
static void log_request(const struct terminator *terminator,
			const struct termination_request *request, unsigned id,
			enum termination_outcome outcome)
{
	bool is_news = outcome == TERMINATION_ACCEPTED || outcome == TERMINATION_ESCALATED;

	log_at(terminator->options.log, is_news ? LOG_INFO : LOG_DEBUG, "Termination requested",
	       log_int("request", id), log_int("signal", request->signo),
	       log_string("source", termination_source_name(request->source)),
	       log_string("outcome", termination_outcome_name(outcome)),
	       log_int("uid", request->uid == (uid_t)-1 ? -1 : (int64_t)request->uid),
	       log_int("pid", request->pid), log_string("peer", request->peer),
	       log_string("reason", request->reason));
}

enum termination_outcome terminator_ask(struct terminator *terminator,
					const struct termination_request *request,
					const size_t *which, size_t count, unsigned *ret_id)
{
	/* Strongest first. */
	static const enum termination_outcome order[] = { TERMINATION_ESCALATED,
							  TERMINATION_ACCEPTED,
							  TERMINATION_COALESCED, TERMINATION_LATE };
	bool seen[TERMINATION_OUTCOME_COUNT] = { false };
	enum termination_outcome outcome = TERMINATION_LATE;
	unsigned id = terminator->last_id + 1, joined = terminator->last_id;
	int64_t now_ms = clock_now_ms();

	for (size_t n = 0; n < (which ? count : terminator->options.count); n++) {
		size_t i = which ? which[n] : n;
		enum termination_outcome one =
			termination_ask(&terminator->terminations[i], request, id, now_ms);

		seen[one] = true;
		if (one == TERMINATION_COALESCED && terminator->terminations[i].id)
			joined = terminator->terminations[i].id;
		if (one == TERMINATION_ACCEPTED || one == TERMINATION_ESCALATED)
			notify(terminator, i);
	}
	for (size_t i = 0; i < sizeof(order) / sizeof(order[0]); i++) {
		if (seen[order[i]]) {
			outcome = order[i];
			break;
		}
	}
	if (outcome == TERMINATION_COALESCED)
		id = joined;
	else
		terminator->last_id = id;
	terminator->requests[request->source][outcome]++;
	log_request(terminator, request, id, outcome);
	/* Unconditionally: a coalesced request may have shortened a grace period. */
	event_timer_set(&terminator->timer, TERMINATOR_DELAY_MS);
	if (ret_id)
		*ret_id = id;
	return outcome;
}

void terminator_note(struct terminator *terminator, const struct termination_request *request,
		     size_t container)
{
	unsigned id = terminator->last_id + 1;
	enum termination_outcome outcome =
		termination_note(&terminator->terminations[container], request, id);

	terminator->requests[request->source][outcome]++;
	if (outcome == TERMINATION_ACCEPTED) {
		terminator->last_id = id;
		log_request(terminator, request, id, outcome);
		notify(terminator, container);
	}
}

void terminator_ended(struct terminator *terminator, size_t container)
{
	struct termination *termination = &terminator->terminations[container];

	if (termination->phase == TERMINATION_ENDED)
		return;
	if (termination->phase != TERMINATION_RUNNING)
		terminator->ended[termination->by.source]
				 [termination->phase == TERMINATION_KILL_SENT]++;
	termination_end(termination);
	notify(terminator, container);
}

int terminator_sent(const struct terminator *terminator, size_t container)
{
	const struct termination *termination = &terminator->terminations[container];

	return termination->phase == TERMINATION_TERM_SENT ||
			       termination->phase == TERMINATION_KILL_SENT ?
		       termination->by.signo :
		       0;
}
