#include "executor/report/task_result.h"

#include "executor/base/clock.h"
#include "executor/report/outputs.h"
#include "executor/report/result_body.h"
#include "executor/report/result_engine.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

static char *copy(const char *s)
{
	return strdup(s ? s : "");
}

struct task_result *task_result_new(struct kube_client *client,
				    const struct task_result_identity *identity,
				    const struct log *log, struct error *err)
{
	struct task_result *result = calloc(1, sizeof(*result));
	int r = -ENOMEM;

	if (!result) {
		error_set(err, r, "task result: out of memory");
		return NULL;
	}
	result->client = client;
	result->log = log;
	result->is_settled = true;
	result->body = BUFFER_INIT(RESULT_BODY_BYTES_MAX);
	for (int step = 0; step < TASK_RESULT_STEPS; step++)
		result_engine_set_state(result, step, STEP_IDLE);
	result->identity = (struct task_result_identity){
		.namespace = copy(identity->namespace),
		.node_id = copy(identity->node_id),
		.workflow_name = copy(identity->workflow_name),
		.workflow_uid = copy(identity->workflow_uid),
		.instance_id = copy(identity->instance_id),
		.pod_uid = copy(identity->pod_uid),
		.first_pause_ms = identity->first_pause_ms > 0 ? identity->first_pause_ms :
								 TASK_RESULT_PAUSE_MS,
	};
	result->collection_path = result_body_path(identity->namespace, NULL);
	result->path = result_body_path(identity->namespace, identity->node_id);
	if (result->identity.namespace && result->identity.node_id &&
	    result->identity.workflow_name && result->identity.workflow_uid &&
	    result->identity.instance_id && result->identity.pod_uid && result->collection_path &&
	    result->path)
		r = event_timer_init(&result->pause, kube_client_loop(client),
				     result_engine_on_pause_end);
	if (r == 0)
		r = event_timer_init(&result->deadline, kube_client_loop(client),
				     result_engine_on_deadline);
	if (r < 0) {
		error_errno(err, r, "task result %s", identity->node_id);
		task_result_free(result);
		return NULL;
	}
	return result;
}

void task_result_free(struct task_result *result)
{
	if (!result)
		return;
	kube_call_free(result->call);
	event_timer_done(&result->pause);
	event_timer_done(&result->deadline);
	buffer_done(&result->body);
	json_free(result->outputs);
	json_free(result->stored);
	free(result->version);
	free(result->reopening_version);
	free(result->collection_path);
	free(result->path);
	free((char *)result->identity.namespace);
	free((char *)result->identity.node_id);
	free((char *)result->identity.workflow_name);
	free((char *)result->identity.workflow_uid);
	free((char *)result->identity.instance_id);
	free((char *)result->identity.pod_uid);
	free(result);
}

static void want(struct task_result *result, enum task_result_step step)
{
	struct error gone = ERROR_NONE;

	result->steps[step].revision++;
	result->steps[step].error.code = 0;
	result_engine_set_state(result, step, STEP_WANTED);
	if (result->is_given_up)
		error_set_class(&gone, -ETIMEDOUT, ERROR_TRANSIENT,
				"task result %s: not sent, the pod's time is up",
				result->identity.node_id);
	else if (result->is_taken_over)
		result_engine_tell_taken_over(result, &gone);
	if (gone.code)
		result_engine_mark_failed(result, step, &gone);
	result_engine_pump(result);
}

void task_result_want_placeholder(struct task_result *result)
{
	if (!result->exists)
		want(result, TASK_RESULT_PLACEHOLDER);
}

int task_result_set_outputs(struct task_result *result, struct json_object *outputs,
			    struct error *err)
{
	struct json_object *own = json_copy(outputs);
	int r;

	if (!own)
		return error_set(err, -ENOMEM, "task result %s: out of memory",
				 result->identity.node_id);
	r = outputs_limit(own, 0, OUTPUTS_BYTES_MAX, err);
	if (r < 0 && r != -EMSGSIZE) {
		json_free(own);
		return r;
	}
	json_free(result->outputs);
	result->outputs = own;
	want(result, TASK_RESULT_OUTPUTS);
	return r;
}

int task_result_set_progress(struct task_result *result, const char *progress)
{
	size_t size = strlen(progress) + 1;

	if (size > sizeof(result->progress))
		return -EINVAL;
	memcpy(result->progress, progress, size);
	want(result, TASK_RESULT_PROGRESS);
	return 0;
}

void task_result_finalize(struct task_result *result)
{
	result->is_complete = true;
	want(result, TASK_RESULT_FINAL);
}

void task_result_reopen(struct task_result *result)
{
	result->is_complete = false;
	want(result, TASK_RESULT_FINAL);
}

void task_result_take_over(struct task_result *result)
{
	result->is_inherited = true;
	task_result_reopen(result);
}

void task_result_set_deadline(struct task_result *result, int64_t at_ms)
{
	int64_t left_ms = at_ms - clock_now_ms();

	result->deadline_ms = at_ms;
	if (at_ms == 0) {
		event_timer_clear(&result->deadline);
		return;
	}
	event_timer_set(&result->deadline, left_ms);
	/* A pause that was meant for a longer life ends earlier. */
	if (result->is_pausing)
		event_timer_set(&result->pause,
				result_engine_random(left_ms > 0 ? left_ms / 4 : 0));
}

static int wait_for(struct task_result *result, const bool *done, struct error *err)
{
	int r = event_loop_wait_uncancelled(kube_client_loop(result->client), done);

	return r < 0 ? error_errno(err, r, "task result %s: event loop", result->identity.node_id) :
		       0;
}

static int step_error(const struct step *step, struct error *err)
{
	/* What is stored, but not as a whole, has an error, too. */
	if (step->error.code == 0 || step->state == STEP_WANTED)
		return 0;
	if (err)
		*err = step->error;
	return step->error.code;
}

int task_result_wait(struct task_result *result, enum task_result_step step, struct error *err)
{
	int r = wait_for(result, &result->steps[step].is_settled, err);

	return r < 0 ? r : step_error(&result->steps[step], err);
}

int task_result_wait_settled(struct task_result *result, struct error *err)
{
	int r = wait_for(result, &result->is_settled, err);

	for (int step = 0; r == 0 && step < TASK_RESULT_STEPS; step++)
		if (step != TASK_RESULT_PROGRESS)
			r = step_error(&result->steps[step], err);
	return r;
}
