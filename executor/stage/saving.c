#include "executor/stage/saving.h"

#include "executor/base/cleanup.h"
#include "executor/stage/collisions.h"
#include "executor/stage/save.h"
#include "executor/stage/source.h"
#include "executor/template/location.h"

#include <errno.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>

int saving_init(struct saving *saving, const struct stage *stage, bool has_artifacts,
		struct error *err)
{
	const struct template *template = stage->template;
	size_t artifacts = has_artifacts ? template->output_count : 0;
	size_t logs = template_archives_logs(template) ? template->container_count : 0;

	*saving = (struct saving){ .stage = stage,
				   .count = artifacts + logs,
				   .artifact_count = artifacts };
	saving->items = calloc(saving->count + 1, sizeof(*saving->items));
	if (!saving->items) {
		saving->count = saving->artifact_count = 0;
		return error_set(err, -ENOMEM, "out of memory");
	}
	for (size_t i = 0; i < artifacts; i++) {
		saving->items[i].artifact = &template->outputs[i];
		saving->items[i].name = template->outputs[i].name;
	}
	for (size_t i = 0; i < logs; i++)
		saving->items[artifacts + i].name = template->containers[i];
	return 0;
}

void saving_done(struct saving *saving)
{
	for (size_t i = 0; i < saving->count; i++) {
		json_free(saving->items[i].stored);
		store_stored_done(&saving->items[i].object);
	}
	free(TAKE_PTR(saving->items));
	saving->count = saving->artifact_count = 0;
}

/* --- the order -------------------------------------------------------------------------- */

static uint64_t measure(const struct stage *stage, const struct saving_item *item)
{
	_cleanup_source_ struct source source = { .fd = -1 };
	char path[SAVE_LOG_PATH_MAX];
	int r;

	if (item->artifact) {
		r = source_open(stage, item->artifact, &source, NULL);
	} else {
		save_log_path(item->name, path);
		r = source_open_collected(stage, path, &source, NULL);
	}
	/* What cannot be opened fails soon. */
	if (r < 0)
		return 0;
	return source.is_directory ? UINT64_MAX : source.size;
}

struct place {
	uint64_t size;
	size_t item;
};

static int by_size(const void *a, const void *b)
{
	const struct place *x = a, *y = b;

	if (x->size != y->size)
		return x->size < y->size ? -1 : 1;
	return x->item < y->item ? -1 : 1;
}

/* --- one of them ------------------------------------------------------------------------ */

/* As an artifact. */
static const char *name_of(const struct saving_item *item, char buffer[STAGE_LOG_NAME_MAX])
{
	return item->artifact ? item->name : stage_log_name(item->name, buffer);
}

static int describe(const struct saving_item *item, struct json_object **ret, struct error *err)
{
	const struct stage *stage = item->saving->stage;

	return item->artifact ? save_describe_artifact(stage, item->artifact, ret, err) :
				save_describe_log(stage, item->name, ret, err);
}

/* What is left out without being an error. */
static bool is_left_out(const struct stage *stage, const struct saving_item *item)
{
	if (!item->artifact) {
		if (item->error.code == -ENOENT)
			log_warn(stage->log, "Left out the log of a container that has none",
				 log_string("containerName", item->name));
		return item->error.code == -ENOENT;
	}
	if (!item->artifact->is_optional || item->error.class != ERROR_NOT_FOUND)
		return false;
	log_warn(stage->log, "Skipped an optional artifact that does not exist",
		 log_string("artifactName", item->name), log_error_field(&item->error));
	return true;
}

static struct ledger_entry *find_entry(const struct stage *stage, const struct saving_item *item)
{
	char name[STAGE_LOG_NAME_MAX];

	return ledger_find(stage->ledger, LEDGER_OUTPUT, name_of(item, name));
}

/* There is nothing to read because only a process that has died could: it is not absent. */
static void explain_lost(struct saving_item *item)
{
	if (item->was_handed && item->error.class == ERROR_NOT_FOUND)
		error_set_class(&item->error, -EOWNERDEAD, ERROR_PERMANENT,
				"artifact %s failed to save: reader lost: main had handed %s over "
				"to an earlier process of this container, which has died",
				item->name, item->artifact->path);
}

/* What a store says of its own errors is said of all others, too: which object it would have been. */
static void tell_location(struct saving_item *item)
{
	const struct template *template = item->saving->stage->template;
	_cleanup_json_ struct json_object *described = NULL, *relocated = NULL;

	if (describe(item, &described, NULL) == 0 &&
	    location_relocate(described, template_archive_location(template), &relocated, NULL) ==
		    0)
		location_tell(relocated, &item->error);
}

/* How it has ended is decided, logged and told here, whoever has done the work. */
static void settle(struct saving_item *item, int r)
{
	struct saving *saving = item->saving;
	const struct stage *stage = saving->stage;
	enum ledger_state state = LEDGER_DONE;

	if (r < 0)
		explain_lost(item);
	if (r < 0 && is_left_out(stage, item)) {
		state = LEDGER_ABSENT;
		item->error.code = 0;
	} else if (r < 0) {
		state = LEDGER_FAILED;
		tell_location(item);
		log_error(stage->log,
			  item->artifact ? "Failed to save artifact" : "Failed to save log",
			  log_string(item->artifact ? "artifactName" : "containerName", item->name),
			  log_error_field(&item->error));
	}
	ledger_end(find_entry(stage, item), state);
	item->is_settled = true;
	saving->is_done = --saving->left == 0;
	if (saving->on_settled)
		saving->on_settled(saving);
}

static void save_here(struct saving_item *item)
{
	struct stage own = *item->saving->stage;
	const struct stage *stage = &own;
	int r;

	ledger_begin(find_entry(stage, item));
	own.store.stored = &item->object;
	own.store.lost_from_s = item->lost_from_s;
	if (item->artifact)
		r = save_artifact(stage, item->artifact, &item->stored, &item->error);
	else
		r = save_log(stage, item->name, &item->stored, &item->error);
	settle(item, r);
}

/* Where it is stored follows from the template: a process that says something else is not believed in
 * anything. */
static void check_told(struct saving_item *item)
{
	_cleanup_json_ struct json_object *expected = NULL;
	int r = describe(item, &expected, &item->error);

	if (r == 0 && !json_equal(expected, item->stored)) {
		char name[STAGE_LOG_NAME_MAX];

		error_set(&item->error, -EPROTO,
			  "artifact %s failed to save: the staging process told of another place",
			  name_of(item, name));
	}
	if (item->error.code == 0)
		return;
	json_free(TAKE_PTR(item->stored));
	store_stored_done(&item->object);
}

static void on_saved(struct engine_request *request)
{
	struct saving_item *item =
		(struct saving_item *)((char *)request - offsetof(struct saving_item, request));
	char name[STAGE_LOG_NAME_MAX];

	item->stored = TAKE_PTR(request->stored);
	item->object = request->object;
	item->error = request->error;
	/* The death of the process that was to save it is nobody's but this artifact's to tell. */
	if (item->error.code == -ECHILD)
		error_prefix(&item->error, -ECHILD, "artifact %s failed to save",
			     name_of(item, name));
	if (item->error.code == 0)
		check_told(item);
	settle(item, item->error.code);
}

static void save_there(struct saving_item *item)
{
	struct saving *saving = item->saving;
	const struct stage *stage = saving->stage;
	size_t index = (size_t)(item - saving->items);

	item->request.order = (struct engine_order){
		.kind = ENGINE_SAVE,
		.is_log = !item->artifact,
		.index = item->artifact ? index : index - saving->artifact_count,
		.lost_from_s = item->lost_from_s,
	};
	item->request.handed = item->artifact && stage->handed ?
				       handed_find(stage->handed, item->artifact->path) :
				       NULL;
	item->request.on_done = on_saved;
	engine_submit(saving->engine, &item->request);
}

static void save(struct saving_item *item)
{
	item->error = ERROR_NONE;
	store_stored_done(&item->object);
	if (item->saving->engine)
		save_there(item);
	else
		save_here(item);
}

static void refuse(struct saving_item *item, const struct saving_item *other)
{
	_cleanup_json_ struct json_object *place = NULL;
	char name[STAGE_LOG_NAME_MAX], other_name[STAGE_LOG_NAME_MAX];
	/* A URL without a path has none. */
	_cleanup_free_ char *key = describe(item, &place, NULL) < 0 ? NULL :
								      location_copy_key(place);
	bool has_key = key && *key;

	error_set(
		&item->error, -EEXIST,
		"artifact %s failed to save: its %s%.500s%s is also that of artifact %s, which it "
		"would replace; give one of them a key of its own",
		name_of(item, name), has_key ? "key '" : "URL", has_key ? key : "",
		has_key ? "'" : "", name_of(other, other_name));
	settle(item, -EEXIST);
}

/* Nothing is stored over anything else of this pod. */
static void refuse_collisions(struct saving *saving)
{
	_cleanup_free_ size_t *over = NULL;
	struct error err = ERROR_NONE;
	int r = saving->left > 0 ? collisions_find(saving, &over, &err) : 0;

	for (size_t i = 0; i < saving->count; i++) {
		struct saving_item *item = &saving->items[i];

		if (item->is_settled)
			continue;
		if (over && over[i] != i)
			refuse(item, &saving->items[over[i]]);
		if (over)
			continue;
		item->error = err;
		settle(item, r);
	}
}

int saving_adopt(struct saving *saving, size_t i, struct json_object *stored)
{
	struct saving_item *item = &saving->items[i];

	item->stored = json_copy(stored);
	if (!item->stored)
		return -ENOMEM;
	item->is_settled = true;
	ledger_end(find_entry(saving->stage, item), LEDGER_DONE);
	return 0;
}

void saving_run(struct saving *saving)
{
	_cleanup_free_ struct place *order = calloc(saving->count + 1, sizeof(*order));
	size_t count = 0;

	saving->left = 0;
	for (size_t i = 0; i < saving->count; i++) {
		struct saving_item *item = &saving->items[i];

		item->saving = saving;
		if (item->stored)
			continue;
		item->is_settled = false;
		saving->left++;
		/* Any order is better than none. */
		if (order)
			order[count++] = (struct place){ measure(saving->stage, item), i };
	}
	saving->is_done = saving->left == 0;
	refuse_collisions(saving);
	if (count > 0)
		qsort(order, count, sizeof(*order), by_size);
	for (size_t i = 0; order ? i < count : i < saving->count; i++) {
		struct saving_item *item = &saving->items[order ? order[i].item : i];

		if (!item->is_settled)
			save(item);
	}
	event_loop_wait_uncancelled(saving->stage->store.loop, &saving->is_done);
}

/* --- what has become of it -------------------------------------------------------------- */

static size_t first_of(const struct saving *saving, enum saving_kind kind)
{
	return kind == SAVING_ARTIFACTS ? 0 : saving->artifact_count;
}

static size_t end_of(const struct saving *saving, enum saving_kind kind)
{
	return kind == SAVING_ARTIFACTS ? saving->artifact_count : saving->count;
}

int saving_error(const struct saving *saving, enum saving_kind kind, struct error *err)
{
	struct error all = ERROR_NONE;

	for (size_t i = first_of(saving, kind); i < end_of(saving, kind); i++) {
		const struct error *next = &saving->items[i].error;

		if (next->code == 0)
			continue;
		if (all.code == 0)
			error_set_class(&all, next->code, next->class, "%s; ", next->message);
		else
			error_append(&all, "%s; ", next->message);
	}
	if (all.code)
		*err = all;
	return all.code;
}

size_t saving_missing(const struct saving *saving, char *buffer, size_t size)
{
	size_t count = 0, used = 0;

	*buffer = '\0';
	for (size_t i = 0; i < saving->count; i++) {
		const struct saving_item *item = &saving->items[i];

		if (item->is_settled)
			continue;
		if (used < size)
			used += (size_t)snprintf(buffer + used, size - used, "%s%s%s",
						 count ? ", " : "", item->name,
						 item->artifact ? "" : "-logs");
		count++;
	}
	return count;
}
