#include "tests/unit/report_model_shared.h"

#include "executor/base/cleanup.h"
#include "executor/base/fd.h"

#include <errno.h>
#include <inttypes.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

#include <cmocka.h>

static const char *const item_names[MODEL_ITEMS] = { "a", "main" };
static const char *const item_texts[MODEL_ITEMS] = {
	"{\"name\":\"a\",\"s3\":{\"key\":\"a\"}}",
	"{\"name\":\"main-logs\",\"s3\":{\"key\":\"main-logs\"}}",
};

struct model_shared model_all;

struct json_object *model_parse(const char *text, size_t size)
{
	struct json_object *value = NULL;

	assert_int_equal(json_parse(text, size, "model", &value, NULL), 0);
	return value;
}

uint32_t model_keep_text(const char *text, size_t size)
{
	return text_pool_add(&model_all.texts, text, size, NULL);
}

uint32_t model_keep(struct json_object *value)
{
	_cleanup_buffer_ struct buffer text = BUFFER_INIT(MODEL_BYTES_MAX);

	assert_int_equal(json_print(value, &text, NULL), 0);
	return model_keep_text(text.data, text.size);
}

struct json_object *model_kept(uint32_t number)
{
	size_t size;
	const char *text = text_pool_get(&model_all.texts, number, &size);

	return model_parse(text, size);
}

int64_t model_take_version(struct json_object *object)
{
	struct json_object *metadata = json_get(object, "metadata");
	const char *text = json_get_string(metadata, "resourceVersion", NULL);
	int64_t version = text ? strtol(text, NULL, 10) : -1;

	if (metadata)
		json_remove(metadata, "resourceVersion");
	return version;
}

void model_blame(struct world *world, const char *what)
{
	if (!world->wrong)
		world->wrong = what;
}

void *model_make_room(void *table, size_t *room, size_t i, size_t size)
{
	size_t wanted = *room;

	while (wanted <= i)
		wanted = wanted ? 2 * wanted : 1024;
	if (wanted > *room) {
		table = reallocarray(table, wanted, size);
		assert_non_null(table);
		memset((char *)table + *room * size, 0, (wanted - *room) * size);
		*room = wanted;
	}
	return table;
}

void world_note_closed(struct world *world)
{
	if (world->reporting.is_closed && !world->is_closed)
		world->closed = world->confirmed;
	world->is_closed = world->reporting.is_closed;
}

bool world_are_all_settled(const struct world *world)
{
	bool are_all = true;

	for (unsigned i = 0; i < MODEL_ITEMS; i++)
		are_all &= world->items[i].is_settled;
	return are_all;
}

/* --- wait ------------------------------------------------------------------------------------ */

/* Shared: nobody changes outputs that are wanted. */
static struct json_object *parsed(uint32_t number)
{
	model_all.parsed = model_make_room(model_all.parsed, &model_all.parsed_room, number,
					   sizeof(struct json_object *));
	if (!model_all.parsed[number])
		model_all.parsed[number] = model_kept(number);
	return model_all.parsed[number];
}

static char *print_version(int64_t version)
{
	char *text = NULL;

	if (version >= 0 && asprintf(&text, "%" PRId64, version) < 0)
		abort();
	return text;
}

static int64_t parse_version(const char *text)
{
	return text ? strtol(text, NULL, 10) : -1;
}

void world_wake(struct world *world)
{
	struct reporting *reporting = &world->reporting;

	model_all.awake = world;
	reporting->result = &world->result;
	reporting->saving.items = world->items;
	if (world->phase >= PHASE_DONE)
		return;
	world->result.call = world->sent.is_there ? CALL(world) : NULL;
	if (world->outputs)
		world->result.outputs = json_ref(parsed(world->outputs));
	if (world->stored)
		world->result.stored = json_ref(parsed(world->stored));
	world->result.version = print_version(world->known_version);
	world->result.reopening_version = print_version(world->reopening_version);
}

/* Whoever wants to tell it something; reading it back is what a restart does. */
static void open_journal(struct world *world)
{
	size_t size, dropped;
	const char *bytes = text_pool_get(&model_all.texts, world->journal, &size);
	struct error err = ERROR_NONE;

	if (world->reporting.journal)
		return;
	assert_int_equal(ftruncate(model_all.file, 0), 0);
	assert_int_equal(pwrite(model_all.file, bytes, size, 0), (ssize_t)size);
	if (journal_new("pod-1", "node-1", dup(model_all.file), &world->reporting.journal, &dropped,
			&err) < 0)
		fail_msg("%s", err.message);
}

/* A restart finds the same in it as its writer knew. */
static void close_journal(struct world *world)
{
	struct journal *journal = TAKE_PTR(world->reporting.journal);
	_cleanup_buffer_ struct buffer bytes = BUFFER_INIT(MODEL_BYTES_MAX),
				       key = BUFFER_INIT(MODEL_BYTES_MAX);

	if (!journal)
		return;
	assert_int_equal(lseek(model_all.file, 0, SEEK_SET), 0);
	assert_int_equal(fd_read_all(model_all.file, &bytes), 0);
	world->journal = model_keep_text(buffer_string(&bytes), bytes.size);
	for (size_t i = 0; i < journal_count(journal); i++) {
		struct journal_entry entry = journal_entry(journal, i);

		buffer_append_format(&key, "%d %s %s\n", entry.kind, entry.name,
				     journal_state_name(entry.state));
	}
	world->journal_key = model_keep_text(buffer_string(&key), key.size);
	journal_free(journal);
}

void world_fire(struct world *world, struct event_timer *timer)
{
	open_journal(world);
	timer->source.slot = 0;
	timer->callback(timer);
}

static void forget_result(struct task_result *result)
{
	json_free(TAKE_PTR(result->outputs));
	json_free(TAKE_PTR(result->stored));
	free(TAKE_PTR(result->version));
	free(TAKE_PTR(result->reopening_version));
	buffer_done(&result->body);
}

/* `before` is the number that it had, if it is the same. */
static uint32_t number_of(struct json_object *value, uint32_t before)
{
	if (!value)
		return 0;
	return before && value == parsed(before) ? before : model_keep(value);
}

void world_rest(struct world *world)
{
	struct task_result *result = &world->result;

	close_journal(world);
	world->outputs = number_of(result->outputs, world->outputs);
	world->stored = number_of(result->stored, world->stored);
	if (world_is_void(world, &world->late))
		world->late.is_there = false;
	world->known_version = parse_version(result->version);
	world->reopening_version = parse_version(result->reopening_version);
	forget_result(result);
	model_all.awake = NULL;
}

void world_start(struct world *world, bool has_main_ended)
{
	struct reporting *reporting = &world->reporting;

	model_all.awake = world;
	*reporting = model_all.reporting;
	world->result = *model_all.result;
	reporting->result = &world->result;
	world->is_closed = false;
	world->phase = PHASE_MAIN;
	memset(world->items, 0, sizeof(world->items));
	for (unsigned i = 0; i < MODEL_ITEMS; i++)
		world->items[i].name = item_names[i];
	world->items[0].artifact = &model_all.artifact;
	if (model_all.fault == MODEL_FORGETS_JOURNAL)
		world->journal = 0;
	task_result_want_placeholder(&world->result);
	if (has_main_ended)
		world_end_main(world);
}

static void resume(struct world *world)
{
	struct reporting *reporting = &world->reporting;
	struct journal *journal = reporting->journal;

	/* The items are ours. */
	reporting->is_resumed = journal_count(journal) > 0 && model_all.fault != MODEL_STAYS_CLOSED;
	assert_int_equal(reporting_resume(reporting, NULL), 0);
	for (size_t i = 0; i < journal_count(journal); i++) {
		struct journal_entry entry = journal_entry(journal, i);
		struct saving_item *item = &world->items[entry.kind];

		assert_string_equal(entry.name, item->name);
		item->is_settled = entry.artifact != NULL;
		if (entry.artifact)
			item->stored = model_all.stored[entry.kind];
	}
}

void world_end_main(struct world *world)
{
	struct reporting *reporting = &world->reporting;

	open_journal(world);
	world->phase = PHASE_SAVING;
	reporting_begin(reporting);
	reporting->saving.items = world->items;
	resume(world);
	reporting->saving.count = MODEL_ITEMS;
	reporting_news(reporting);
}

void world_settle(struct world *world, unsigned i, bool is_stored)
{
	struct saving_item *item = &world->items[i];

	open_journal(world);
	item->is_settled = true;
	if (is_stored) {
		item->stored = model_all.stored[i];
		if (model_all.fault != MODEL_REPORTS_BEFORE_STORED)
			world->in_store |= (uint8_t)(1 << i);
		world->confirmed |= (uint8_t)(1 << i);
	} else {
		error_set_class(&item->error, -EIO, ERROR_TRANSIENT, "not stored");
	}
	if (model_all.fault == MODEL_FINALIZES_EARLY)
		task_result_finalize(&world->result);
	reporting_news(&world->reporting);
}

static void end(struct world *world, enum phase phase)
{
	forget_result(&world->result);
	world->phase = phase;
	world->sent.is_there = false;
	event_timer_clear(&world->reporting.early);
	event_timer_clear(&world->reporting.close);
	event_timer_clear(&world->reporting.reopen);
	event_timer_clear(&world->result.pause);
}

void world_die(struct world *world)
{
	/* What it has sent may still arrive. */
	if (world->sent.is_there)
		world->late = world->sent;
	end(world, PHASE_DEAD);
}

void world_die_recording(struct world *world, unsigned i)
{
	size_t before, after;
	char torn[8192];
	const char *bytes;

	text_pool_get(&model_all.texts, world->journal, &before);
	open_journal(world);
	world->in_store |= (uint8_t)(1 << i);
	assert_int_equal(journal_stored(world->reporting.journal, i, model_all.stored[i], NULL), 0);
	close_journal(world);
	bytes = text_pool_get(&model_all.texts, world->journal, &after);
	assert_in_range(after, before + 1, sizeof(torn));
	/* The header comes last (executor/report/journal_file.h). */
	memcpy(torn, bytes, after);
	memset(torn + before, 0, 8);
	world->journal = model_keep_text(torn, before + (after - before) / 2);
	world->journal_key = world->journal;
	world_die(world);
}

static void report_all(struct world *world)
{
	open_journal(world);
	assert_int_equal(reporting_finish(&world->reporting, NULL), 0);
	world->phase = PHASE_REPORTING;
}

static void finalize(struct world *world)
{
	const struct step *steps = world->result.steps;

	if (steps[TASK_RESULT_OUTPUTS].state == STEP_FAILED)
		model_blame(world, "the outputs are given up");
	open_journal(world);
	reporting_done_with(&world->reporting);
	task_result_finalize(&world->result);
	world->phase = PHASE_FINALIZING;
}

/* It knows of it, and is not about to put it right. */
static void judge_rest(struct world *world)
{
	const char *known = world->result.version;

	if (world->phase == PHASE_SAVING && world->result.is_settled && !world->is_closed &&
	    !world_are_all_settled(world) && model_look(world->plain).is_final && known &&
	    strtol(known, NULL, 10) == world->version)
		model_blame(world, "the label stays true while there is more to come");
}

void world_go_on(struct world *world)
{
	struct task_result *result = &world->result;

	world_note_closed(world);
	if (world->phase == PHASE_SAVING && world_are_all_settled(world))
		report_all(world);
	if (world->phase == PHASE_REPORTING && result->steps[TASK_RESULT_PLACEHOLDER].is_settled &&
	    result->steps[TASK_RESULT_OUTPUTS].is_settled)
		finalize(world);
	if (world->phase == PHASE_FINALIZING && result->is_settled) {
		if (result->steps[TASK_RESULT_FINAL].state != STEP_STORED)
			model_blame(world, "the label is given up");
		end(world, PHASE_DONE);
	}
	judge_rest(world);
}

const char *world_judge_end(const struct world *world)
{
	struct facts facts = model_look(world->plain);
	uint8_t known = 0;

	for (unsigned i = 0; i < MODEL_ITEMS; i++)
		if (world->items[i].stored)
			known |= (uint8_t)(1 << i);
	if (world->phase != PHASE_DONE)
		return "it does not come to an end";
	if (!facts.is_final)
		return "the label is not true at the end";
	if (facts.reported != known || (world->confirmed & ~known))
		return "what is stored is not reported at the end";
	if (facts.has_old)
		return "what an earlier pod has reported is still there";
	if (facts.other != world->other || facts.other_entry != world->other)
		return "what the other writer wrote is gone";
	return NULL;
}

/* --- what is shared -------------------------------------------------------------------------- */

struct world *world_new(void)
{
	struct world *world = calloc(1, sizeof(*world));

	assert_non_null(world);
	world->known_version = world->reopening_version = -1;
	return world;
}

void model_begin(enum model_fault fault)
{
	const struct task_result_identity identity = { .namespace = "argo",
						       .node_id = "node-1",
						       .workflow_name = "wf",
						       .workflow_uid = "uid-1",
						       .pod_uid = "pod-1" };
	struct error err = ERROR_NONE;

	memset(&model_all, 0, sizeof(model_all));
	model_all.fault = fault;
	model_all.file = memfd_create("journal", MFD_CLOEXEC);
	assert_true(model_all.file >= 0);
	model_all.log = (struct log){ .fd = -1, .level = LOG_ERROR };
	model_all.template = (struct template){ .type = TEMPLATE_RESOURCE };
	model_all.artifact = (struct template_artifact){ .name = item_names[0] };
	assert_int_equal(model_keep_text("", 0), 0);
	for (unsigned i = 0; i < MODEL_ITEMS; i++)
		model_all.stored[i] = model_parse(item_texts[i], strlen(item_texts[i]));
	model_all.result = task_result_new(NULL, &identity, NULL, &err);
	assert_non_null(model_all.result);
	assert_int_equal(reporting_init(&model_all.reporting, NULL, &model_all.template, NULL,
					30000, &model_all.log, &err),
			 0);
	model_all.reporting.termination_log = "/dev/null";
	model_all.reporting.standing = &model_all.standing;
}

void model_end(void)
{
	for (unsigned i = 0; i < MODEL_ITEMS; i++)
		json_free(model_all.stored[i]);
	reporting_done(&model_all.reporting);
	task_result_free(model_all.result);
	for (size_t i = 0; i < model_all.parsed_room; i++)
		json_free(model_all.parsed[i]);
	free(model_all.parsed);
	free(model_all.facts);
	text_pool_done(&model_all.texts);
	close(model_all.file);
}
