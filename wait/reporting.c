#include "wait/reporting.h"

#include "executor/base/cleanup.h"
#include "executor/base/clock.h"
#include "executor/report/outputs.h"
#include "executor/report/termination.h"
#include "executor/stage/save.h"
#include "wait/recording.h"

#include <errno.h>
#include <stddef.h>

/* Sending the last report takes two requests. Of a short grace period no more than a third is
 * kept for them. */
#define RESERVE_MS 1500

/* Between early reports: the first, and, since nobody waits for them in peace, the longest. */
#define EARLY_PAUSE_MS 1000
#define EARLY_PAUSE_MAX_MS 30000

int64_t reporting_reserve_ms(int64_t grace_ms)
{
	return grace_ms / 3 < RESERVE_MS ? grace_ms / 3 : RESERVE_MS;
}

static int send(struct reporting *reporting, struct error *err)
{
	_cleanup_json_ struct json_object *outputs = NULL;
	struct outputs_source source = {
		.template_outputs = reporting->template->type == TEMPLATE_RESOURCE ?
					    NULL :
					    json_get(reporting->template->json, "outputs"),
		.values = reporting->values,
		.result = reporting->has_script_result ? buffer_string(&reporting->script_result) :
							 NULL,
		.result_size = reporting->script_result.size,
	};
	int r;

	reporting->has_news = false;
	r = recording_follow(reporting->journal, &reporting->saving, err);
	if (r == 0)
		r = journal_outputs(reporting->journal, &source, &outputs, err);
	return r < 0 ? r : task_result_set_outputs(reporting->result, outputs, err);
}

/* What cannot be said now is an error when all is said. */
static void send_early(struct reporting *reporting)
{
	struct error err = ERROR_NONE;

	if (send(reporting, &err) < 0)
		log_debug(reporting->log, "Early report", log_error_field(&err));
	reporting->reported_ms = clock_now_ms();
	if (reporting->pause_ms < EARLY_PAUSE_MAX_MS)
		reporting->pause_ms *= 2;
}

static void plan_early(struct reporting *reporting)
{
	int64_t pause_ms = reporting->is_terminating ? EARLY_PAUSE_MS : reporting->pause_ms;

	if (reporting->has_captured && reporting->has_news && !reporting->is_finished)
		event_timer_set(&reporting->early,
				reporting->reported_ms + pause_ms - clock_now_ms());
}

static void on_early(struct event_timer *timer)
{
	struct reporting *reporting =
		(struct reporting *)((char *)timer - offsetof(struct reporting, early));

	log_debug(reporting->log, "Reporting what is stored so far");
	send_early(reporting);
}

/* --- the time is about to be over ------------------------------------------------------- */

static void tell_what_is_missing(struct reporting *reporting)
{
	struct error message = ERROR_NONE;
	char names[1024];
	size_t count = saving_missing(&reporting->saving, names, sizeof(names));

	if (count == 0)
		return;
	log_warn(reporting->log, "The time is up: completing the report without what is missing",
		 log_int("count", (int64_t)count), log_string("missing", names));
	error_set(&message, -ETIMEDOUT, "%s%snot stored before the pod's time was up: %s",
		  reporting->standing->message, reporting->standing->code ? "; " : "", names);
	termination_write(reporting->termination_log, message.message, NULL);
	reporting->has_overwritten = true;
}

static void close_report(struct reporting *reporting)
{
	/* Of what main is still doing there is nothing to say. */
	if (!reporting->has_captured) {
		reporting->is_close_due = true;
		return;
	}
	reporting->is_close_due = false;
	reporting->is_closed = true;
	tell_what_is_missing(reporting);
	send_early(reporting);
	task_result_finalize(reporting->result);
}

static void on_close(struct event_timer *timer)
{
	close_report((struct reporting *)((char *)timer - offsetof(struct reporting, close)));
}

static void on_reopen(struct event_timer *timer)
{
	struct reporting *reporting =
		(struct reporting *)((char *)timer - offsetof(struct reporting, reopen));

	log_info(reporting->log, "Still alive after the grace period: going on");
	reporting->is_terminating = reporting->is_close_due = false;
	if (reporting->is_closed)
		task_result_reopen(reporting->result);
	reporting->is_closed = false;
}

void reporting_terminate(struct reporting *reporting)
{
	int64_t reserve_ms = reporting_reserve_ms(reporting->grace_ms);

	if (reporting->is_finished)
		return;
	event_timer_set(&reporting->reopen, reporting->grace_ms + reserve_ms);
	if (reporting->is_terminating)
		return;
	reporting->is_terminating = true;
	event_timer_set(&reporting->close, reporting->grace_ms - reserve_ms);
	plan_early(reporting);
}

/* --- in peace --------------------------------------------------------------------------- */

void reporting_begin(struct reporting *reporting)
{
	reporting->reported_ms = clock_now_ms();
	reporting->pause_ms = EARLY_PAUSE_MS;
}

int reporting_resume(struct reporting *reporting, struct error *err)
{
	if (!reporting->is_resumed)
		return 0;
	/* That one may have completed the report; there is more to come. */
	task_result_take_over(reporting->result);
	return recording_resume(reporting->journal, &reporting->saving, err);
}

void reporting_progress(struct reporting *reporting, const struct ledger_entry *entry)
{
	recording_progress(reporting->journal, entry);
}

void reporting_news(struct reporting *reporting)
{
	struct error err = ERROR_NONE;

	/* What cannot be recorded now can when it is sent. */
	if (recording_follow(reporting->journal, &reporting->saving, &err) < 0)
		log_debug(reporting->log, "Journal", log_error_field(&err));
	recording_check(reporting->journal, reporting->log, &reporting->has_warned);
	reporting->has_captured = reporting->has_news = true;
	if (reporting->is_close_due)
		close_report(reporting);
	else
		plan_early(reporting);
}

int reporting_finish(struct reporting *reporting, struct error *err)
{
	reporting->is_finished = true;
	event_timer_clear(&reporting->early);
	event_timer_clear(&reporting->close);
	event_timer_clear(&reporting->reopen);
	return send(reporting, err);
}

void reporting_done_with(struct reporting *reporting)
{
	if (journal_reported(reporting->journal) < 0)
		log_debug(reporting->log, "Out of memory for the journal");
}

int reporting_init(struct reporting *reporting, struct event_loop *loop,
		   const struct template *template, struct task_result *result, int64_t grace_ms,
		   const struct log *log, struct error *err)
{
	int r;

	*reporting = (struct reporting){ .log = log,
					 .template = template,
					 .result = result,
					 .grace_ms = grace_ms,
					 .values = json_new_object(),
					 .script_result = BUFFER_INIT(SAVE_RESULT_BYTES_MAX + 1) };
	if (!reporting->values)
		return error_set(err, -ENOMEM, "out of memory");
	r = event_timer_init(&reporting->early, loop, on_early);
	if (r == 0)
		r = event_timer_init(&reporting->close, loop, on_close);
	if (r == 0)
		r = event_timer_init(&reporting->reopen, loop, on_reopen);
	return r < 0 ? error_errno(err, r, "timerfd") : 0;
}

void reporting_done(struct reporting *reporting)
{
	event_timer_done(&reporting->early);
	event_timer_done(&reporting->close);
	event_timer_done(&reporting->reopen);
	saving_done(&reporting->saving);
	journal_free(TAKE_PTR(reporting->journal));
	json_free(TAKE_PTR(reporting->values));
	buffer_done(&reporting->script_result);
}
