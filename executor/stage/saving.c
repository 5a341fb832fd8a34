#include "executor/stage/saving.h"

#include "executor/base/cleanup.h"
#include "executor/event/fibers.h"
#include "executor/stage/save.h"
#include "executor/stage/source.h"

#include <errno.h>
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

/* --- a few at a time ------------------------------------------------------------------- */

/* What is left out without being an error. */
static bool is_left_out(const struct stage *stage, const struct saving_item *item)
{
	if (!item->artifact) {
		if (item->error.code == -ENOENT)
			log_warn(stage->log, "Left out the log of a container that never ran",
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

	return ledger_find(stage->ledger, LEDGER_OUTPUT,
			   item->artifact ? item->name : stage_log_name(item->name, name));
}

static void save(struct saving *saving, struct saving_item *item)
{
	struct stage own = *saving->stage;
	const struct stage *stage = &own;
	struct ledger_entry *entry = find_entry(stage, item);
	enum ledger_state state = LEDGER_DONE;
	int r;

	ledger_begin(entry);

	item->error.code = 0;
	store_stored_done(&item->object);
	own.store.stored = &item->object;
	if (item->artifact)
		r = save_artifact(stage, item->artifact, &item->stored, &item->error);
	else
		r = save_log(stage, item->name, &item->stored, &item->error);
	if (r < 0 && is_left_out(stage, item)) {
		state = LEDGER_ABSENT;
		item->error.code = 0;
	} else if (r < 0) {
		state = LEDGER_FAILED;
		log_error(stage->log,
			  item->artifact ? "Failed to save artifact" : "Failed to save log",
			  log_string(item->artifact ? "artifactName" : "containerName", item->name),
			  log_error_field(&item->error));
	}
	ledger_end(entry, state);
	item->is_settled = true;
	if (saving->on_settled)
		saving->on_settled(saving);
}

struct round {
	struct saving *saving;
	const struct place *order;
};

/* A failure is the item's own: the others go on. */
static int save_in_order(void *context, size_t i, struct error *err)
{
	const struct round *round = context;

	(void)err;
	save(round->saving, &round->saving->items[round->order[i].item]);
	return 0;
}

void saving_run(struct saving *saving)
{
	_cleanup_free_ struct place *order = calloc(saving->count + 1, sizeof(*order));
	struct round round = { .saving = saving, .order = order };
	size_t count = 0;

	for (size_t i = 0; i < saving->count; i++) {
		struct saving_item *item = &saving->items[i];

		if (item->stored)
			continue;
		item->is_settled = false;
		if (order)
			order[count++] = (struct place){ measure(saving->stage, item), i };
		else /* any order is better than none */
			save(saving, item);
	}
	if (count > 0)
		qsort(order, count, sizeof(*order), by_size);
	fibers_run(saving->stage->store.loop, count, SAVING_WIDTH, save_in_order, &round, NULL);
	/* Without memory for stacks they go one after the other. */
	for (size_t i = 0; i < count; i++)
		if (!saving->items[order[i].item].is_settled)
			save(saving, &saving->items[order[i].item]);
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
