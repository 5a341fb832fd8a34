#include "executor/stage/engine.h"

#include "executor/base/cleanup.h"
#include "executor/stage/engine_asks.h"
#include "executor/stage/engine_confine.h"
#include "executor/stage/engine_counts.h"
#include "executor/stage/engine_places.h"
#include "executor/stage/engine_requests.h"
#include "executor/stage/engine_setup.h"
#include "executor/template/location.h"

#include <errno.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <time.h>

/* So many messages are heeded before others have their turn on the loop. */
#define HEEDED_AT_ONCE 64

static void lose(struct engine *engine, const char *why);
static void pump(struct engine *engine);

/* --- what it asks ----------------------------------------------------------------------- */

static void on_asked(struct event_source *source, uint32_t revents)
{
	struct engine *engine = (struct engine *)((char *)source - offsetof(struct engine, asks));
	_cleanup_json_ struct json_object *message = NULL;
	_cleanup_close_ int fd = -1;
	int r = engine_message_receive(source->fd, false, &message, &fd);

	(void)revents;
	engine_pulse_hear(&engine->pulse);
	if (r > 0)
		r = engine_answer(source->fd, message, engine->secrets);
	if (r < 0)
		lose(engine, r == -EPROTO ? "asked nonsense" : NULL);
}

/* --- what it tells ---------------------------------------------------------------------- */

static void finish(struct engine *engine, struct engine_request *request)
{
	engine_requests_remove(engine, request);
	request->is_done = true;
	if (request->on_done)
		request->on_done(request);
}

/* It has its result; what is left of it in the store goes first. */
static void settle(struct engine *engine, struct engine_request *request)
{
	if (!engine_requests_may_have_left(request)) {
		finish(engine, request);
		return;
	}
	request->is_sweeping = true;
	request->is_sent = false;
	request->deaths = 0;
	request->order.kind = ENGINE_SWEEP;
}

static int on_settled(struct engine *engine, struct engine_event *event)
{
	for (struct engine_request *request = engine->requests; request; request = request->next) {
		if (!request->is_sent || request->order.id != event->id)
			continue;
		if ((request->order.kind == ENGINE_SAVE && event->error.code == 0) !=
		    !!event->stored)
			return -EPROTO;
		if (request->is_sweeping) {
			finish(engine, request);
			return 0;
		}
		request->stored = json_ref(event->stored);
		request->object = event->object;
		event->object = (struct store_stored){ 0 };
		request->error = event->error;
		settle(engine, request);
		return 0;
	}
	return -EPROTO;
}

static int on_entry(struct engine *engine, const struct engine_event *event)
{
	struct ledger_told told = { .state = event->state,
				    .bytes = event->bytes,
				    .bytes_total = event->bytes_total,
				    .retries = (unsigned)event->retries };

	/* In `wait` outputs are in this table, and nobody looks for them there. */
	engine->inputs[event->index] = event->state;
	if (!engine->ledger || event->index >= engine->ledger->count)
		return engine->ledger ? -EPROTO : 0;
	for (size_t i = 0; i < LEDGER_DIRECTION_COUNT; i++) {
		engine->told[0][i] = event->sum_bytes[i];
		engine->told[1][i] = event->sum_retries[i];
		told.sum_bytes[i] = engine->base[0][i] + event->sum_bytes[i];
		told.sum_retries[i] = engine->base[1][i] + event->sum_retries[i];
	}
	ledger_adopt(engine->ledger, event->index, &told);
	return 0;
}

static int heed(struct engine *engine, struct engine_event *event)
{
	switch (event->kind) {
	case ENGINE_ENTRY:
		return on_entry(engine, event);
	case ENGINE_SETTLED:
		return on_settled(engine, event);
	case ENGINE_COUNTS:
		engine->counts = event->counts;
		break;
	case ENGINE_HEARD:
		engine_pulse_relax(&engine->pulse);
		break;
	case ENGINE_CONFINED:
		engine_confined_note(engine, &event->confinement);
		break;
	}
	return 0;
}

/* 1 = there was one, 0 = there is none now. */
static int heed_next(struct engine *engine)
{
	_cleanup_json_ struct json_object *message = NULL;
	_cleanup_engine_event_ struct engine_event event = { .index = 0 };
	_cleanup_close_ int fd = -1;
	int r = engine_message_receive(engine->orders.fd, false, &message, &fd);

	if (r > 0)
		engine_pulse_hear(&engine->pulse);
	if (r > 0 && (engine_event_read(message, &event) < 0 || heed(engine, &event) < 0))
		r = -EPROTO;
	return r;
}

static void on_told(struct event_source *source, uint32_t revents)
{
	struct engine *engine = (struct engine *)((char *)source - offsetof(struct engine, orders));
	int r = 1;

	(void)revents;
	for (unsigned i = 0; r > 0 && i < HEEDED_AT_ONCE && source->loop; i++)
		r = heed_next(engine);
	if (r < 0)
		lose(engine, r == -EPROTO ? "told nonsense" : NULL);
	pump(engine);
}

void engine_count(const struct engine *engine, struct http_counts *ret)
{
	*ret = engine->base_counts;
	engine_counts_add(ret, &engine->counts);
}

/* --- its end ---------------------------------------------------------------------------- */

static void keep_sums(struct engine *engine)
{
	for (size_t i = 0; i < LEDGER_DIRECTION_COUNT; i++) {
		engine->base[0][i] += engine->told[0][i];
		engine->base[1][i] += engine->told[1][i];
		engine->told[0][i] = engine->told[1][i] = 0;
	}
	engine_counts_add(&engine->base_counts, &engine->counts);
	engine->counts = (struct http_counts){ .store_count = 0 };
}

static void end_child(struct engine *engine)
{
	event_remove(&engine->orders);
	event_remove(&engine->asks);
	engine_pulse_watch(&engine->pulse, 0);
	engine_process_end(&engine->process, engine->death);
	engine->is_set_up = false;
	keep_sums(engine);
}

/* --- what it is told -------------------------------------------------------------------- */

static int watch(struct engine *engine)
{
	int r;

	engine->orders = (struct event_source){ .callback = on_told,
						.name = "staging process",
						.fd = engine->process.orders_fd };
	engine->asks = (struct event_source){ .callback = on_asked,
					      .name = "staging process asks",
					      .fd = engine->process.asks_fd };
	r = event_add(engine->loop, &engine->orders, EPOLLIN);
	return r < 0 ? r : event_add(engine->loop, &engine->asks, EPOLLIN);
}

static int send_setup(struct engine *engine)
{
	int64_t workers = 0;
	int r;

	for (struct engine_request *request = engine->requests; request; request = request->next)
		workers += request->order.kind == ENGINE_LOAD;
	if (workers < ENGINE_SAVES)
		workers = ENGINE_SAVES;
	r = engine_setup_set_limits(engine->setup, (unsigned)workers, engine->deaths);
	if (r == 0)
		r = engine_places_send(engine);
	if (r == 0)
		r = engine_message_send(engine->process.orders_fd, engine->setup,
					engine->process.its_notices_fd);
	engine_process_has_notices(&engine->process);
	return r;
}

/* err is filled where the child is not to blame. */
static int set_up_child(struct engine *engine, struct error *err)
{
	int r = 0;

	if (engine->process.pid == 0) {
		r = engine_process_start(&engine->process, err);
		if (r < 0)
			return r;
		r = watch(engine);
		if (r < 0)
			return error_errno(err, r, "epoll");
	}
	if (!engine->is_set_up)
		r = send_setup(engine);
	engine->is_set_up = r == 0;
	return r;
}

/* What became of it in the children before. */
static void tell_what_was(const struct engine *engine, struct engine_request *request)
{
	struct engine_order *order = &request->order;

	if (request->begun_s == 0)
		request->begun_s = order->lost_from_s ? order->lost_from_s : time(NULL);
	else if (order->kind == ENGINE_SAVE)
		order->lost_from_s = request->begun_s;
	for (size_t i = 0; order->kind == ENGINE_LOAD && i < LEDGER_ENTRIES_MAX; i++)
		order->done[i] = engine->inputs[i] == LEDGER_DONE ||
				 engine->inputs[i] == LEDGER_ABSENT;
}

static int send_request(struct engine *engine, struct engine_request *request, struct error *err)
{
	_cleanup_json_ struct json_object *handed = NULL, *message = NULL;
	_cleanup_close_ int fd = -1;
	int r;

	request->is_sent = true;
	r = set_up_child(engine, err);
	if (r < 0)
		return r;
	request->order.id = ++engine->last_id;
	tell_what_was(engine, request);
	if (request->handed && !request->is_sweeping) {
		handed = handed_describe(request->handed);
		if (!handed)
			return error_set(err, -ENOMEM, "out of memory");
		fd = handed_pass(request->handed);
		if (fd < 0 && request->handed->fd >= 0)
			return error_errno(err, fd, "pass on %s", request->handed->path);
	}
	request->order.handed = handed;
	message = engine_order_print(&request->order);
	request->order.handed = NULL;
	return engine_message_send(engine->process.orders_fd, message, fd);
}

/* Halved with each death. */
static size_t width_for(const struct engine *engine, const struct engine_request *request)
{
	size_t width = engine->deaths < 8 ? ENGINE_SAVES >> engine->deaths : 0;

	if (request->order.kind == ENGINE_LOAD && engine->deaths == 0)
		return SIZE_MAX;
	return width > 0 ? width : 1;
}

/* Sends what has its turn. What happens inside (a death, an end) may call this again. */
static void pump(struct engine *engine)
{
	struct engine_request *next;
	size_t sent;

	if (engine->is_pumping)
		return;
	engine->is_pumping = true;
	while ((next = engine_requests_next(engine, &sent)) && sent < width_for(engine, next)) {
		struct error err = ERROR_NONE;
		bool is_strange = engine_places_lack(engine, next);

		/* For what was handed over since this child began there has to be another one. */
		if (is_strange && sent > 0)
			break;
		if (is_strange)
			end_child(engine);
		if (send_request(engine, next, &err) >= 0)
			continue;
		if (err.code)
			error_prefix(&err, err.code, "cannot be started");
		lose(engine, err.code ? err.message : NULL);
	}
	engine->is_pumping = false;
	engine_pulse_watch(&engine->pulse, sent > 0 ? engine->process.pid : 0);
}

/* --- its death -------------------------------------------------------------------------- */

/* What of the loads is not under way will not be; with want_sent, neither will the rest. */
static void give_up_loads(struct engine *engine, bool want_sent)
{
	struct engine_request *request;

	while ((request = engine_requests_load(engine, want_sent))) {
		event_loop_cancelled_error(&request->error);
		finish(engine, request);
	}
}

/* The input that was under way. At the last death it was the only one of its pass. */
static const struct template_artifact *find_loading(const struct engine *engine)
{
	for (size_t i = 0; i < engine->template->input_count && i < LEDGER_ENTRIES_MAX; i++)
		if (engine->inputs[i] == LEDGER_ACTIVE)
			return &engine->template->inputs[i];
	return NULL;
}

/* Which output it was is its owner's to say. */
static void explain(const struct engine *engine, struct engine_request *request)
{
	const struct template_artifact *input = find_loading(engine);
	_cleanup_json_ struct json_object *relocated = NULL;
	struct error *err = &request->error;

	error_set(err, -ECHILD, "the staging process %s, %u times", engine->death, request->deaths);
	if (request->order.kind != ENGINE_LOAD)
		return;
	if (!input) {
		error_prefix(err, -ECHILD, "input artifacts failed to load");
		return;
	}
	if (location_relocate(input->json, template_archive_location(engine->template), &relocated,
			      NULL) == 0)
		location_tell(relocated, err);
	error_prefix(err, -ECHILD, "artifact %s failed to load", input->name);
}

/* The child is gone, or is to go because of `why`: another one takes over, if there is something to
 * do. */
static void lose(struct engine *engine, const char *why)
{
	struct engine_request *doomed;

	end_child(engine);
	if (why)
		snprintf(engine->death, sizeof(engine->death), "%s", why);
	else
		engine_confined_explain(&engine->confinement, engine->death);
	engine->deaths++;
	log_warn(engine->log, "The staging process has died", log_string("reason", engine->death));
	if (engine->is_cancelling)
		give_up_loads(engine, true);
	for (struct engine_request *request = engine->requests; request; request = request->next) {
		request->deaths += request->is_sent ? 1 : 0;
		request->is_sent = false;
	}
	while ((doomed = engine_requests_doomed(engine))) {
		if (doomed->is_sweeping) {
			finish(engine, doomed);
			continue;
		}
		explain(engine, doomed);
		settle(engine, doomed);
	}
	for (size_t i = 0; i < LEDGER_ENTRIES_MAX; i++)
		if (engine->inputs[i] == LEDGER_ACTIVE)
			engine->inputs[i] = LEDGER_PLANNED;
	pump(engine);
}

static void on_silence(struct engine_pulse *pulse)
{
	struct engine *engine = (struct engine *)((char *)pulse - offsetof(struct engine, pulse));

	lose(engine, engine->is_cancelling ? "did not hear that it was to end" :
					     "answered nothing for a minute");
}

/* --- requests --------------------------------------------------------------------------- */

void engine_submit(struct engine *engine, struct engine_request *request)
{
	engine_requests_add(engine, request);
	pump(engine);
}

int engine_attach(struct engine *engine, const struct stage *stage, struct error *err)
{
	int r;

	engine->log = stage->log;
	engine->loop = stage->store.loop;
	engine->ledger = stage->ledger;
	engine->template = stage->template;
	engine->handed = stage->handed;
	engine->secrets = stage->store.secret_directory;
	engine->setup = engine_setup_print(stage);
	if (!engine->setup)
		return error_set(err, -ENOMEM, "out of memory");
	r = engine_pulse_init(&engine->pulse, engine->loop, on_silence);
	return r < 0 ? error_errno(err, r, "epoll") : 0;
}

void engine_start(struct engine *engine)
{
	if (set_up_child(engine, NULL) < 0)
		end_child(engine);
}

void engine_done(struct engine *engine)
{
	if (!engine->loop)
		return;
	event_remove(&engine->orders);
	event_remove(&engine->asks);
	engine_pulse_done(&engine->pulse);
	engine_process_end(&engine->process, NULL);
	json_free(TAKE_PTR(engine->setup));
	engine->loop = NULL;
}

/* --- loads ------------------------------------------------------------------------------ */

struct loads {
	struct engine *engine;
	struct load {
		struct engine_request request; /* first */
		struct loads *loads;
	} * items;
	size_t left;
	struct load *failed;
	bool is_done;
};

/* All loads end early: they are done soon, with -ECANCELED. */
static void cancel_loads(struct engine *engine)
{
	const struct engine_order order = { .kind = ENGINE_CANCEL };
	_cleanup_json_ struct json_object *message = engine_order_print(&order);

	if (engine->is_cancelling)
		return;
	engine->is_cancelling = true;
	give_up_loads(engine, false);
	if (!engine->is_set_up)
		return;
	engine_pulse_hurry(&engine->pulse);
	if (engine_message_send(engine->process.orders_fd, message, -1) < 0)
		lose(engine, NULL);
}

static void on_loaded(struct engine_request *request)
{
	struct load *load = (struct load *)request;
	struct loads *loads = load->loads;

	loads->is_done = --loads->left == 0;
	if (request->error.code == 0 || loads->failed)
		return;
	loads->failed = load;
	cancel_loads(loads->engine);
}

int engine_load(struct engine *engine, const char *const *plugins, size_t count, size_t *ret_failed,
		struct error *err)
{
	_cleanup_free_ struct load *items = calloc(count, sizeof(*items));
	struct loads loads = { .engine = engine, .items = items, .left = count };
	int r;

	if (!items)
		return error_set(err, -ENOMEM, "out of memory");
	engine->is_cancelling = false;
	for (size_t i = 0; i < count; i++) {
		items[i].loads = &loads;
		items[i].request.order.kind = ENGINE_LOAD;
		items[i].request.order.plugin = plugins[i];
		items[i].request.on_done = on_loaded;
		engine_requests_add(engine, &items[i].request);
	}
	pump(engine);
	r = event_loop_wait(engine->loop, &loads.is_done);
	/* What is half-loaded is removed before anybody goes on. */
	if (r < 0 && !loads.is_done) {
		cancel_loads(engine);
		r = event_loop_wait_uncancelled(engine->loop, &loads.is_done);
	}
	if (!loads.failed)
		return r < 0 ? error_errno(err, r, "wait for the staging process") : 0;
	*ret_failed = (size_t)(loads.failed - items);
	*err = loads.failed->request.error;
	return err->code;
}
