#include "gc/report.h"

#include "executor/base/cleanup.h"
#include "gc/results.h"

#include <errno.h>

#define PATCH_BYTES_MAX (2 * GC_RESULTS_BYTES)

/* How many of those left out the error names. */
#define NAMED 3

static bool is_open(const struct gc_artifact *artifact)
{
	return artifact->verdict != GC_UNDECIDED && !artifact->is_reported;
}

static void leave_out(struct gc_api *api, struct gc_task *task)
{
	for (size_t i = 0; i < task->artifact_count; i++) {
		struct gc_artifact *artifact = &task->artifacts[i];

		if (!is_open(artifact))
			continue;
		log_error(api->log, "A result does not fit into its task",
			  log_string("artifactGCTask", task->name),
			  log_string("artifactName", artifact->name),
			  log_string("nodeID", task->nodes[artifact->node].id),
			  log_string("verdict", gc_verdict_name(artifact->verdict)));
		artifact->is_reported = artifact->is_left_out = true;
		task->left_out++;
	}
}

/* After a refusal of `count` results: something that may help; there is always less left of it. */
static void make_room(struct gc_task *task, size_t count, const struct error *refusal)
{
	if (!task->refusal.code)
		task->refusal = *refusal;
	if (gc_task_shorten(task))
		return;
	if (count > 1)
		task->portion = count / 2;
	else
		task->is_full = true;
}

int gc_report(struct gc_api *api, struct gc_task *task, struct error *err)
{
	_cleanup_buffer_ struct buffer body = BUFFER_INIT(PATCH_BYTES_MAX);
	size_t reported[GC_RESULTS_MAX];
	struct error cause = ERROR_NONE;
	int count, r;

	while (!task->is_full) {
		size_t max = task->portion > 0 ? task->portion : GC_RESULTS_MAX;

		count = gc_results_print(task, max, &body, reported, err);
		if (count <= 0)
			return count;
		r = gc_api_patch(api, task->name, &body, &cause);
		if (r == -E2BIG) {
			make_room(task, (size_t)count, &cause);
			continue;
		}
		if (r < 0) {
			*err = cause;
			return r;
		}
		for (int i = 0; i < count; i++)
			task->artifacts[reported[i]].is_reported = true;
	}
	leave_out(api, task);
	return 0;
}

int gc_report_left_out(const struct gc_task *task, struct error *err)
{
	size_t named = 0;

	if (task->left_out == 0)
		return 0;
	error_set(err, -E2BIG, "artifact GC task %s: %zu of %zu results were not stored",
		  task->name, task->left_out, task->artifact_count);
	for (size_t i = 0; i < task->artifact_count && named < NAMED; i++) {
		const struct gc_artifact *artifact = &task->artifacts[i];

		if (artifact->is_left_out)
			error_append(err, "%s artifact %.100s of node %.100s (%s)",
				     named++ > 0 ? "," : ":", artifact->name,
				     task->nodes[artifact->node].id,
				     gc_verdict_name(artifact->verdict));
	}
	if (task->left_out > named)
		error_append(err, " and %zu more that the log names", task->left_out - named);
	return error_append(err, "; the task has no room for them: %s", task->refusal.message);
}
