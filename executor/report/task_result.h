/*
 * Keeps one WorkflowTaskResult in the state that its owner wants: exists, has these outputs, this
 * progress, is complete. The owner says so and goes on; what is missing is sent from the loop, one
 * request at a time, newest state last.
 *
 *	struct task_result *result = task_result_new(client, &identity, log, err);
 *	task_result_want_placeholder(result);            // POST
 *	…                                                // main runs
 *	r = task_result_set_outputs(result, outputs, err); // PATCH outputs
 *	r = task_result_wait(result, TASK_RESULT_OUTPUTS, err);
 *	task_result_finalize(result);                    // PATCH label, after the outputs
 *	r = task_result_wait_settled(result, err);
 *
 * Order and loss. Every PATCH names the resourceVersion seen last, so the API server refuses one
 * that was overtaken, be it by another writer or by our own repetition of a request whose answer
 * was lost. After a refusal or a lost answer an empty merge patch, which changes nothing and needs
 * no other permission than "patch", tells what is stored; only what is still missing is sent. No
 * sequence number of our own is needed on the object: with one request at a time and each one
 * conditional, a late one can only fail.
 *
 * Others. Fields that are not ours are never touched, and in the arrays that another writer of the same
 * pod fills, too, its entries stay (result_merge.h); if it replaces ours, they are sent again as soon as that is seen.
 * What an earlier pod has left under the same name (a workflow that is retried has the same nodes) is
 * not ours: before anything else it is taken away and the label set to false, in one request. A pod that
 * sees that a later one has done so to its own object writes no more. The annotation tiphys/pod-uid tells
 * whose it is; an object without one was an earlier pod's if it is complete when it is seen first.
 *
 * Transient failures are retried without end, with pauses of up to 1, 2, 4, 8, 16, 30, 30 … s;
 * the pod stays running meanwhile, as long as no deadline is set.
 */
#pragma once

#include "executor/base/error.h"
#include "executor/base/log.h"
#include "executor/json/json.h"
#include "executor/kube/client.h"

#include <stdint.h>

#define TASK_RESULT_PAUSE_MS 1000
#define TASK_RESULT_PAUSE_MAX_MS 30000
/* A server may ask for longer pauses, but not for the pod's whole life. */
#define TASK_RESULT_RETRY_AFTER_MAX_MS 120000
/* The first failure in a row is logged, and each so many'th. */
#define TASK_RESULT_LOG_EVERY 20

/* Copied by task_result_new. */
struct task_result_identity {
	const char *namespace; /* of the pod */
	const char *node_id; /* the object's name */
	const char *workflow_name;
	const char *workflow_uid;
	const char *instance_id; /* of the controller; NULL or "" = no label */
	const char *pod_uid; /* NULL or "" = unknown */
	int64_t first_pause_ms; /* 0 = TASK_RESULT_PAUSE_MS */
};

enum task_result_step {
	TASK_RESULT_PLACEHOLDER,
	TASK_RESULT_OUTPUTS,
	TASK_RESULT_PROGRESS,
	TASK_RESULT_FINAL,
	TASK_RESULT_STEPS,
};

struct task_result;

/* Borrows client and log (may be NULL) for its life. Nothing is sent yet. */
struct task_result *task_result_new(struct kube_client *client,
				    const struct task_result_identity *identity,
				    const struct log *log, struct error *err);
/* Drops whatever is under way. */
void task_result_free(struct task_result *result);
static inline void task_result_freep(struct task_result **result)
{
	task_result_free(*result);
}

/* The object shall exist, with the label report-outputs-completed=false if it has to be made or was an
 * earlier pod's. */
void task_result_want_placeholder(struct task_result *result);

/* These shall be the outputs: an object, copied. Members of earlier outputs that are missing from
 * it stay, and so do entries of `parameters` and `artifacts`. -EMSGSIZE if it had to be cut to
 * OUTPUTS_BYTES_MAX (err names what was left out; the rest is sent), or -ENOMEM. What has to be cut since
 * another writer's outputs are in the object, too, is told by task_result_wait(), likewise. */
int task_result_set_outputs(struct task_result *result, struct json_object *outputs,
			    struct error *err);

/* "N/M", checked by the caller; -EINVAL if it is longer than 64 bytes. Only the newest is sent. */
int task_result_set_progress(struct task_result *result, const char *progress);

/* The label shall be true: sent when outputs and progress are stored or have failed. */
void task_result_finalize(struct task_result *result);

/* It was finalized too early: the label shall be false again, until task_result_finalize(). */
void task_result_reopen(struct task_result *result);
/* The same for an object that an earlier process has written, whose last requests may still be under way. */
void task_result_take_over(struct task_result *result);

/* From at_ms (clock_now_ms) on, nothing is sent any more, and what is not stored has failed; pauses
 * until then get shorter. 0 = no deadline. */
void task_result_set_deadline(struct task_result *result, int64_t at_ms);

/* Runs the loop, also when it is cancelled, until the step is stored or has failed. 0, also for a
 * step that was never wanted, or its error. A permanent error of the API names the permission or
 * the definition that is missing. */
int task_result_wait(struct task_result *result, enum task_result_step step, struct error *err);

/* The same for all steps; the error is that of the first failed one, progress aside. */
int task_result_wait_settled(struct task_result *result, struct error *err);
