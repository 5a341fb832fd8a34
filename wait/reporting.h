/*
 * What main has left, as far as it is stored, and when the controller is told of it.
 *
 * In peace at the end: the outputs, then the label that completes them. Before that what is stored
 * is reported when something is stored that was not reported, 1 s after main's end and then after
 * pauses of 2, 4, 8, 16, 30, 30 … s, so that a node which dies late has lost little, and one that is
 * done within a second costs no request more. SIGTERM may be the beginning of the pod's end (g = its
 * grace period, r = min(1.5 s, g/3)):
 *
 *	at once     the pauses are a second, no longer
 *	g − r       the report is completed with what there is, and the termination message names
 *	            what is missing: whoever is killed now has said all
 *	g + r       still alive: the SIGTERM was not a kubelet's. The report is opened again, and
 *	            goes on as in peace; another SIGTERM begins it anew
 *
 * Why it may be completed early is explained in docs/states.md.
 */
#pragma once

#include "executor/base/buffer.h"
#include "executor/base/log.h"
#include "executor/event/loop.h"
#include "executor/report/journal.h"
#include "executor/report/task_result.h"
#include "executor/stage/saving.h"

#include <stdbool.h>

/* r of the above. */
int64_t reporting_reserve_ms(int64_t grace_ms);

struct reporting {
	const struct log *log;
	const struct template *template;
	struct task_result *result;
	const char *termination_log;
	const struct error *standing; /* the termination message, unless there is worse to say */
	int64_t grace_ms;

	/* What is captured; the owner fills it. */
	struct json_object *values; /* output parameters */
	struct buffer script_result;
	bool has_script_result;
	struct saving saving;
	struct journal *journal; /* what may be reported of it; set by the owner, freed here */
	bool is_resumed; /* the journal was an earlier process's; likewise */
	bool has_warned; /* that it is not written any more */

	struct event_timer early, close, reopen;
	int64_t reported_ms, pause_ms; /* the next early report comes so much later */
	bool has_captured; /* results and parameters: artifacts are next */
	bool is_terminating;
	bool has_news; /* something that is not reported */
	bool is_close_due, is_closed;
	bool is_finished;
	bool has_overwritten; /* the termination message, when it was closed */
};

/* 0 or a negative errno with err filled. Borrows everything; the owner sets what is not named here,
 * and `saving` before reporting_begin(). */
int reporting_init(struct reporting *reporting, struct event_loop *loop,
		   const struct template *template, struct task_result *result, int64_t grace_ms,
		   const struct log *log, struct error *err);
void reporting_done(struct reporting *reporting);

/* SIGTERM: see above; at any time, again and again. */
void reporting_terminate(struct reporting *reporting);

/* Main has ended: saving begins. */
void reporting_begin(struct reporting *reporting);

/* What an earlier process of this container has saved is taken over into `saving`, and a report that it
 * has completed is opened again. 0 or -ENOMEM. */
int reporting_resume(struct reporting *reporting, struct error *err);

/* Results and parameters are captured, or another artifact is settled. */
void reporting_news(struct reporting *reporting);

/* One of its artifacts is on its way. */
void reporting_progress(struct reporting *reporting, const struct ledger_entry *entry);

/* Everything is settled: all of it is to be reported, and no early report follows. The error is that
 * of building the outputs; that of storing them is the task result's. */
int reporting_finish(struct reporting *reporting, struct error *err);

/* And has been. */
void reporting_done_with(struct reporting *reporting);
