/*
 * The machine behind task_result.h: what is known of the object, what is wanted, what is under way.
 * Only task_result.c (its owner's side) and result_engine.c (requests and answers) include this.
 */
#pragma once

#include "executor/report/task_result.h"

#define PROGRESS_BYTES_MAX 64

enum step_state { STEP_IDLE, STEP_WANTED, STEP_STORED, STEP_FAILED };

struct step {
	enum step_state state;
	bool is_settled; /* not WANTED */
	unsigned revision; /* of what is wanted */
	unsigned sent; /* revision in the request under way */
	struct error error; /* FAILED: why; STORED: what was left out, if anything */
};

enum request {
	REQUEST_NONE,
	REQUEST_CREATE,
	REQUEST_LEARN, /* an empty patch: what is there? */
	REQUEST_RENEW, /* what an earlier pod has left goes */
	REQUEST_STORE, /* outputs, progress */
	REQUEST_FINALIZE,
};

struct task_result {
	struct kube_client *client;
	const struct log *log;
	struct task_result_identity identity; /* its strings are ours */
	char *collection_path, *path;

	/* What is known of the object. */
	bool exists;
	bool is_version_known;
	char *version; /* NULL: the server names none */
	/* Of the object that an answerless request to open it again was for: it may be carried out
	 * as long as the object has that version. NULL = there is none. */
	char *reopening_version;
	bool is_inherited; /* not seen yet: a process before this one may have sent such a request */
	bool is_seen; /* an answer has shown it */
	bool is_earlier; /* it is still as an earlier pod has left it */
	bool is_taken_over; /* a later pod's: nothing of ours belongs there any more */
	struct json_object *stored; /* its outputs, as of that version; NULL = none */

	/* What is wanted. */
	struct step steps[TASK_RESULT_STEPS];
	struct json_object *outputs;
	struct error cut; /* what of them was left out of the last request for want of room */
	char progress[PROGRESS_BYTES_MAX];
	bool is_complete; /* what the label shall say */
	bool is_settled;

	/* What is under way. */
	enum request request;
	bool is_completing; /* what REQUEST_FINALIZE makes the label say */
	struct kube_call *call;
	struct buffer body;
	struct event_timer pause, deadline;
	bool is_pausing;
	bool is_given_up; /* the deadline has passed */
	int64_t deadline_ms;
	unsigned failures, detours; /* in a row */
	struct error last_error;
};

/* Starts what is to be done next, if anything; call it after every change of what is wanted. */
void result_engine_pump(struct task_result *result);

/* Callbacks of the two timers. */
void result_engine_on_pause_end(struct event_timer *timer);
void result_engine_on_deadline(struct event_timer *timer);

/* A random time of up to max ms: pauses with full jitter. */
int64_t result_engine_random(int64_t max);

void result_engine_set_state(struct task_result *result, enum task_result_step step,
			     enum step_state state);
/* Why nothing is sent any more. */
void result_engine_tell_taken_over(const struct task_result *result, struct error *err);
/* Makes a wanted step a failed one; nothing for a step that is not wanted. */
void result_engine_mark_failed(struct task_result *result, enum task_result_step step,
			       const struct error *error);
