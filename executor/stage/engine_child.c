#include "executor/stage/engine_child.h"

#include "executor/artifact/budget.h"
#include "executor/artifact/cache.h"
#include "executor/base/cleanup.h"
#include "executor/base/clock.h"
#include "executor/event/fibers.h"
#include "executor/process/signals.h"
#include "executor/stage/engine_asks.h"
#include "executor/stage/engine_confine.h"
#include "executor/stage/engine_message.h"
#include "executor/stage/engine_process.h"
#include "executor/stage/engine_setup.h"
#include "executor/stage/load.h"
#include "executor/stage/save.h"

#include <errno.h>
#include <fcntl.h>
#include <stddef.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

/* While something is under way: how far it is, is told as often as this, */
#define LOOK_MS 200
/* and logged, if it takes longer than this, as often as this. */
#define PROGRESS_MS 10000

struct job {
	struct job *next;
	struct json_object *message; /* behind the order */
	struct engine_order order;
	int fd;
	struct handed handed; /* this one's alone: several may save what lies at one path */
};

struct engine_child {
	struct event_source orders;
	int asks_fd, notices_fd;
	struct log log;
	struct json_object *setup;
	struct template *template;
	struct engine_limits limits;
	struct engine_places handed; /* until it is confined */
	struct event_loop *loop;
	struct http_client *http;
	struct transfer_budget *budget;
	struct store_cache *cache;
	struct pool *pool;
	struct ledger ledger;
	struct stage stage;
	struct event_timer look; /* runs while something is under way */
	struct showing {
		uint64_t bytes; /* as the role has it */
		int64_t bytes_total;
		int64_t begun_ms; /* 0 = it is not under way */
		int64_t logged_ms;
	} * showings; /* of each entry of the ledger */
	struct job *jobs; /* waiting for a worker */
	bool has_jobs;
	unsigned busy, loads; /* workers; of them, and waiting */
};

/* --- events ----------------------------------------------------------------------------- */

static void send_event(struct engine_child *self, const struct engine_event *event)
{
	_cleanup_json_ struct json_object *message = engine_event_print(event);

	/* Without a role there is nothing left to do. */
	if (engine_message_send(self->orders.fd, message, -1) < 0)
		_exit(1);
}

static void tell_entry(struct engine_child *self, size_t i)
{
	const struct ledger_entry *entry = &self->ledger.entries[i];
	struct engine_event event = { .kind = ENGINE_ENTRY,
				      .index = i,
				      .state = entry->state,
				      .bytes = entry->bytes,
				      .bytes_total = entry->bytes_total,
				      .retries = entry->retries };

	memcpy(event.sum_bytes, self->ledger.bytes, sizeof(event.sum_bytes));
	memcpy(event.sum_retries, self->ledger.retries, sizeof(event.sum_retries));
	send_event(self, &event);
}

static void tell_counts(struct engine_child *self)
{
	struct engine_event event = { .kind = ENGINE_COUNTS };

	http_client_count(self->http, &event.counts);
	send_event(self, &event);
}

static void on_change(void *context, size_t i)
{
	struct engine_child *self = context;
	const struct ledger_entry *entry = &self->ledger.entries[i];
	struct showing *showing = &self->showings[i];

	if (entry->state != LEDGER_ACTIVE)
		showing->begun_ms = 0;
	else if (showing->begun_ms == 0)
		showing->begun_ms = showing->logged_ms = clock_now_ms();
	showing->bytes = entry->bytes;
	showing->bytes_total = entry->bytes_total;
	/* Who sees the entry has the counts already. */
	tell_counts(self);
	tell_entry(self, i);
}

static void log_progress(const struct engine_child *self, const struct ledger_entry *entry,
			 struct showing *showing)
{
	int64_t now_ms = clock_now_ms(), spent_ms = now_ms - showing->begun_ms;

	if (now_ms - showing->logged_ms < PROGRESS_MS)
		return;
	showing->logged_ms = now_ms;
	log_info(&self->log,
		 entry->direction == LEDGER_INPUT ? "Still loading artifact" :
						    "Still saving artifact",
		 log_string("artifactName", entry->name), log_int("bytes", (int64_t)entry->bytes),
		 log_int("bytesTotal", entry->bytes_total), /* -1: nobody knows */
		 log_int("bytesPerSecond", (int64_t)entry->bytes * 1000 / spent_ms));
}

/* What is told of a ledger otherwise is too little for a role that is asked how it goes. */
static void on_look(struct event_timer *timer)
{
	struct engine_child *self =
		(struct engine_child *)((char *)timer - offsetof(struct engine_child, look));

	for (size_t i = 0; i < self->ledger.count; i++) {
		const struct ledger_entry *entry = &self->ledger.entries[i];
		struct showing *showing = &self->showings[i];

		if (showing->begun_ms == 0)
			continue;
		if (entry->bytes != showing->bytes || entry->bytes_total != showing->bytes_total)
			on_change(self, i);
		log_progress(self, entry, showing);
	}
	/* A request that hangs or waits for its endpoint changes no entry. */
	tell_counts(self);
	event_timer_set(timer, LOOK_MS);
}

/* --- set-up ----------------------------------------------------------------------------- */

static int ask(void *context, const char *path, struct buffer *out, struct error *err)
{
	const struct engine_child *self = context;

	return engine_ask(self->asks_fd, path, out, err);
}

static int plan(struct engine_child *self, struct error *err)
{
	if (stage_plan(&self->ledger, self->template, self->limits.has_inputs) < 0)
		return error_set(err, -ENOMEM, "out of memory");
	self->showings = calloc(self->ledger.count + 1, sizeof(*self->showings));
	if (!self->showings)
		return error_set(err, -ENOMEM, "out of memory");
	self->ledger.on_change = on_change;
	self->ledger.context = self;
	self->stage.ledger = &self->ledger;
	return 0;
}

/* Half as much for each process that died before this one. */
static struct transfer_budget *make_budget(const struct engine_child *self)
{
	unsigned connections = BUDGET_CONNECTIONS >> self->limits.halvings;
	uint64_t bytes = budget_bytes("/") >> self->limits.halvings;

	return budget_new(connections > 0 ? connections : 1,
			  bytes > BUDGET_BYTES_MIN ? bytes : BUDGET_BYTES_MIN);
}

static int set_up_store(struct engine_child *self, struct error *err)
{
	const struct http_client_options options = { .user_agent = "argoexec" };
	struct store_context *store = &self->stage.store;

	self->http = http_client_new(self->loop, &options, err);
	if (!self->http)
		return err->code;
	self->budget = make_budget(self);
	self->pool = pool_new(self->loop);
	self->cache = store_cache_new();
	if (!self->budget || !self->pool || !self->cache)
		return error_set(err, -ENOMEM, "out of memory");
	store->loop = self->loop;
	store->http = self->http;
	store->budget = self->budget;
	store->pool = self->pool;
	store->cache = self->cache;
	store->read_file = ask;
	store->read_file_context = self;
	return 0;
}

static int set_up(struct engine_child *self, struct error *err)
{
	unsigned loads = LOAD_WIDTH >> self->limits.halvings;
	int r = plan(self, err);

	if (r < 0)
		return r;
	self->stage.load_width = loads > 0 ? loads : 1;
	self->loop = event_loop_new();
	if (!self->loop)
		return error_errno(err, -errno, "epoll");
	r = set_up_store(self, err);
	if (r < 0)
		return r;
	r = event_timer_init(&self->look, self->loop, on_look);
	if (r == 0)
		r = event_add(self->loop, &self->orders, EPOLLIN);
	return r < 0 ? error_errno(err, r, "epoll") : 0;
}

/* --- jobs ------------------------------------------------------------------------------- */

static void job_free(struct job *job)
{
	if (job->fd >= 0)
		close(job->fd);
	handed_done(&job->handed);
	json_free(job->message);
	free(job);
}

static int run_load(struct engine_child *self, const struct engine_order *order, struct error *err)
{
	struct stage stage = self->stage;
	int r;

	stage.plugin = order->plugin;
	stage.loaded = order->done;
	r = event_loop_is_cancelled(self->loop) ? event_loop_cancelled_error(err) :
						  load_inputs(&stage, err);
	if (--self->loads == 0)
		event_loop_resume(self->loop);
	return r;
}

static int run_save(struct engine_child *self, struct job *job, struct json_object **stored,
		    struct store_stored *object, struct error *err)
{
	const struct template *template = self->template;
	struct stage stage = self->stage;
	char name[STAGE_LOG_NAME_MAX];
	size_t index = job->order.index;

	stage.handed = &job->handed;
	stage.store.stored = object;
	stage.store.lost_from_s = job->order.lost_from_s;
	if (job->order.is_log) {
		if (index >= template->container_count)
			return error_set(err, -EPROTO, "there is no container %zu", index);
		ledger_begin(ledger_find(&self->ledger, LEDGER_OUTPUT,
					 stage_log_name(template->containers[index], name)));
		return save_log(&stage, template->containers[index], stored, err);
	}
	if (index >= template->output_count)
		return error_set(err, -EPROTO, "there is no output %zu", index);
	if (job->order.handed) {
		int r;

		r = handed_adopt(&job->handed, job->order.handed, &job->fd);
		if (r < 0)
			return error_errno(err, r, "artifact %s failed to save: adopt",
					   template->outputs[index].name);
	}
	ledger_begin(ledger_find(&self->ledger, LEDGER_OUTPUT, template->outputs[index].name));
	return save_artifact(&stage, &template->outputs[index], stored, err);
}

/* What cannot be aborted is left to the bucket's lifecycle rules: it is not what has failed. */
static void run_sweep(struct engine_child *self, const struct engine_order *order)
{
	const struct template *template = self->template;
	struct stage stage = self->stage;
	struct error err = ERROR_NONE;
	int r;

	stage.store.lost_from_s = order->lost_from_s;
	if (order->index >= (order->is_log ? template->container_count : template->output_count))
		return;
	r = order->is_log ? save_sweep_log(&stage, template->containers[order->index], &err) :
			    save_sweep(&stage, &template->outputs[order->index], &err);
	if (r < 0)
		log_warn(&self->log, "Could not abort unfinished uploads", log_error_field(&err));
}

/* The role decides how a save has ended; its last figures are told here. */
static void end_save(struct engine_child *self, const struct job *job)
{
	const struct template *template = self->template;
	char buffer[STAGE_LOG_NAME_MAX];
	const char *name = job->order.is_log ?
				   stage_log_name(template->containers[job->order.index], buffer) :
				   template->outputs[job->order.index].name;
	const struct ledger_entry *entry = ledger_find(&self->ledger, LEDGER_OUTPUT, name);

	if (entry == &self->ledger.rest[LEDGER_OUTPUT])
		return;
	self->showings[entry - self->ledger.entries].begun_ms = 0;
	tell_entry(self, (size_t)(entry - self->ledger.entries));
}

static void run_job(struct engine_child *self, struct job *job)
{
	_cleanup_engine_event_ struct engine_event event = { .kind = ENGINE_SETTLED,
							     .id = job->order.id };
	_cleanup_json_ struct json_object *stored = NULL;
	int r = 0;

	if (self->busy++ == 0)
		event_timer_set(&self->look, LOOK_MS);
	if (job->order.kind == ENGINE_SWEEP)
		run_sweep(self, &job->order);
	else if (job->order.kind == ENGINE_LOAD)
		r = run_load(self, &job->order, &event.error);
	else
		r = run_save(self, job, &stored, &event.object, &event.error);
	if (job->order.kind == ENGINE_SAVE && r != -EPROTO)
		end_save(self, job);
	if (--self->busy == 0)
		event_timer_clear(&self->look);
	if (r == 0) {
		event.error = ERROR_NONE;
		event.stored = stored;
	}
	tell_counts(self);
	send_event(self, &event);
	job_free(job);
}

/* Serves one job after the other, for ever. */
static int work(void *context, size_t i, struct error *err)
{
	struct engine_child *self = context;
	int r = 0;

	(void)i;
	while (r == 0) {
		struct job *job = self->jobs;

		if (job) {
			self->jobs = job->next;
			run_job(self, job);
			continue;
		}
		self->has_jobs = false;
		r = event_loop_wait_uncancelled(self->loop, &self->has_jobs);
	}
	return error_errno(err, r, "epoll");
}

/* --- orders ------------------------------------------------------------------------------ */

static int take_order(struct engine_child *self, struct json_object **message, int *fd)
{
	struct job *job, **link = &self->jobs;
	struct engine_order order;

	if (engine_order_read(*message, &order) < 0 || order.kind == ENGINE_SETUP ||
	    order.kind == ENGINE_PLACE)
		return -EPROTO;
	if (order.kind == ENGINE_CANCEL) {
		send_event(self, &(struct engine_event){ .kind = ENGINE_HEARD });
		if (self->loads > 0)
			event_loop_cancel(self->loop);
		return 0;
	}
	job = calloc(1, sizeof(*job));
	if (!job)
		return -ENOMEM;
	*job = (struct job){ .message = TAKE_PTR(*message), .order = order, .fd = TAKE_FD(*fd) };
	while (*link)
		link = &(*link)->next;
	*link = job;
	self->has_jobs = true;
	self->loads += order.kind == ENGINE_LOAD;
	return 0;
}

static void on_orders(struct event_source *source, uint32_t revents)
{
	struct engine_child *self = (struct engine_child *)source;
	int r = 1;

	(void)revents;
	while (r > 0) {
		_cleanup_json_ struct json_object *message = NULL;
		_cleanup_close_ int fd = -1;

		r = engine_message_receive(source->fd, false, &message, &fd);
		if (r > 0 && take_order(self, &message, &fd) < 0)
			r = -EPROTO;
	}
	if (r < 0)
		_exit(r == -EPIPE ? 0 : 1);
}

/* --- the process ------------------------------------------------------------------------ */

/* Nobody finds the sockets behind the standard streams by mistake. */
static int take_streams(struct engine_child *self)
{
	_cleanup_close_ int null = open("/dev/null", O_RDWR | O_CLOEXEC);

	self->orders.fd = fcntl(STDIN_FILENO, F_DUPFD_CLOEXEC, STDERR_FILENO + 1);
	self->asks_fd = fcntl(STDOUT_FILENO, F_DUPFD_CLOEXEC, STDERR_FILENO + 1);
	if (null < 0 || self->orders.fd < 0 || self->asks_fd < 0 || dup2(null, STDIN_FILENO) < 0 ||
	    dup2(null, STDOUT_FILENO) < 0)
		return -errno;
	return 0;
}

static int receive_setup(struct engine_child *self, struct error *err)
{
	struct engine_order order;
	int r = take_streams(self);

	if (r == 0)
		r = engine_places_receive(self->orders.fd, &self->handed, &self->setup,
					  &self->notices_fd);
	if (r < 0)
		return error_errno(err, r,
				   "this command is for argoexec itself: its standard input");
	if (engine_order_read(self->setup, &order) < 0 || order.kind != ENGINE_SETUP)
		return error_set(err, -EPROTO, "the first message is none");
	return engine_setup_read(self->setup, &self->log, &self->template, &self->stage,
				 &self->limits, err);
}

static int give_up(struct engine_child *self, struct error *err)
{
	struct engine_event event = { .kind = ENGINE_CONFINED };
	int r = engine_confine(&self->stage, &self->limits, &self->handed, self->notices_fd,
			       &event.confinement, err);

	engine_places_close(&self->handed);
	send_event(self, &event);
	return r;
}

int engine_child_main(const struct role *role)
{
	struct engine_child self = { .orders = { .callback = on_orders, .name = "orders" },
				     .notices_fd = -1,
				     .log = role->log };
	struct signals signals; /* its signals stay blocked: they are its role's */
	struct error err = ERROR_NONE;
	int r;

	engine_process_begin();
	signals_block_all(&signals);
	umask(0);
	r = receive_setup(&self, &err);
	/* The role has ended meanwhile, or was killed. */
	if (r == -EPIPE)
		return ROLE_OK;
	if (r == 0)
		r = give_up(&self, &err);
	if (r == 0)
		r = set_up(&self, &err);
	if (r == 0)
		fibers_run(self.loop, self.limits.workers, self.limits.workers, work, &self, &err);
	log_error(&self.log, "The staging process cannot work", log_error_field(&err));
	return ROLE_FAILED;
}
