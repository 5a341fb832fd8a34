#include "executor/report/result_engine.h"

#include "executor/base/cleanup.h"
#include "executor/base/clock.h"
#include "executor/report/outputs.h"
#include "executor/report/result_body.h"
#include "executor/report/result_merge.h"

#include <errno.h>
#include <stddef.h>
#include <string.h>
#include <sys/random.h>

/* Refusals that tell something (gone, overtaken) are answered at once, this often in a row. */
#define DETOURS_MAX 2

/* --- steps ------------------------------------------------------------------------------ */

static bool is_wanted(const struct task_result *result, enum task_result_step step)
{
	return result->steps[step].state == STEP_WANTED;
}

void result_engine_set_state(struct task_result *result, enum task_result_step step,
			     enum step_state state)
{
	result->steps[step].state = state;
	result->steps[step].is_settled = state != STEP_WANTED;
}

static void mark_stored(struct task_result *result, enum task_result_step step)
{
	if (is_wanted(result, step))
		result_engine_set_state(result, step, STEP_STORED);
}

void result_engine_mark_failed(struct task_result *result, enum task_result_step step,
			       const struct error *error)
{
	if (!is_wanted(result, step))
		return;
	result->steps[step].error = *error;
	result_engine_set_state(result, step, STEP_FAILED);
}

/* What the request under way stands for has failed for good; what was wanted anew since it left is
 * tried again. The completion label is a step of its own, also when the outputs cannot be stored. */
static void fail_request(struct task_result *result, const struct error *error)
{
	bool is_any = false;

	for (int step = 0; step < TASK_RESULT_FINAL; step++) {
		is_any |= is_wanted(result, step);
		if (result->steps[step].sent == result->steps[step].revision)
			result_engine_mark_failed(result, step, error);
	}
	if (!is_any || result->request == REQUEST_FINALIZE)
		result_engine_mark_failed(result, TASK_RESULT_FINAL, error);
}

/* --- pauses ----------------------------------------------------------------------------- */

int64_t result_engine_random(int64_t max)
{
	uint64_t value = 0;

	if (getrandom(&value, sizeof(value), GRND_NONBLOCK) != sizeof(value))
		value = (uint64_t)clock_now_ms() * 0x9e3779b97f4a7c15u >> 11;
	return (int64_t)(value % ((uint64_t)max + 1));
}

static void start_pause(struct task_result *result, int64_t retry_after_ms)
{
	int64_t longest = result->identity.first_pause_ms;
	int64_t pause_ms;

	for (unsigned i = 1; i < result->failures && longest < TASK_RESULT_PAUSE_MAX_MS; i++)
		longest *= 2;
	if (longest > TASK_RESULT_PAUSE_MAX_MS)
		longest = TASK_RESULT_PAUSE_MAX_MS;
	/* At least half of it: however they fall, not more than two requests a second fail. */
	pause_ms = longest - result_engine_random(longest / 2);
	if (retry_after_ms > TASK_RESULT_RETRY_AFTER_MAX_MS)
		retry_after_ms = TASK_RESULT_RETRY_AFTER_MAX_MS;
	if (pause_ms < retry_after_ms)
		pause_ms = retry_after_ms;
	/* Several attempts must fit into what is left. */
	if (result->deadline_ms) {
		int64_t left_ms = result->deadline_ms - clock_now_ms();

		if (pause_ms > left_ms / 4)
			pause_ms = left_ms / 4;
	}
	if (result->log && (result->failures % TASK_RESULT_LOG_EVERY == 1))
		log_warn(result->log, "task result not stored, trying again",
			 log_string("taskResult", result->identity.node_id),
			 log_int("failures", result->failures),
			 log_duration("pause", pause_ms * 1000000),
			 log_error_field(&result->last_error));
	result->is_pausing = true;
	event_timer_set(&result->pause, pause_ms);
}

void result_engine_on_pause_end(struct event_timer *timer)
{
	struct task_result *result =
		(struct task_result *)((char *)timer - offsetof(struct task_result, pause));

	result->is_pausing = false;
	result_engine_pump(result);
}

void result_engine_on_deadline(struct event_timer *timer)
{
	struct task_result *result =
		(struct task_result *)((char *)timer - offsetof(struct task_result, deadline));
	struct error err = ERROR_NONE;

	result->is_given_up = true;
	kube_call_free(TAKE_PTR(result->call));
	result->request = REQUEST_NONE;
	result->is_pausing = false;
	event_timer_clear(&result->pause);
	error_set_class(&err, -ETIMEDOUT, ERROR_TRANSIENT,
			"task result %s: not stored before the pod's time was up: %s",
			result->identity.node_id,
			result->last_error.code ? result->last_error.message :
						  "no answer from the API server");
	for (int step = 0; step < TASK_RESULT_STEPS; step++)
		result_engine_mark_failed(result, step, &err);
	result_engine_pump(result);
}

/* --- sending ---------------------------------------------------------------------------- */

static enum request choose(const struct task_result *result)
{
	if (!result->exists)
		return REQUEST_CREATE;
	if (!result->is_version_known)
		return REQUEST_LEARN;
	if (result->is_earlier)
		return REQUEST_RENEW;
	if (is_wanted(result, TASK_RESULT_OUTPUTS) || is_wanted(result, TASK_RESULT_PROGRESS))
		return REQUEST_STORE;
	return REQUEST_FINALIZE;
}

/* A request to open the object again had no answer, and may be carried out later than all others. */
static bool may_reopen(const struct task_result *result)
{
	return result->reopening_version && result->version &&
	       !strcmp(result->reopening_version, result->version);
}

/* A new object gets all that is known, also what an object that is gone had; a patch gets what is
 * missing. */
static bool belongs(const struct task_result *result, enum request request,
		    enum task_result_step step)
{
	enum step_state state = result->steps[step].state;

	return state == STEP_WANTED || (request == REQUEST_CREATE && state == STEP_STORED);
}

/* What has to be sent for our outputs to be in the object beside those of another writer; NULL = no
 * memory. */
static struct json_object *merge_outputs(struct task_result *result)
{
	struct json_object *merged = NULL;

	result->cut.code = 0;
	result_merge(result->stored, result->outputs, OUTPUTS_BYTES_MAX, &merged, &result->cut);
	return merged;
}

static int make_fields(struct task_result *result, enum request request)
{
	_cleanup_json_ struct json_object *outputs = NULL;
	struct result_fields fields = { .outputs = NULL };

	if (belongs(result, request, TASK_RESULT_OUTPUTS)) {
		outputs = merge_outputs(result);
		if (!outputs)
			return -ENOMEM;
		fields.outputs = outputs;
	}
	if (belongs(result, request, TASK_RESULT_PROGRESS))
		fields.progress = result->progress;
	return request == REQUEST_CREATE ?
		       result_body_create(&result->identity, &fields, &result->body) :
		       result_body_patch(result->version, &fields, &result->body);
}

static int make_body(struct task_result *result, enum request request)
{
	switch (request) {
	case REQUEST_CREATE:
	case REQUEST_STORE:
		return make_fields(result, request);
	case REQUEST_RENEW:
		return result_body_renew(&result->identity, result->version, &result->body);
	case REQUEST_FINALIZE:
		/* Once more what may come late: then, if not before, the object has another version. */
		result->is_completing = result->is_complete && !may_reopen(result);
		return result_body_finalize(result->version, result->is_completing, &result->body);
	default:
		buffer_reset(&result->body);
		return buffer_append_string(&result->body, "{}");
	}
}

static void on_answer(struct kube_call *call, struct json_object *object,
		      const struct kube_status *status, const struct error *error, void *context);

static int send_request(struct task_result *result, enum request request, struct error *err)
{
	struct kube_request message = {
		.method = request == REQUEST_CREATE ? "POST" : "PATCH",
		.path = request == REQUEST_CREATE ? result->collection_path : result->path,
		.content_type = request == REQUEST_CREATE ? KUBE_JSON : KUBE_MERGE_PATCH,
	};
	int r = make_body(result, request);

	for (int step = 0; step < TASK_RESULT_STEPS; step++)
		result->steps[step].sent = result->steps[step].revision;
	if (r < 0)
		return error_errno(err, r, "task result %s", result->identity.node_id);
	message.body = result->body.data;
	message.size = result->body.size;
	result->call = kube_start(result->client, &message, on_answer, result, err);
	return result->call ? 0 : err->code;
}

void result_engine_pump(struct task_result *result)
{
	while (!result->call && !result->is_pausing) {
		struct error err = ERROR_NONE;
		bool is_settled = true;

		for (int step = 0; step < TASK_RESULT_STEPS; step++)
			is_settled &= !is_wanted(result, step);
		result->is_settled = is_settled;
		result->request = is_settled ? REQUEST_NONE : choose(result);
		if (is_settled || send_request(result, result->request, &err) == 0)
			return;
		if (!error_is_retryable(&err)) {
			fail_request(result, &err);
			continue;
		}
		result->failures++;
		result->last_error = err;
		start_pause(result, 0);
	}
	result->is_settled = false;
}

/* --- answers ---------------------------------------------------------------------------- */

static void forget_version(struct task_result *result)
{
	free(TAKE_PTR(result->version));
	json_free(TAKE_PTR(result->stored));
	result->is_version_known = false;
}

/* No answer tells whether the request was carried out, or ever will be. */
static void doubt(struct task_result *result)
{
	if (result->request == REQUEST_FINALIZE && !result->is_completing) {
		free(result->reopening_version);
		result->reopening_version = TAKE_PTR(result->version);
	}
	forget_version(result);
}

static void learn_version(struct task_result *result, struct json_object *object)
{
	const char *version =
		json_get_string(json_get(object, "metadata"), "resourceVersion", NULL);

	forget_version(result);
	result->version = version ? strdup(version) : NULL;
	result->stored = json_ref(json_get(object, "outputs"));
	result->is_version_known = true;
	result->exists = true;
	if (result->is_inherited && version) {
		free(result->reopening_version);
		result->reopening_version = strdup(version);
	}
	result->is_inherited = false;
}

static void mark_sent(struct task_result *result, enum task_result_step step)
{
	/* Wanted anew meanwhile: what was stored is old. */
	if (result->steps[step].sent == result->steps[step].revision)
		mark_stored(result, step);
}

static void mark_outputs_sent(struct task_result *result)
{
	struct step *outputs = &result->steps[TASK_RESULT_OUTPUTS];

	mark_sent(result, TASK_RESULT_OUTPUTS);
	if (outputs->state == STEP_STORED)
		outputs->error = result->cut;
}

void result_engine_tell_taken_over(const struct task_result *result, struct error *err)
{
	error_set(err, -ESTALE,
		  "task result %s: another pod of the same node reports there now: nothing more is "
		  "reported of this one",
		  result->identity.node_id);
}

/* Whose object is it that has been learnt of? */
static void judge_owner(struct task_result *result, struct json_object *object)
{
	const char *pod = result_body_pod(object);
	bool is_known = pod && *result->identity.pod_uid;
	bool is_ours = is_known && !strcmp(pod, result->identity.pod_uid);
	bool is_anothers = is_known && !is_ours;
	struct error taken_over = ERROR_NONE;

	if (!result->is_seen || result->is_earlier) {
		result->is_earlier = is_anothers || (!is_ours && !result->is_inherited &&
						     result_body_is_final(object));
	} else if (is_anothers) {
		result->is_taken_over = true;
		result_engine_tell_taken_over(result, &taken_over);
		for (int step = 0; step < TASK_RESULT_STEPS; step++)
			result_engine_mark_failed(result, step, &taken_over);
	}
}

/* Of what is wanted, what is there; and what was stored and is not there any more. */
static void compare(struct task_result *result, struct json_object *object)
{
	struct step *outputs = &result->steps[TASK_RESULT_OUTPUTS];

	if (outputs->state == STEP_WANTED || outputs->state == STEP_STORED) {
		_cleanup_json_ struct json_object *merged = merge_outputs(result);

		if (!merged || !result_body_contains(result->stored, merged)) {
			result_engine_set_state(result, TASK_RESULT_OUTPUTS, STEP_WANTED);
		} else {
			mark_stored(result, TASK_RESULT_OUTPUTS);
			outputs->error = result->cut;
		}
	}
	if (!strcmp(json_get_string(object, "progress", ""), result->progress))
		mark_stored(result, TASK_RESULT_PROGRESS);
	if (result_body_is_final(object) == result->is_complete &&
	    (!result->is_complete || !may_reopen(result)))
		mark_stored(result, TASK_RESULT_FINAL);
}

/* It was opened again, and is final: a request that had been given up for lost has come late, perhaps
 * that of a process which has died since. */
static void keep_open(struct task_result *result, struct json_object *object)
{
	if (result->request != REQUEST_FINALIZE && !result->is_complete &&
	    result->steps[TASK_RESULT_FINAL].state == STEP_STORED && result_body_is_final(object))
		result_engine_set_state(result, TASK_RESULT_FINAL, STEP_WANTED);
}

static void on_success(struct task_result *result, struct json_object *object)
{
	if (result->log && result->failures > 0)
		log_debug(result->log, "task result: the API server answers again",
			  log_string("taskResult", result->identity.node_id),
			  log_int("failures", result->failures));
	/* To learn something is no success yet: the next request may be lost like the last one. */
	if (result->request != REQUEST_LEARN) {
		result->failures = result->detours = 0;
		result->last_error.code = 0;
	}
	if (result->request == REQUEST_LEARN)
		judge_owner(result, object);
	else
		result->is_earlier = false;
	result->is_seen = true;
	learn_version(result, object);
	if (result->is_earlier || result->is_taken_over)
		return;
	mark_stored(result, TASK_RESULT_PLACEHOLDER);
	/* Overtaken, or nothing to open. */
	if (!may_reopen(result) || !result_body_is_final(object))
		free(TAKE_PTR(result->reopening_version));
	switch (result->request) {
	case REQUEST_LEARN:
		compare(result, object);
		break;
	case REQUEST_RENEW:
		/* Should it be completed behind our back, it is opened again. */
		if (result->steps[TASK_RESULT_FINAL].state == STEP_IDLE)
			result_engine_set_state(result, TASK_RESULT_FINAL, STEP_STORED);
		break;
	case REQUEST_CREATE:
	case REQUEST_STORE:
		mark_outputs_sent(result);
		mark_sent(result, TASK_RESULT_PROGRESS);
		break;
	default:
		if (result->is_completing == result->is_complete)
			mark_sent(result, TASK_RESULT_FINAL);
		break;
	}
	keep_open(result, object);
}

/* The object is not as it was thought to be: true if `status` says so and the way on is clear. */
static bool is_detour(struct task_result *result, const struct kube_status *status)
{
	bool is_create = result->request == REQUEST_CREATE;

	if (status->http == 404 && !is_create) {
		result->exists = false;
		forget_version(result);
		return true;
	}
	/* 412: a precondition that a gateway in front has looked at. */
	if (status->http != 409 && status->http != 412)
		return false;
	/* It exists, or so it is said: to learn what is there tells. */
	result->exists = true;
	forget_version(result);
	return true;
}

static void explain(const struct task_result *result, const struct kube_status *status,
		    struct error *err)
{
	if (status->http == 403)
		error_append(err, "; grant the pod's service account create and patch on "
				  "workflowtaskresults.argoproj.io");
	else if (status->http == 401)
		error_append(err, "; the API server does not accept the pod's service account "
				  "token");
	else if (status->http == 404)
		error_append(err,
			     "; is namespace %s there, and the custom resource definition "
			     "workflowtaskresults.argoproj.io installed?",
			     result->identity.namespace);
}

/* Success is the object as it is now. Whoever says it with anything else has not carried anything out, as
 * far as anybody can know. */
static int check_object(const struct task_result *result, struct json_object *object,
			struct error *err)
{
	const char *name = json_get_string(json_get(object, "metadata"), "name", "");

	/* As with a body that has been cut. */
	if (!object)
		return error_set_class(err, -EBADMSG, ERROR_TRANSIENT,
				       "task result %s: the answer is empty",
				       result->identity.node_id);
	if (strcmp(name, result->identity.node_id) != 0)
		return error_set(err, -EPROTO,
				 "task result %s: the answer is not that object: is that a "
				 "Kubernetes API server?",
				 result->identity.node_id);
	return 0;
}

static void on_answer(struct kube_call *call, struct json_object *object,
		      const struct kube_status *status, const struct error *error, void *context)
{
	struct task_result *result = context;
	struct error err = *error;
	int64_t retry_after_ms = status->retry_after_ms;
	bool is_outcome_unknown = status->is_outcome_unknown;

	if (err.code == 0)
		is_outcome_unknown = check_object(result, object, &err) < 0;
	if (err.code == 0) {
		on_success(result, object);
	} else if (error_is_retryable(&err)) {
		if (is_outcome_unknown)
			doubt(result);
		result->failures++;
		result->last_error = err;
		start_pause(result, retry_after_ms);
	} else if (is_detour(result, status)) {
		if (++result->detours > DETOURS_MAX) {
			result->failures++;
			result->last_error = err;
			start_pause(result, retry_after_ms);
		}
	} else {
		explain(result, status, &err);
		if (is_outcome_unknown)
			forget_version(result);
		fail_request(result, &err);
		result->failures = result->detours = 0;
	}
	/* Ends the life of object, status and error. */
	kube_call_free(call);
	result->call = NULL;
	result_engine_pump(result);
}
