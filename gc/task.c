#include "gc/task.h"

#include "executor/artifact/store.h"
#include "executor/base/cleanup.h"
#include "executor/base/text.h"
#include "executor/template/location.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

/* A task's failures have to fit into the API server's limit of an object beside the task itself: the
 * first ones are told in full, those of a thousand more in a few words each. */
#define FULL_FAILURES 200
#define FULL_TEXT_MAX 1024
#define SHORT_TEXT_MAX 160

#define PLACE_BYTES_MAX (1024 * 1024)

#define HOW_TO_CONFIGURE \
	"see the docs for setup instructions: " \
	"https://argo-workflows.readthedocs.io/en/latest/configure-artifact-repository/"
#define UNSUPPORTED \
	"delete not supported for this artifact storage, please check the following issue for " \
	"details: https://github.com/argoproj/argo-workflows/issues/3102"

const char *gc_verdict_name(enum gc_verdict verdict)
{
	static const char *const names[GC_VERDICTS] = {
		[GC_UNDECIDED] = "undecided",       [GC_RECORDED] = "recorded",
		[GC_DELETED] = "deleted",           [GC_ALREADY_GONE] = "already gone",
		[GC_NEVER_STORED] = "never stored", [GC_NOT_CONFIGURED] = "not configured",
		[GC_UNSUPPORTED] = "unsupported",   [GC_FAILED] = "failed",
	};

	return names[verdict];
}

bool gc_verdict_is_success(enum gc_verdict verdict)
{
	return verdict == GC_RECORDED || verdict == GC_DELETED || verdict == GC_ALREADY_GONE ||
	       verdict == GC_NEVER_STORED;
}

/* --- Reading ---------------------------------------------------------------------------------- */

/* Room for one more of `count`, which is a power of two when there is none left; NULL = no memory. */
static void *grow(void *array, size_t count, size_t size)
{
	if (count > 0 && (count & (count - 1)) != 0)
		return array;
	return reallocarray(array, count > 0 ? 2 * count : 1, size);
}

static int add_artifact(const char *name, struct json_span json, void *context)
{
	struct gc_task *task = context;
	struct gc_artifact *artifacts =
		grow(task->artifacts, task->artifact_count, sizeof(*artifacts));
	struct gc_artifact artifact = {
		.name = strdup(name),
		.json = json,
		.node = task->node_count - 1,
	};

	if (artifacts)
		task->artifacts = artifacts;
	if (!artifacts || !artifact.name) {
		free(artifact.name);
		return -ENOMEM;
	}
	artifacts[task->artifact_count++] = artifact;
	task->nodes[artifact.node].count++;
	return 0;
}

static int add_node(const char *id, struct json_span json, void *context)
{
	struct gc_task *task = context;
	struct gc_node *nodes = grow(task->nodes, task->node_count, sizeof(*nodes));
	struct gc_node node = {
		.id = strdup(id),
		.archive_location = json_span_get(json, "archiveLocation"),
		.first = task->artifact_count,
	};

	if (nodes)
		task->nodes = nodes;
	if (!nodes || !node.id) {
		free(node.id);
		return -ENOMEM;
	}
	nodes[task->node_count++] = node;
	/* Of one that is null there is a name: whoever waits for its result gets one. */
	return json_span_each_name(json_span_get(json, "artifacts"), add_artifact, task);
}

/* --- What its status says --------------------------------------------------------------------- */

/* Names in order, to be found by halves: a status can be as long as the task. */
struct record {
	struct gc_task *task;
	size_t *nodes, *artifacts;
	size_t node;
};

static int compare_nodes(const void *a, const void *b, void *context)
{
	const struct gc_task *task = context;

	return strcmp(task->nodes[*(const size_t *)a].id, task->nodes[*(const size_t *)b].id);
}

static int compare_artifacts(const void *a, const void *b, void *context)
{
	const struct gc_task *task = context;
	const struct gc_artifact *one = &task->artifacts[*(const size_t *)a];
	const struct gc_artifact *other = &task->artifacts[*(const size_t *)b];

	if (one->node != other->node)
		return one->node < other->node ? -1 : 1;
	return strcmp(one->name, other->name);
}

static int read_result(const char *name, struct json_span json, void *context)
{
	struct record *record = context;
	const struct gc_node *node = &record->task->nodes[record->node];
	_cleanup_json_ struct json_object *result = NULL;
	size_t low = node->first, high = low + node->count;

	while (low < high) {
		size_t middle = low + (high - low) / 2;
		struct gc_artifact *artifact = &record->task->artifacts[record->artifacts[middle]];
		int order = strcmp(artifact->name, name);

		if (order == 0) {
			if (json_span_parse(json, "result", &result, NULL) < 0)
				return 0;
			artifact->is_reported = json_get_bool(result, "success", false);
			artifact->verdict = artifact->is_reported ? GC_RECORDED : GC_UNDECIDED;
			artifact->had_failed = !artifact->is_reported;
			return 0;
		}
		low = order < 0 ? middle + 1 : low;
		high = order < 0 ? high : middle;
	}
	return 0;
}

static int read_results(const char *id, struct json_span json, void *context)
{
	struct record *record = context;
	size_t low = 0, high = record->task->node_count;

	while (low < high) {
		size_t middle = low + (high - low) / 2;
		int order = strcmp(record->task->nodes[record->nodes[middle]].id, id);

		if (order == 0) {
			record->node = record->nodes[middle];
			return json_span_each(json_span_get(json, "artifactResults"), read_result,
					      record);
		}
		low = order < 0 ? middle + 1 : low;
		high = order < 0 ? high : middle;
	}
	return 0;
}

static int read_status(struct gc_task *task, struct json_span results)
{
	_cleanup_free_ size_t *nodes = calloc(task->node_count + 1, sizeof(*nodes));
	_cleanup_free_ size_t *artifacts = calloc(task->artifact_count + 1, sizeof(*artifacts));
	struct record record = { .task = task, .nodes = nodes, .artifacts = artifacts };

	if (!nodes || !artifacts)
		return -ENOMEM;
	for (size_t i = 0; i < task->node_count; i++)
		nodes[i] = i;
	for (size_t i = 0; i < task->artifact_count; i++)
		artifacts[i] = i;
	qsort_r(nodes, task->node_count, sizeof(*nodes), compare_nodes, task);
	qsort_r(artifacts, task->artifact_count, sizeof(*artifacts), compare_artifacts, task);
	return json_span_each(results, read_results, &record);
}

static void count(struct gc_task *task)
{
	for (size_t i = 0; i < task->artifact_count; i++) {
		const struct gc_artifact *artifact = &task->artifacts[i];

		task->counts[artifact->verdict]++;
		task->nodes[artifact->node].undecided += artifact->verdict == GC_UNDECIDED;
	}
}

int gc_task_parse(struct json_span json, struct gc_task *ret, struct error *err)
{
	struct json_span metadata = json_span_get(json, "metadata");
	struct json_span spec = json_span_get(json, "spec"), status = json_span_get(json, "status");
	int r;

	*ret = (struct gc_task){ .name = json_span_string(json_span_get(metadata, "name"), "") };
	if (!ret->name)
		return error_set(err, -ENOMEM, "out of memory");
	if (*ret->name == '\0') {
		gc_task_done(ret);
		return error_set(err, -EBADMSG, "artifact GC task: metadata.name: is missing");
	}
	r = json_span_each(json_span_get(spec, "artifactsByNode"), add_node, ret);
	if (r == 0)
		r = read_status(ret, json_span_get(status, "artifactResultsByNode"));
	if (r < 0) {
		error_errno(err, r, "artifact GC task %s", ret->name);
		gc_task_done(ret);
		return r;
	}
	count(ret);
	return 0;
}

void gc_task_done(struct gc_task *task)
{
	for (size_t i = 0; i < task->artifact_count; i++) {
		free(task->artifacts[i].name);
		free(task->artifacts[i].key);
		free(task->artifacts[i].failure);
	}
	for (size_t i = 0; i < task->node_count; i++)
		free(task->nodes[i].id);
	for (size_t i = 0; i < task->place_count; i++) {
		free(task->places[i].text);
		json_free(task->places[i].artifact);
	}
	free(task->artifacts);
	free(task->nodes);
	free(task->places);
	free(task->name);
	*task = (struct gc_task){ 0 };
}

/* --- Judging ---------------------------------------------------------------------------------- */

void gc_task_decide(struct gc_task *task, struct gc_artifact *artifact, enum gc_verdict verdict,
		    const char *failure)
{
	size_t max = task->failures < FULL_FAILURES ? FULL_TEXT_MAX : SHORT_TEXT_MAX;

	if (artifact->verdict != GC_UNDECIDED)
		return;
	if (!gc_verdict_is_success(verdict)) {
		artifact->failure = strndup(failure, text_cut_utf8(failure, strlen(failure), max));
		task->failures++;
	}
	artifact->verdict = verdict;
	task->nodes[artifact->node].undecided--;
	task->counts[GC_UNDECIDED]--;
	task->counts[verdict]++;
	if (task->on_verdict)
		task->on_verdict(task, artifact);
}

bool gc_task_shorten(struct gc_task *task)
{
	bool is_shorter = false;

	for (size_t i = 0; i < task->artifact_count; i++) {
		struct gc_artifact *artifact = &task->artifacts[i];
		char *text = artifact->failure;

		if (!text || strlen(text) <= SHORT_TEXT_MAX)
			continue;
		text[text_cut_utf8(text, strlen(text), SHORT_TEXT_MAX)] = '\0';
		artifact->is_reported = false;
		is_shorter = true;
	}
	if (task->failures < FULL_FAILURES)
		task->failures = FULL_FAILURES;
	return is_shorter;
}

static int read_location(struct json_span span, const char *what, struct json_object **ret,
			 struct error *err)
{
	int r = json_span_parse(span, what, ret, err);

	if (r == 0 && *ret && !json_is_object(*ret))
		return error_set(err, -EINVAL, "%s: expected an object, found %s", what,
				 json_kind_name(*ret));
	return r;
}

int gc_task_relocate(const struct gc_task *task, const struct gc_artifact *artifact,
		     struct json_object **ret, struct error *err)
{
	_cleanup_json_ struct json_object *json = NULL, *archive = NULL;
	int r = read_location(artifact->json, "artifact", &json, err);

	if (r == 0)
		r = read_location(task->nodes[artifact->node].archive_location, "archiveLocation",
				  &archive, err);
	return r < 0 ? r : location_relocate(json, archive, ret, err);
}

/* Whoever has deleted or never stored it, and whoever cannot: true if that is clear without a store. */
static bool judge_location(struct gc_task *task, struct gc_artifact *artifact,
			   struct json_object *json, struct json_object *archive)
{
	const char *type = location_type(json), *key = location_key(json);
	char text[1024];

	if (!location_is_complete(json)) {
		/* A URL that is nothing but a query says something, whatever that is. */
		key = key ? key : json_get_string(location_get(json), "url", "");
		if (!*key) {
			gc_task_decide(task, artifact, GC_NEVER_STORED, NULL);
			return true;
		}
		type = location_type(archive);
		if (!type) {
			snprintf(text, sizeof(text),
				 "artifact storage is not configured: artifact %.100s has the key "
				 "'%.200s', but its node has no archiveLocation; " HOW_TO_CONFIGURE,
				 artifact->name, key);
			gc_task_decide(task, artifact, GC_NOT_CONFIGURED, text);
			return true;
		}
	}
	if (!store_find(type) && strcmp(type, "git") != 0 && strcmp(type, "hdfs") != 0)
		snprintf(text, sizeof(text),
			 "Unsupported artifact driver for %.100s: this executor has no store of "
			 "type %s",
			 artifact->name, type);
	else if (!store_find(type) || (!store_find(type)->remove && !store_find(type)->remove_all))
		snprintf(text, sizeof(text), UNSUPPORTED " (%s)", type);
	else
		return false;
	gc_task_decide(task, artifact, GC_UNSUPPORTED, text);
	return true;
}

static int refuse_keyless(struct json_object *place, struct error *err)
{
	return error_set(err, -EINVAL, "its %s location has no key", location_type(place));
}

/* The place of a relocated artifact (consumed); its key is kept. */
static int find_place(struct gc_task *task, struct gc_artifact *artifact,
		      struct json_object *relocated, struct error *err)
{
	_cleanup_json_ struct json_object *owned = relocated;
	_cleanup_json_ struct json_object *common = json_copy(location_get(relocated));
	_cleanup_buffer_ struct buffer text = BUFFER_INIT(PLACE_BYTES_MAX);
	const char *key = location_key(relocated);
	struct gc_place *places;
	int r = common ? buffer_append_string(&text, location_type(relocated)) : -ENOMEM;

	if (r < 0)
		return error_set(err, r, "out of memory");
	json_remove(common, "key");
	r = json_print(common, &text, err);
	if (r < 0)
		return r;
	if (!key)
		return refuse_keyless(relocated, err);
	artifact->key = strdup(key);
	if (!artifact->key)
		return error_set(err, -ENOMEM, "out of memory");
	/* Neighbours mostly share one. */
	for (size_t i = task->place_count; i-- > 0;)
		if (strcmp(task->places[i].text, text.data) == 0) {
			artifact->place = i;
			task->places[i].count++;
			return 0;
		}
	places = grow(task->places, task->place_count, sizeof(*places));
	if (!places)
		return error_set(err, -ENOMEM, "out of memory");
	task->places = places;
	artifact->place = task->place_count;
	places[task->place_count++] = (struct gc_place){
		.text = buffer_take(&text),
		.artifact = TAKE_PTR(owned),
		.count = 1,
	};
	return 0;
}

/* A bare key of the repository that the artifact before had one of, too. */
static bool is_beside(const struct gc_task *task, const struct gc_artifact *artifact,
		      struct json_object *json, struct json_object *archive)
{
	const struct gc_artifact *before = artifact - 1;
	struct json_span a, b;

	if (artifact == task->artifacts || !before->is_bare || location_is_complete(json) ||
	    strcmp(location_type(json), location_type(archive)) != 0)
		return false;
	a = task->nodes[artifact->node].archive_location;
	b = task->nodes[before->node].archive_location;
	return a.size == b.size && memcmp(a.text, b.text, a.size) == 0;
}

static int judge(struct gc_task *task, struct gc_artifact *artifact, struct json_object *archive,
		 struct error *err)
{
	_cleanup_json_ struct json_object *json = NULL;
	struct json_object *relocated = NULL;
	int r = read_location(artifact->json, "artifact", &json, err);

	/* What cannot be read may well have been stored. */
	if (r == 0)
		r = location_check(json, err);
	if (r < 0 || judge_location(task, artifact, json, archive))
		return r;
	if (is_beside(task, artifact, json, archive)) {
		artifact->is_bare = true;
		artifact->place = artifact[-1].place;
		artifact->key = strdup(location_key(json));
		task->places[artifact->place].count++;
		return artifact->key ? 0 : -ENOMEM;
	}
	if (!location_is_complete(json) && !location_key(json))
		return refuse_keyless(archive, err);
	r = location_relocate(json, archive, &relocated, err);
	if (r == 0)
		r = find_place(task, artifact, relocated, err);
	artifact->is_bare = r == 0 && !location_is_complete(json);
	return r;
}

int gc_task_judge(struct gc_task *task, struct error *err)
{
	_cleanup_json_ struct json_object *archive = NULL;
	struct error unreadable = ERROR_NONE;
	size_t node = SIZE_MAX;

	for (size_t i = 0; i < task->artifact_count; i++) {
		struct gc_artifact *artifact = &task->artifacts[i];
		struct error cause = ERROR_NONE;
		int r;

		if (artifact->verdict != GC_UNDECIDED)
			continue;
		if (artifact->node != node) {
			node = artifact->node;
			json_free(TAKE_PTR(archive));
			unreadable = ERROR_NONE;
			read_location(task->nodes[node].archive_location, "archiveLocation",
				      &archive, &unreadable);
		}
		cause = unreadable;
		r = cause.code < 0 ? cause.code : judge(task, artifact, archive, &cause);
		if (r == -ENOMEM)
			return error_set(err, r, "out of memory");
		if (r < 0)
			gc_task_decide(task, artifact, GC_FAILED, cause.message);
	}
	return 0;
}
