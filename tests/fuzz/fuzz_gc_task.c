/*
 * Tasks of artifact GC: an API server's list of them, or one alone. As they are, and once more as
 * JSON in which no member stands twice; of that is also required that what is read is what stands there.
 *
 * Required: each artifact gets a verdict or a place with a key, and relocated on its own it lies there;
 * counts add up; results are JSON, each verdict is in them once, and merged into the task (RFC 7386)
 * and read again they are the same.
 */
#include "executor/artifact/store.h"
#include "executor/base/cleanup.h"
#include "executor/template/location.h"
#include "gc/results.h"
#include "tests/fuzz/fuzz.h"
#include "tests/fuzz/targets.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

#define PRINTED_BYTES_MAX (16 * 1024 * 1024)
#define FAILURE_BYTES_MAX 1024
#define FAILURE "\"\xc3\xa4\"\n\x01\xff"

/* --- reading ---------------------------------------------------------------------------- */

struct reading {
	const struct gc_task *task;
	struct json_object *results; /* of all nodes, of one */
	size_t node, artifact;
};

static int check_artifact(const char *name, struct json_object *json, void *context)
{
	struct reading *reading = context;
	const struct gc_artifact *artifact = &reading->task->artifacts[reading->artifact];
	struct json_object *result = json_get(reading->results, name);
	_cleanup_json_ struct json_object *parsed = NULL;

	/* Also one that is null: it has a name. */
	fuzz_require(reading->artifact++ < reading->task->artifact_count);
	fuzz_require(artifact->node == reading->node && strcmp(artifact->name, name) == 0);
	fuzz_require(json_span_parse(artifact->json, "artifact", &parsed, NULL) == 0);
	fuzz_require(json_equal(parsed, json));
	fuzz_require((artifact->verdict == GC_RECORDED) == json_get_bool(result, "success", false));
	fuzz_require(artifact->had_failed == (result && artifact->verdict != GC_RECORDED));
	return 0;
}

static int check_node(const char *id, struct json_object *json, void *context)
{
	struct reading *reading = context;
	const struct gc_node *node = &reading->task->nodes[reading->node];
	struct json_object *results = reading->results;
	_cleanup_json_ struct json_object *archive = NULL;

	if (!json)
		return 0;
	fuzz_require(reading->node < reading->task->node_count);
	fuzz_require(strcmp(node->id, id) == 0 && node->first == reading->artifact);
	fuzz_require(json_span_parse(node->archive_location, "location", &archive, NULL) == 0);
	fuzz_require(json_equal(archive, json_get(json, "archiveLocation")));
	reading->results = json_find(results, id, "artifactResults", NULL);
	json_each(json_get(json, "artifacts"), check_artifact, reading);
	fuzz_require(reading->artifact == node->first + node->count);
	reading->results = results;
	reading->node++;
	return 0;
}

static void check_reading(const struct gc_task *task, struct json_object *json)
{
	struct reading reading = {
		.task = task,
		.results = json_find(json, "status", "artifactResultsByNode", NULL),
	};

	fuzz_require(strcmp(task->name,
			    json_string(json_find(json, "metadata", "name", NULL), NULL)) == 0);
	json_each(json_find(json, "spec", "artifactsByNode", NULL), check_node, &reading);
	fuzz_require(reading.node == task->node_count);
	fuzz_require(reading.artifact == task->artifact_count);
}

static void check_counts(const struct gc_task *task)
{
	size_t counts[GC_VERDICTS] = { 0 }, undecided = 0;

	for (size_t i = 0; i < task->artifact_count; i++) {
		const struct gc_artifact *artifact = &task->artifacts[i];

		fuzz_require(artifact->node < task->node_count);
		fuzz_require(artifact->is_reported == (artifact->verdict == GC_RECORDED));
		fuzz_require(!artifact->failure == (artifact->verdict == GC_UNDECIDED ||
						    gc_verdict_is_success(artifact->verdict)));
		fuzz_require(!artifact->failure || strlen(artifact->failure) <= FAILURE_BYTES_MAX);
		counts[artifact->verdict]++;
	}
	fuzz_require(memcmp(counts, task->counts, sizeof(counts)) == 0);
	for (size_t i = 0; i < task->node_count; i++)
		undecided += task->nodes[i].undecided;
	fuzz_require(undecided == counts[GC_UNDECIDED]);
}

/* --- judging ---------------------------------------------------------------------------- */

/* What a place is known by: the location without its key. */
static struct json_object *common_of(struct json_object *artifact)
{
	struct json_object *common = json_copy(location_get(artifact));

	json_remove(common, "key");
	return common;
}

static void check_place(const struct gc_task *task, const struct gc_artifact *artifact)
{
	const struct gc_place *place = &task->places[artifact->place];
	_cleanup_json_ struct json_object *json = NULL, *common = NULL, *expected = NULL;
	struct error err = ERROR_NONE;

	fuzz_require(artifact->place < task->place_count && artifact->key);
	fuzz_require(gc_task_relocate(task, artifact, &json, &err) == 0);
	fuzz_require(strcmp(location_key(json), artifact->key) == 0);
	fuzz_require(strcmp(location_type(json), location_type(place->artifact)) == 0);
	fuzz_require(store_find(location_type(json))->remove);
	common = common_of(json);
	expected = common_of(place->artifact);
	fuzz_require(json_equal(common, expected));
}

static void check_places(const struct gc_task *task)
{
	size_t placed = 0;

	for (size_t i = 0; i < task->artifact_count; i++)
		if (task->artifacts[i].verdict == GC_UNDECIDED)
			check_place(task, &task->artifacts[i]);
	for (size_t i = 0; i < task->place_count; i++)
		placed += task->places[i].count;
	fuzz_require(placed == task->counts[GC_UNDECIDED]);
}

static void on_verdict(struct gc_task *task, const struct gc_artifact *artifact)
{
	fuzz_require(artifact->verdict > GC_RECORDED && artifact->verdict < GC_VERDICTS);
	++*(size_t *)task->context;
}

/* --- results ---------------------------------------------------------------------------- */

/* As stores would: some are deleted, some fail, and some are not come to. */
static void decide_others(struct gc_task *task)
{
	static const enum gc_verdict verdicts[] = { GC_DELETED, GC_FAILED, GC_ALREADY_GONE,
						    GC_UNDECIDED };

	for (size_t i = 0; i < task->artifact_count; i++) {
		enum gc_verdict verdict = verdicts[i % (sizeof(verdicts) / sizeof(verdicts[0]))];

		if (verdict != GC_UNDECIDED)
			gc_task_decide(task, &task->artifacts[i], verdict, FAILURE);
	}
}

static void merge(struct json_object *target, struct json_object *patch);

static int merge_member(const char *key, struct json_object *value, void *context)
{
	struct json_object *target = context;

	if (!value) {
		json_remove(target, key);
	} else if (!json_is_object(value)) {
		fuzz_require(json_set(target, key, json_copy(value)) == 0);
	} else {
		if (!json_is_object(json_get(target, key)))
			fuzz_require(json_set(target, key, json_new_object()) == 0);
		merge(json_get(target, key), value);
	}
	return 0;
}

static void merge(struct json_object *target, struct json_object *patch)
{
	json_each(patch, merge_member, target);
}

static struct json_span print(struct json_object *json, struct buffer *text)
{
	struct json_span span;

	fuzz_require(json_print(json, text, NULL) == 0);
	fuzz_require(json_span_check(buffer_string(text), text->size, "text", &span, NULL) == 0);
	return span;
}

/* What has been stored is found by whoever comes next. */
static void check_stored(const struct gc_task *task, struct json_object *json)
{
	_cleanup_buffer_ struct buffer text = BUFFER_INIT(PRINTED_BYTES_MAX);
	struct json_span span = print(json, &text);
	struct error err = ERROR_NONE;
	struct gc_task again;

	fuzz_require(gc_task_parse(span, &again, &err) == 0);
	fuzz_require(again.artifact_count == task->artifact_count);
	for (size_t i = 0; i < task->artifact_count; i++) {
		const struct gc_artifact *artifact = &task->artifacts[i];
		bool is_success = gc_verdict_is_success(artifact->verdict);

		fuzz_require((again.artifacts[i].verdict == GC_RECORDED) == is_success);
		if (artifact->failure)
			fuzz_require(again.artifacts[i].had_failed);
		if (is_success && artifact->verdict != GC_RECORDED)
			fuzz_require(!json_find(json, "status", "artifactResultsByNode",
						task->nodes[artifact->node].id, "artifactResults",
						artifact->name, "error", NULL));
	}
	gc_task_done(&again);
}

/* `json` is the task, to merge results into; NULL = only that they are JSON. */
static void check_results(struct gc_task *task, struct json_object *json)
{
	_cleanup_buffer_ struct buffer text = BUFFER_INIT(PRINTED_BYTES_MAX);
	static size_t reported[GC_RESULTS_MAX];
	struct error err = ERROR_NONE;
	int count;

	while ((count = gc_results_print(task, GC_RESULTS_MAX, &text, reported, &err)) > 0) {
		_cleanup_json_ struct json_object *patch = NULL;

		fuzz_require(count <= GC_RESULTS_MAX);
		fuzz_require(json_parse(text.data, text.size, "results", &patch, &err) == 0);
		for (int i = 0; i < count; i++) {
			struct gc_artifact *artifact = &task->artifacts[reported[i]];

			fuzz_require(!artifact->is_reported && artifact->verdict != GC_UNDECIDED);
			artifact->is_reported = true;
		}
		if (json)
			merge(json, patch);
	}
	fuzz_require(count == 0);
	for (size_t i = 0; i < task->artifact_count; i++)
		fuzz_require(task->artifacts[i].is_reported ==
			     (task->artifacts[i].verdict != GC_UNDECIDED));
	if (json)
		check_stored(task, json);
}

/* --- the target ------------------------------------------------------------------------- */

/* `json` is the same as a value, in which no member stands twice; may be NULL. */
static void check_task(struct json_span span, struct json_object *json)
{
	struct error err = ERROR_NONE;
	struct gc_task task;
	size_t decided = 0;
	int r = gc_task_parse(span, &task, &err);

	if (r < 0) {
		fuzz_check_error(r, &err);
		fuzz_require(r == -EBADMSG && !task.name && !task.artifacts && !task.nodes);
		return;
	}
	check_counts(&task);
	if (json)
		check_reading(&task, json);
	task.on_verdict = on_verdict;
	task.context = &decided;
	fuzz_require(gc_task_judge(&task, &err) == 0);
	check_counts(&task);
	check_places(&task);
	decide_others(&task);
	check_counts(&task);
	fuzz_require(decided + task.counts[GC_RECORDED] + task.counts[GC_UNDECIDED] ==
		     task.artifact_count);
	check_results(&task, json);
	gc_task_done(&task);
}

static int visit_task(struct json_span span, void *context)
{
	_cleanup_json_ struct json_object *value = NULL, *again = NULL;
	_cleanup_buffer_ struct buffer text = BUFFER_INIT(PRINTED_BYTES_MAX);

	(void)context;
	check_task(span, NULL);
	fuzz_require(json_span_parse(span, "task", &value, NULL) == 0);
	if (!value)
		return 0;
	span = print(value, &text);
	/* Read as it was printed: what that changes is the printer's. */
	fuzz_require(json_span_parse(span, "task", &again, NULL) == 0);
	check_task(span, again);
	return 0;
}

void fuzz_gc_task(const char *data, size_t size)
{
	struct json_span document, items;

	if (json_span_check(data, size, "document", &document, NULL) < 0)
		return;
	items = json_span_get(document, "items");
	if (items.text)
		json_span_elements(items, visit_task, NULL);
	else
		visit_task(document, NULL);
}
