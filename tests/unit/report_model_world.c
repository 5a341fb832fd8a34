#include "tests/unit/report_model_world.h"

#include "executor/base/cleanup.h"
#include "executor/base/clock.h"
#include "executor/base/fd.h"
#include "tests/unit/api_server.h"
#include "tests/unit/text_pool.h"

#include <errno.h>
#include <inttypes.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <time.h>
#include <unistd.h>

#include <cmocka.h>

#define BYTES_MAX ((size_t)1024 * 1024)
#define LABEL_FINAL "workflows.argoproj.io/report-outputs-completed"
#define CALL(world) ((struct kube_call *)&(world)->sent)

static const char *const item_names[MODEL_ITEMS] = { "a", "main" };
static const char *const item_texts[MODEL_ITEMS] = {
	"{\"name\":\"a\",\"s3\":{\"key\":\"a\"}}",
	"{\"name\":\"main-logs\",\"s3\":{\"key\":\"main-logs\"}}",
};

struct facts {
	uint8_t reported;
	uint8_t other; /* what the other writer wrote last */
	bool is_final, is_whole, has_unknown, is_known;
};

/* What all states of a search share. */
static struct {
	enum model_fault fault;
	struct text_pool texts;
	int file; /* the journal's, of the world that is awake */
	struct world *awake;
	struct facts *facts; /* of objects, by their text */
	struct json_object **parsed; /* outputs, likewise */
	size_t facts_room, parsed_room;
	kube_callback answer; /* of the one state machine there is */
	struct template template;
	struct template_artifact artifact;
	struct error standing;
	struct log log;
	struct json_object *stored[MODEL_ITEMS];
	/* As they are when `wait` has just been started. */
	struct reporting reporting;
	struct task_result *result;
} all;

static struct json_object *parse(const char *text, size_t size)
{
	struct json_object *value = NULL;

	assert_int_equal(json_parse(text, size, "model", &value, NULL), 0);
	return value;
}

static uint32_t keep_text(const char *text, size_t size)
{
	return text_pool_add(&all.texts, text, size, NULL);
}

static uint32_t keep(struct json_object *value)
{
	_cleanup_buffer_ struct buffer text = BUFFER_INIT(BYTES_MAX);

	assert_int_equal(json_print(value, &text, NULL), 0);
	return keep_text(text.data, text.size);
}

static struct json_object *kept(uint32_t number)
{
	size_t size;
	const char *text = text_pool_get(&all.texts, number, &size);

	return parse(text, size);
}

static int64_t take_version(struct json_object *object)
{
	struct json_object *metadata = json_get(object, "metadata");
	const char *text = json_get_string(metadata, "resourceVersion", NULL);
	int64_t version = text ? strtol(text, NULL, 10) : -1;

	if (metadata)
		json_remove(metadata, "resourceVersion");
	return version;
}

static void blame(struct world *world, const char *what)
{
	if (!world->wrong)
		world->wrong = what;
}

/* --- the clock, the connection: in place of executor/event and executor/kube ----------------- */

int64_t __wrap_clock_now_ms(void);
time_t __wrap_time(time_t *ret);
int __wrap_event_timer_init(struct event_timer *timer, struct event_loop *loop,
			    void (*callback)(struct event_timer *timer));
void __wrap_event_timer_done(struct event_timer *timer);
void __wrap_event_timer_set(struct event_timer *timer, int64_t delay_ms);
void __wrap_event_timer_clear(struct event_timer *timer);
struct event_loop *__wrap_kube_client_loop(const struct kube_client *client);
struct kube_call *__wrap_kube_start(struct kube_client *client, const struct kube_request *request,
				    kube_callback callback, void *context, struct error *err);
void __wrap_kube_call_free(struct kube_call *call);

/* Which timer ends when is the search's to say. */
int64_t __wrap_clock_now_ms(void)
{
	return 1;
}

time_t __wrap_time(time_t *ret)
{
	if (ret)
		*ret = 1;
	return 1;
}

int __wrap_event_timer_init(struct event_timer *timer, struct event_loop *loop,
			    void (*callback)(struct event_timer *timer))
{
	(void)loop;
	*timer = (struct event_timer){ .callback = callback };
	return 0;
}

void __wrap_event_timer_done(struct event_timer *timer)
{
	timer->source.slot = 0;
}

void __wrap_event_timer_set(struct event_timer *timer, int64_t delay_ms)
{
	(void)delay_ms;
	timer->source.slot = 1;
}

void __wrap_event_timer_clear(struct event_timer *timer)
{
	timer->source.slot = 0;
}

struct event_loop *__wrap_kube_client_loop(const struct kube_client *client)
{
	(void)client;
	return NULL;
}

/* What was stored when the report was closed is what the label may speak of. */
static void note_closed(struct world *world)
{
	if (world->reporting.is_closed && !world->is_closed)
		world->closed = world->confirmed;
	world->is_closed = world->reporting.is_closed;
}

static bool are_all_settled(const struct world *world)
{
	bool are_all = true;

	for (unsigned i = 0; i < MODEL_ITEMS; i++)
		are_all &= world->items[i].is_settled;
	return are_all;
}

static void spoil(struct json_object *body, bool is_post)
{
	struct json_object *outputs = json_get(body, "outputs");

	if (all.fault == MODEL_IGNORES_VERSIONS)
		take_version(body);
	else if (all.fault == MODEL_REPLACES_OUTPUTS && outputs)
		json_set(outputs, "parameters", json_new_array());
	else if (all.fault == MODEL_BLANK_PLACEHOLDER && is_post)
		json_remove(json_get(body, "metadata"), "labels");
}

struct kube_call *__wrap_kube_start(struct kube_client *client, const struct kube_request *request,
				    kube_callback callback, void *context, struct error *err)
{
	struct world *world = all.awake;
	bool is_post = strcmp(request->method, "POST") == 0;
	_cleanup_json_ struct json_object *body = parse(request->body, request->size);

	(void)client;
	(void)err;
	assert_ptr_equal(context, &world->result);
	/* One at a time. */
	assert_false(world->sent.is_there);
	note_closed(world);
	spoil(body, is_post);
	world->sent = (struct world_request){
		.is_there = true,
		.is_post = is_post,
		.text = keep(body),
		.number = ++world->requests,
		.needed = world->is_closed ? world->closed : world->confirmed,
		.is_all = world->is_closed || are_all_settled(world),
	};
	world->sent.version = take_version(body);
	world->sent.plain = keep(body);
	all.answer = callback;
	return CALL(world);
}

void __wrap_kube_call_free(struct kube_call *call)
{
	if (call)
		((struct world_request *)call)->is_there = false;
}

/* --- the object ------------------------------------------------------------------------------ */

static uint8_t item_of(struct json_object *artifact)
{
	for (unsigned i = 0; i < MODEL_ITEMS; i++)
		if (json_equal(artifact, all.stored[i]))
			return (uint8_t)(1 << i);
	return 0;
}

static struct facts read_facts(uint32_t plain)
{
	_cleanup_json_ struct json_object *object = plain ? kept(plain) : NULL;
	struct json_object *outputs = json_get(object, "outputs");
	struct json_object *artifacts = json_get(outputs, "artifacts");
	struct json_object *labels = json_find(object, "metadata", "labels", NULL);
	struct json_object *owners = json_find(object, "metadata", "ownerReferences", NULL);
	const char *final = json_get_string(labels, LABEL_FINAL, "");
	struct facts facts = { .is_known = true, .is_final = strcmp(final, "true") == 0 };

	for (size_t i = 0; i < json_length(artifacts); i++) {
		uint8_t item = item_of(json_at(artifacts, i));

		facts.has_unknown |= item == 0 || (facts.reported & item);
		facts.reported |= item;
	}
	facts.other =
		(uint8_t)json_get_int(json_at(json_get(outputs, "parameters"), 0), "value", 0);
	facts.is_whole =
		!object ||
		((facts.is_final || strcmp(final, "false") == 0) &&
		 !strcmp(json_get_string(labels, "workflows.argoproj.io/workflow", ""), "wf") &&
		 !strcmp(json_get_string(json_at(owners, 0), "uid", ""), "uid-1"));
	return facts;
}

/* Room for number `i` of a table, which is zero at first. */
static void *make_room(void *table, size_t *room, size_t i, size_t size)
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

static struct facts look(uint32_t plain)
{
	all.facts = make_room(all.facts, &all.facts_room, plain, sizeof(*all.facts));
	if (!all.facts[plain].is_known)
		all.facts[plain] = read_facts(plain);
	return all.facts[plain];
}

uint32_t world_object_key(const struct world *world)
{
	struct facts facts = look(world->plain);

	return (world->object ? 1u : 0) | (uint32_t)facts.is_final << 1 |
	       (uint32_t)(facts.other != 0) << 2 | (uint32_t)facts.reported << 8;
}

/* What nothing but a loss of the object could make do anything. */
static bool is_void(const struct world *world, const struct world_request *request)
{
	return world->object &&
	       (request->is_post || (request->version >= 0 && request->version != world->version));
}

/* After every change of the object. `request` is NULL when it was not ours. */
static void judge(struct world *world, uint32_t before, const struct world_request *request)
{
	struct facts old = look(before), new = look(world->plain);

	if (new.has_unknown || (new.reported & ~world->in_store))
		blame(world, "a location is reported that has no object");
	if (old.reported & ~new.reported)
		blame(world, "a location that was reported is not any more");
	if (new.other != world->other)
		blame(world, "what the other writer wrote is gone");
	if (!new.is_whole)
		blame(world, "labels or owner are missing");
	if (request && request->number < world->newest)
		blame(world, "an older request was carried out after a newer one");
	if (request && new.is_final && !old.is_final &&
	    (!request->is_all || (request->needed & ~new.reported)))
		blame(world, "the label says that all is reported, and it is not");
}

static int carry_out(struct world *world, const char *method, uint32_t text,
		     const struct world_request *request, struct buffer *answer)
{
	struct api_object stored = { .version = world->version };
	uint32_t before = world->plain;
	size_t size;
	const char *body = text_pool_get(&all.texts, text, &size);
	int status;

	if (world->object)
		stored.object = kept(world->object);
	status = api_object_process(&stored, method, body, size, answer);
	if (stored.version != world->version) {
		world->version = stored.version;
		world->object = keep(stored.object);
		take_version(stored.object);
		world->plain = keep(stored.object);
		judge(world, before, request);
		if (request && request->number > world->newest)
			world->newest = request->number;
	}
	json_free(stored.object);
	return status;
}

static int carry_out_request(struct world *world, const struct world_request *request,
			     struct buffer *answer)
{
	return carry_out(world, request->is_post ? "POST" : "PATCH", request->text, request,
			 answer);
}

void world_other_writes(struct world *world)
{
	_cleanup_buffer_ struct buffer answer = BUFFER_INIT(BYTES_MAX);
	char text[512];
	int n;

	world->other = world->other == 1 ? 2 : 1;
	n = snprintf(text, sizeof(text),
		     "{\"metadata\":{\"name\":\"node-1\",\"labels\":{"
		     "\"workflows.argoproj.io/workflow\":\"wf\"%s},"
		     "\"ownerReferences\":[{\"uid\":\"uid-1\"}]},"
		     "\"outputs\":{\"parameters\":[{\"name\":\"p\",\"value\":%d}]}}",
		     world->object ? "" : ",\"" LABEL_FINAL "\":\"false\"", world->other);

	carry_out(world, world->object ? "PATCH" : "POST", keep_text(text, (size_t)n), NULL,
		  &answer);
}

void world_arrive_late(struct world *world)
{
	_cleanup_buffer_ struct buffer answer = BUFFER_INIT(BYTES_MAX);

	world->late.is_there = false;
	carry_out_request(world, &world->late, &answer);
}

/* --- answers --------------------------------------------------------------------------------- */

static void deliver(struct world *world, int http, struct buffer *body)
{
	_cleanup_json_ struct json_object *object = NULL;
	struct http_response response = { .status = http, .body = *body };
	struct kube_status status = { .retry_after_ms = -1, .is_outcome_unknown = true };
	struct error err = ERROR_NONE;

	if (http)
		kube_status_decode("PATCH", "/", &response, &status, &object, &err);
	else
		error_set_class(&err, -ECONNRESET, ERROR_TRANSIENT, "connection reset");
	all.answer(CALL(world), object, &status, &err, &world->result);
}

static void refuse(int http, const char *reason, struct buffer *body)
{
	buffer_append_format(body, "{\"kind\":\"Status\",\"reason\":\"%s\",\"code\":%d}", reason,
			     http);
}

void world_answer(struct world *world, enum model_action how)
{
	_cleanup_buffer_ struct buffer body = BUFFER_INIT(BYTES_MAX);
	const struct world_request request = world->sent;
	bool is_lost = how == MODEL_LOST || how == MODEL_ANSWER_LOST;
	int http = 0;

	if (how == MODEL_ANSWERED || how == MODEL_ANSWER_LOST)
		http = carry_out_request(world, &request, &body);
	else if (how == MODEL_LOST)
		world->late = request;
	else
		refuse(http = how == MODEL_REFUSED_409 ? 409 : 500, "Unknown", &body);
	if (is_lost && all.fault == MODEL_TAKES_LOSS_FOR_SUCCESS) {
		buffer_reset(&body);
		buffer_append_string(&body, "{\"metadata\":{}}");
		http = 200;
		is_lost = false;
	}
	deliver(world, is_lost ? 0 : http, &body);
}

/* --- wait ------------------------------------------------------------------------------------ */

/* Shared: nobody changes outputs that are wanted. */
static struct json_object *parsed(uint32_t number)
{
	all.parsed = make_room(all.parsed, &all.parsed_room, number, sizeof(struct json_object *));
	if (!all.parsed[number])
		all.parsed[number] = kept(number);
	return all.parsed[number];
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

	all.awake = world;
	reporting->result = &world->result;
	reporting->saving.items = world->items;
	if (world->phase >= PHASE_DONE)
		return;
	world->result.call = world->sent.is_there ? CALL(world) : NULL;
	if (world->outputs)
		world->result.outputs = json_ref(parsed(world->outputs));
	world->result.version = print_version(world->known_version);
	world->result.reopening_version = print_version(world->reopening_version);
}

/* Whoever wants to tell it something; reading it back is what a restart does. */
static void open_journal(struct world *world)
{
	size_t size, dropped;
	const char *bytes = text_pool_get(&all.texts, world->journal, &size);
	struct error err = ERROR_NONE;

	if (world->reporting.journal)
		return;
	assert_int_equal(ftruncate(all.file, 0), 0);
	assert_int_equal(pwrite(all.file, bytes, size, 0), (ssize_t)size);
	if (journal_new("pod-1", "node-1", dup(all.file), &world->reporting.journal, &dropped,
			&err) < 0)
		fail_msg("%s", err.message);
}

/* A restart finds the same in it as its writer knew. */
static void close_journal(struct world *world)
{
	struct journal *journal = TAKE_PTR(world->reporting.journal);
	_cleanup_buffer_ struct buffer bytes = BUFFER_INIT(BYTES_MAX), key = BUFFER_INIT(BYTES_MAX);

	if (!journal)
		return;
	assert_int_equal(lseek(all.file, 0, SEEK_SET), 0);
	assert_int_equal(fd_read_all(all.file, &bytes), 0);
	world->journal = keep_text(buffer_string(&bytes), bytes.size);
	for (size_t i = 0; i < journal_count(journal); i++) {
		struct journal_entry entry = journal_entry(journal, i);

		buffer_append_format(&key, "%d %s %s\n", entry.kind, entry.name,
				     journal_state_name(entry.state));
	}
	world->journal_key = keep_text(buffer_string(&key), key.size);
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
	free(TAKE_PTR(result->version));
	free(TAKE_PTR(result->reopening_version));
	buffer_done(&result->body);
}

void world_rest(struct world *world)
{
	struct task_result *result = &world->result;

	close_journal(world);
	if (!result->outputs)
		world->outputs = 0;
	else if (!world->outputs || result->outputs != parsed(world->outputs))
		world->outputs = keep(result->outputs);
	if (is_void(world, &world->late))
		world->late.is_there = false;
	world->known_version = parse_version(result->version);
	world->reopening_version = parse_version(result->reopening_version);
	forget_result(result);
	all.awake = NULL;
}

void world_start(struct world *world, bool has_main_ended)
{
	struct reporting *reporting = &world->reporting;

	all.awake = world;
	*reporting = all.reporting;
	world->result = *all.result;
	reporting->result = &world->result;
	world->is_closed = false;
	world->phase = PHASE_MAIN;
	memset(world->items, 0, sizeof(world->items));
	for (unsigned i = 0; i < MODEL_ITEMS; i++)
		world->items[i].name = item_names[i];
	world->items[0].artifact = &all.artifact;
	if (all.fault == MODEL_FORGETS_JOURNAL)
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
	reporting->is_resumed = journal_count(journal) > 0 && all.fault != MODEL_STAYS_CLOSED;
	assert_int_equal(reporting_resume(reporting, NULL), 0);
	for (size_t i = 0; i < journal_count(journal); i++) {
		struct journal_entry entry = journal_entry(journal, i);
		struct saving_item *item = &world->items[entry.kind];

		assert_string_equal(entry.name, item->name);
		item->is_settled = entry.artifact != NULL;
		if (entry.artifact)
			item->stored = all.stored[entry.kind];
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
		item->stored = all.stored[i];
		if (all.fault != MODEL_REPORTS_BEFORE_STORED)
			world->in_store |= (uint8_t)(1 << i);
		world->confirmed |= (uint8_t)(1 << i);
	} else {
		error_set_class(&item->error, -EIO, ERROR_TRANSIENT, "not stored");
	}
	if (all.fault == MODEL_FINALIZES_EARLY)
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

	text_pool_get(&all.texts, world->journal, &before);
	open_journal(world);
	world->in_store |= (uint8_t)(1 << i);
	assert_int_equal(journal_stored(world->reporting.journal, i, all.stored[i], NULL), 0);
	close_journal(world);
	bytes = text_pool_get(&all.texts, world->journal, &after);
	assert_in_range(after, before + 1, sizeof(torn));
	/* The header comes last (executor/report/journal_file.h). */
	memcpy(torn, bytes, after);
	memset(torn + before, 0, 8);
	world->journal = keep_text(torn, before + (after - before) / 2);
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
		blame(world, "the outputs are given up");
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
	    !are_all_settled(world) && look(world->plain).is_final && known &&
	    strtol(known, NULL, 10) == world->version)
		blame(world, "the label stays true while there is more to come");
}

void world_go_on(struct world *world)
{
	struct task_result *result = &world->result;

	note_closed(world);
	if (world->phase == PHASE_SAVING && are_all_settled(world))
		report_all(world);
	if (world->phase == PHASE_REPORTING && result->steps[TASK_RESULT_PLACEHOLDER].is_settled &&
	    result->steps[TASK_RESULT_OUTPUTS].is_settled)
		finalize(world);
	if (world->phase == PHASE_FINALIZING && result->is_settled) {
		if (result->steps[TASK_RESULT_FINAL].state != STEP_STORED)
			blame(world, "the label is given up");
		end(world, PHASE_DONE);
	}
	judge_rest(world);
}

const char *world_judge_end(const struct world *world)
{
	struct facts facts = look(world->plain);
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
	if (facts.other != world->other)
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
						       .workflow_uid = "uid-1" };
	struct error err = ERROR_NONE;

	memset(&all, 0, sizeof(all));
	all.fault = fault;
	all.file = memfd_create("journal", MFD_CLOEXEC);
	assert_true(all.file >= 0);
	all.log = (struct log){ .fd = -1, .level = LOG_ERROR };
	all.template = (struct template){ .type = TEMPLATE_RESOURCE };
	all.artifact = (struct template_artifact){ .name = item_names[0] };
	assert_int_equal(keep_text("", 0), 0);
	for (unsigned i = 0; i < MODEL_ITEMS; i++)
		all.stored[i] = parse(item_texts[i], strlen(item_texts[i]));
	all.result = task_result_new(NULL, &identity, NULL, &err);
	assert_non_null(all.result);
	assert_int_equal(reporting_init(&all.reporting, NULL, &all.template, NULL, 30000, &all.log,
					&err),
			 0);
	all.reporting.termination_log = "/dev/null";
	all.reporting.standing = &all.standing;
}

void model_end(void)
{
	for (unsigned i = 0; i < MODEL_ITEMS; i++)
		json_free(all.stored[i]);
	reporting_done(&all.reporting);
	task_result_free(all.result);
	for (size_t i = 0; i < all.parsed_room; i++)
		json_free(all.parsed[i]);
	free(all.parsed);
	free(all.facts);
	text_pool_done(&all.texts);
	close(all.file);
}
