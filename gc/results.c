#include "gc/results.h"

#include "executor/base/cleanup.h"
#include "executor/json/json.h"

#include <errno.h>
#include <string.h>

/* Written as text: as values, thousands of results would need megabytes. */
static int append_string(struct buffer *out, const char *s)
{
	_cleanup_json_ struct json_object *value = json_new_string(s, strlen(s));

	return value ? json_print(value, out, NULL) : -ENOMEM;
}

static int append_result(struct buffer *out, const struct gc_artifact *artifact)
{
	bool is_success = gc_verdict_is_success(artifact->verdict);
	int r = append_string(out, artifact->name);

	if (r == 0)
		r = buffer_append_string(out, ":{\"name\":");
	if (r == 0)
		r = append_string(out, artifact->name);
	if (r == 0)
		r = buffer_append_string(out, is_success ? ",\"success\":true" : ",\"error\":");
	if (r == 0 && !is_success)
		r = append_string(out, artifact->failure ? artifact->failure : "");
	/* Of an earlier run (RFC 7386: null removes). */
	if (r == 0 && is_success && artifact->had_failed)
		r = buffer_append_string(out, ",\"error\":null");
	return r < 0 ? r : buffer_append_string(out, "}");
}

/* Artifacts stand in the order of their nodes. */
static int append_node(const struct gc_task *task, const struct gc_artifact *artifact,
		       const struct gc_artifact *before, struct buffer *out)
{
	int r;

	if (before && before->node == artifact->node)
		return buffer_append_string(out, ",");
	r = before ? buffer_append_string(out, "}},") : 0;
	if (r == 0)
		r = append_string(out, task->nodes[artifact->node].id);
	return r < 0 ? r : buffer_append_string(out, ":{\"artifactResults\":{");
}

int gc_results_print(const struct gc_task *task, size_t max, struct buffer *out,
		     size_t reported[GC_RESULTS_MAX], struct error *err)
{
	const struct gc_artifact *before = NULL;
	int count = 0, r;

	buffer_reset(out);
	r = buffer_append_string(out, "{\"status\":{\"artifactResultsByNode\":{");
	for (size_t i = 0; i < task->artifact_count && (size_t)count < max &&
			   out->size < GC_RESULTS_BYTES && r == 0;
	     i++) {
		const struct gc_artifact *artifact = &task->artifacts[i];

		if (artifact->verdict == GC_UNDECIDED || artifact->is_reported)
			continue;
		r = append_node(task, artifact, before, out);
		if (r == 0)
			r = append_result(out, artifact);
		before = artifact;
		reported[count++] = i;
	}
	if (r == 0)
		r = buffer_append_string(out, count > 0 ? "}}}}}" : "}}}");
	return r < 0 ? error_errno(err, r, "artifact GC task %s: results", task->name) : count;
}
