#include "tests/unit/report_model_shared.h"

#include "executor/base/cleanup.h"
#include "executor/base/clock.h"
#include "tests/unit/api_server.h"

#include <errno.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include <cmocka.h>

/* Of the other writer's entry in an array that is ours, too. */
#define OTHER_NAME "x"

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

static uint8_t item_of(struct json_object *artifact)
{
	for (unsigned i = 0; i < MODEL_ITEMS; i++)
		if (json_equal(artifact, model_all.stored[i]))
			return (uint8_t)(1 << i);
	return 0;
}

static struct json_object *only_ours(struct json_object *artifacts)
{
	struct json_object *ours = json_new_array();

	for (size_t i = 0; i < json_length(artifacts); i++)
		if (item_of(json_at(artifacts, i)))
			json_append(ours, json_ref(json_at(artifacts, i)));
	return ours;
}

static void spoil(struct json_object *body, bool is_post)
{
	struct json_object *outputs = json_get(body, "outputs");
	struct json_object *metadata = json_get(body, "metadata");
	bool is_renewal = !is_post && json_get(metadata, "annotations");

	if (model_all.fault == MODEL_IGNORES_VERSIONS)
		model_take_version(body);
	else if (model_all.fault == MODEL_REPLACES_OUTPUTS && outputs)
		json_set(outputs, "parameters", json_new_array());
	else if ((model_all.fault == MODEL_BLANK_PLACEHOLDER && is_post) ||
		 (model_all.fault == MODEL_KEEPS_LABEL && is_renewal))
		json_remove(metadata, "labels");
	else if (model_all.fault == MODEL_REPLACES_ARRAYS && json_get(outputs, "artifacts"))
		json_set(outputs, "artifacts", only_ours(json_get(outputs, "artifacts")));
	else if (model_all.fault == MODEL_INHERITS && is_renewal)
		json_remove(body, "outputs");
}

static bool is_other_entry(struct json_object *artifact)
{
	return strcmp(json_get_string(artifact, "name", ""), OTHER_NAME) == 0;
}

static void forget_other_entry(struct json_object *artifacts)
{
	for (size_t i = 0; i < json_length(artifacts); i++)
		if (is_other_entry(json_at(artifacts, i)))
			json_remove(json_at(artifacts, i), "s3");
}

struct kube_call *__wrap_kube_start(struct kube_client *client, const struct kube_request *request,
				    kube_callback callback, void *context, struct error *err)
{
	struct world *world = model_all.awake;
	bool is_post = strcmp(request->method, "POST") == 0;
	_cleanup_json_ struct json_object *body = model_parse(request->body, request->size);

	(void)client;
	(void)err;
	assert_ptr_equal(context, &world->result);
	/* One at a time. */
	assert_false(world->sent.is_there);
	world_note_closed(world);
	spoil(body, is_post);
	world->sent = (struct world_request){
		.is_there = true,
		.is_post = is_post,
		.text = model_keep(body),
		.number = ++world->requests,
		.needed = world->is_closed ? world->closed : world->confirmed,
		.is_all = world->is_closed || world_are_all_settled(world),
	};
	world->sent.version = model_take_version(body);
	/* The other's entry is the newest one, or the request is overtaken. */
	forget_other_entry(json_get(json_get(body, "outputs"), "artifacts"));
	world->sent.plain = model_keep(body);
	model_all.answer = callback;
	return CALL(world);
}

void __wrap_kube_call_free(struct kube_call *call)
{
	if (call)
		((struct world_request *)call)->is_there = false;
}

/* --- the object ------------------------------------------------------------------------------ */

static void read_artifact(struct facts *facts, struct json_object *artifact)
{
	const char *key = json_get_string(json_get(artifact, "s3"), "key", "");
	uint8_t item = item_of(artifact);

	if (is_other_entry(artifact)) {
		facts->has_unknown |= facts->other_entry != 0;
		facts->other_entry = (uint8_t)strtol(key, NULL, 10);
	} else if (strcmp(key, "old") == 0) {
		facts->has_old = true;
	} else {
		facts->has_unknown |= item == 0 || (facts->reported & item);
		facts->reported |= item;
	}
}

static struct facts read_facts(uint32_t plain)
{
	_cleanup_json_ struct json_object *object = plain ? model_kept(plain) : NULL;
	struct json_object *outputs = json_get(object, "outputs");
	struct json_object *artifacts = json_get(outputs, "artifacts");
	struct json_object *labels = json_find(object, "metadata", "labels", NULL);
	struct json_object *owners = json_find(object, "metadata", "ownerReferences", NULL);
	const char *final = json_get_string(labels, LABEL_FINAL, "");
	struct facts facts = { .is_known = true, .is_final = strcmp(final, "true") == 0 };

	for (size_t i = 0; i < json_length(artifacts); i++)
		read_artifact(&facts, json_at(artifacts, i));
	facts.has_old |= strcmp(json_get_string(outputs, "result", ""), "old") == 0 ||
			 json_get(object, "progress");
	facts.other =
		(uint8_t)json_get_int(json_at(json_get(outputs, "parameters"), 0), "value", 0);
	facts.is_whole =
		!object ||
		((facts.is_final || strcmp(final, "false") == 0) &&
		 !strcmp(json_get_string(labels, "workflows.argoproj.io/workflow", ""), "wf") &&
		 !strcmp(json_get_string(json_at(owners, 0), "uid", ""), "uid-1"));
	return facts;
}

struct facts model_look(uint32_t plain)
{
	model_all.facts = model_make_room(model_all.facts, &model_all.facts_room, plain,
					  sizeof(*model_all.facts));
	if (!model_all.facts[plain].is_known)
		model_all.facts[plain] = read_facts(plain);
	return model_all.facts[plain];
}

uint32_t world_object_key(const struct world *world)
{
	struct facts facts = model_look(world->plain);

	return (world->object ? 1u : 0) | (uint32_t)facts.is_final << 1 |
	       (uint32_t)(facts.other != 0) << 2 | (uint32_t)facts.has_old << 3 |
	       (uint32_t)facts.reported << 8;
}

bool world_is_void(const struct world *world, const struct world_request *request)
{
	return world->object &&
	       (request->is_post || (request->version >= 0 && request->version != world->version));
}

/* Of what has been done by us. */
static void judge_earlier(struct world *world, struct facts old, struct facts new)
{
	if (new.has_old)
		model_blame(world, "what an earlier pod has reported passes for ours");
	if (old.has_old && new.is_final)
		model_blame(world, "the label is an earlier pod's");
}

/* After every change of the object. `request` is NULL when it was not ours. */
static void judge(struct world *world, uint32_t before, const struct world_request *request)
{
	struct facts old = model_look(before), new = model_look(world->plain);

	if (new.has_unknown || (new.reported & ~world->in_store))
		model_blame(world, "a location is reported that has no object");
	if (old.reported & ~new.reported)
		model_blame(world, "a location that was reported is not any more");
	if (request)
		judge_earlier(world, old, new);
	if (new.other != world->other || new.other_entry != world->other)
		model_blame(world, "what the other writer wrote is gone");
	if (!new.is_whole)
		model_blame(world, "labels or owner are missing");
	if (request && request->number < world->newest)
		model_blame(world, "an older request was carried out after a newer one");
	if (request && new.is_final && !old.is_final &&
	    (!request->is_all || (request->needed & ~new.reported)))
		model_blame(world, "the label says that all is reported, and it is not");
}

static int carry_out(struct world *world, const char *method, uint32_t text,
		     const struct world_request *request, struct buffer *answer)
{
	struct api_object stored = { .version = world->version };
	uint32_t before = world->plain;
	size_t size;
	const char *body = text_pool_get(&model_all.texts, text, &size);
	int status;

	if (world->object)
		stored.object = model_kept(world->object);
	status = api_object_process(&stored, method, body, size, answer);
	if (stored.version != world->version) {
		world->version = stored.version;
		world->object = model_keep(stored.object);
		model_take_version(stored.object);
		world->plain = model_keep(stored.object);
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

/* The array of the object with the other's entry in it, as text. */
static void print_artifacts(const struct world *world, bool has_old, struct buffer *text)
{
	_cleanup_json_ struct json_object *object = world->object ? model_kept(world->object) :
								    NULL;
	struct json_object *artifacts = json_get(json_get(object, "outputs"), "artifacts");

	buffer_append_string(text, "[");
	for (size_t i = 0; !has_old && i < json_length(artifacts); i++) {
		if (is_other_entry(json_at(artifacts, i)))
			continue;
		json_print(json_at(artifacts, i), text, NULL);
		buffer_append_string(text, ",");
	}
	buffer_append_format(text, "{\"name\":\"" OTHER_NAME "\",\"s3\":{\"key\":\"%d\"}}]",
			     world->other);
}

/* One of the same pod, which knows how: it leaves what we have written, and nothing of an earlier pod. */
void world_other_writes(struct world *world)
{
	_cleanup_buffer_ struct buffer answer = BUFFER_INIT(MODEL_BYTES_MAX);
	_cleanup_buffer_ struct buffer text = BUFFER_INIT(MODEL_BYTES_MAX);
	bool has_old = model_look(world->plain).has_old;

	world->other = world->other == 1 ? 2 : 1;
	buffer_append_format(&text,
			     "{\"metadata\":{\"name\":\"node-1\",\"labels\":{"
			     "\"workflows.argoproj.io/workflow\":\"wf\"%s},"
			     "\"annotations\":{\"tiphys/pod-uid\":\"pod-1\"},"
			     "\"ownerReferences\":[{\"uid\":\"uid-1\"}]},%s"
			     "\"outputs\":{%s\"parameters\":[{\"name\":\"p\",\"value\":%d}],"
			     "\"artifacts\":",
			     world->object && !has_old ? "" : ",\"" LABEL_FINAL "\":\"false\"",
			     has_old ? "\"progress\":null," : "", has_old ? "\"result\":null," : "",
			     world->other);
	print_artifacts(world, has_old, &text);
	assert_int_equal(buffer_append_string(&text, "}}"), 0);
	carry_out(world, world->object ? "PATCH" : "POST", model_keep_text(text.data, text.size),
		  NULL, &answer);
}

/* The node has been run before, by another pod, which has completed its report. */
void world_be_retried(struct world *world)
{
	static const char left[] =
		"{\"metadata\":{\"name\":\"node-1\",\"resourceVersion\":\"1\",\"labels\":{"
		"\"workflows.argoproj.io/workflow\":\"wf\",\"" LABEL_FINAL "\":\"true\"},"
		"\"annotations\":{\"tiphys/pod-uid\":\"pod-0\"},"
		"\"ownerReferences\":[{\"uid\":\"uid-1\"}]},\"progress\":\"2/2\","
		"\"outputs\":{\"result\":\"old\",\"artifacts\":[{\"name\":\"a\",\"s3\":{"
		"\"key\":\"old\"}},{\"name\":\"z\",\"s3\":{\"key\":\"old\"}}]}}";
	struct json_object *object = model_parse(left, strlen(left));

	world->version = 1;
	world->object = model_keep(object);
	model_take_version(object);
	world->plain = model_keep(object);
	json_free(object);
}

void world_arrive_late(struct world *world)
{
	_cleanup_buffer_ struct buffer answer = BUFFER_INIT(MODEL_BYTES_MAX);

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
	model_all.answer(CALL(world), object, &status, &err, &world->result);
}

static void refuse(int http, const char *reason, struct buffer *body)
{
	buffer_append_format(body, "{\"kind\":\"Status\",\"reason\":\"%s\",\"code\":%d}", reason,
			     http);
}

void world_answer(struct world *world, enum model_action how)
{
	_cleanup_buffer_ struct buffer body = BUFFER_INIT(MODEL_BYTES_MAX);
	const struct world_request request = world->sent;
	bool is_lost = how == MODEL_LOST || how == MODEL_ANSWER_LOST;
	int http = 0;

	if (how == MODEL_ANSWERED || how == MODEL_ANSWER_LOST)
		http = carry_out_request(world, &request, &body);
	else if (how == MODEL_LOST)
		world->late = request;
	else
		refuse(http = how == MODEL_REFUSED_409 ? 409 : 500, "Unknown", &body);
	if (is_lost && model_all.fault == MODEL_TAKES_LOSS_FOR_SUCCESS) {
		buffer_reset(&body);
		buffer_append_string(&body, "{\"metadata\":{\"name\":\"node-1\"}}");
		http = 200;
		is_lost = false;
	}
	deliver(world, is_lost ? 0 : http, &body);
}
