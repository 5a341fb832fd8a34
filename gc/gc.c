#include "gc/gc.h"

#include "executor/artifact/budget.h"
#include "executor/artifact/cache.h"
#include "executor/base/cleanup.h"
#include "executor/base/clock.h"
#include "executor/base/version.h"
#include "executor/confine/confine.h"
#include "executor/json/span.h"
#include "executor/process/files.h"
#include "executor/process/signals.h"
#include "executor/report/failure.h"
#include "executor/stage/plugins.h"
#include "executor/stage/stage.h"
#include "executor/template/environment.h"
#include "gc/api.h"
#include "gc/report.h"
#include "gc/sweep.h"
#include "gc/task.h"

#include <errno.h>
#include <signal.h>
#include <stddef.h>
#include <string.h>

/* Of a pod that is being ended, for what is known and not stored yet: less than a kubelet's default
 * grace. */
#define LAST_REPORT_MS 20000

struct gc {
	const struct role *role;
	const struct log *log;
	const char *label; /* ARGO_ARTIFACT_POD_NAME */
	struct kube_options options;
	struct event_loop *loop;
	struct signals signals;
	int stopped_by; /* the signal that cancelled the loop; 0 = none */
	struct http_client *http;
	struct transient_pattern *pattern;
	struct kube_config config;
	struct kube_client *kube;
	struct transfer_budget *budget;
	struct store_cache *cache;
	struct gc_api api;
	struct store_context stores;
	struct plugins plugins;
	struct event_watch plugin_files;
	/* Names of tasks that are done, for a list that is begun again. */
	char **done;
	size_t done_count;
	size_t counts[GC_VERDICTS];
	struct error error; /* of one answer's tasks */
	struct error refusal; /* the first that was about a task alone: the others went on */
};

static void on_signal(struct signals *signals, const struct signalfd_siginfo *info)
{
	struct gc *self = (struct gc *)((char *)signals - offsetof(struct gc, signals));
	int signo = (int)info->ssi_signo;

	if (signo != SIGTERM && signo != SIGINT && signo != SIGQUIT && signo != SIGHUP)
		return;
	if (!self->stopped_by)
		log_info(self->log, "Asked to stop", log_int("signal", signo));
	self->stopped_by = signo;
	event_loop_cancel(self->loop);
}

/* --- set-up ----------------------------------------------------------------------------- */

static int set_up_api(struct gc *self, struct error *err)
{
	const struct http_client_options http = { .user_agent = "argoexec" };
	const char *namespace = environment_get("ARGO_NAMESPACE");
	int r = transient_pattern_from_environment(&self->pattern, err);

	self->options = *self->role->kube;
	if ((!self->options.namespace || !*self->options.namespace) && *namespace)
		self->options.namespace = namespace;
	if (r == 0)
		r = kube_config_load(&self->options, &self->config, err);
	if (r < 0)
		return r;
	if (self->config.ca_error.code)
		log_warn(self->log, "Trusting the system's certificates for the API server",
			 log_error_field(&self->config.ca_error));
	self->http = http_client_new(self->loop, &http, err);
	if (!self->http)
		return err->code;
	self->kube = kube_client_new(self->http, &self->config, self->pattern);
	return self->kube ? gc_api_init(&self->api, self->kube, self->log, err) :
			    error_set(err, -ENOMEM, "out of memory");
}

static int set_up(struct gc *self, struct error *err)
{
	struct confinement unused;
	struct environment environment;
	int r;

	environment_load_wrapper(&environment);
	plugins_init(&self->plugins, &environment, FILES_VAR_RUN_ARGO, self->log);
	r = confine_role(CONFINE_GC, self->role, FILES_VAR_RUN_ARGO, &unused, err);
	if (r < 0)
		return r;
	self->loop = event_loop_new();
	if (!self->loop)
		return error_errno(err, -errno, "epoll");
	r = signals_start(&self->signals, self->loop, on_signal);
	if (r < 0)
		return error_errno(err, r, "signalfd");
	r = set_up_api(self, err);
	if (r < 0)
		return r;
	self->budget = budget_new(BUDGET_CONNECTIONS, budget_bytes("/"));
	self->cache = store_cache_new();
	if (!self->budget || !self->cache)
		return error_set(err, -ENOMEM, "out of memory");
	self->stores = (struct store_context){ .loop = self->loop,
					       .http = self->http,
					       .budget = self->budget,
					       .cache = self->cache,
					       .log = self->log,
					       .secret_directory = STAGE_SECRETS,
					       .container_directory = FILES_VAR_RUN_ARGO "/ctr" };
	return 0;
}

static void release(struct gc *self)
{
	for (size_t i = 0; i < self->done_count; i++)
		free(self->done[i]);
	free(self->done);
	store_cache_free(self->cache);
	budget_free(self->budget);
	kube_client_free(self->kube);
	http_client_free(self->http);
	kube_config_done(&self->config);
	transient_pattern_free(self->pattern);
	signals_done(&self->signals);
	event_loop_free(self->loop);
}

/* --- tasks ------------------------------------------------------------------------------ */

static void log_verdict(struct gc_task *task, const struct gc_artifact *artifact)
{
	struct gc *self = task->context;
	const struct log_field fields[] = {
		log_string("artifactName", artifact->name),
		log_string("nodeID", task->nodes[artifact->node].id),
		log_string("key", artifact->key ? artifact->key : ""),
		log_string("verdict", gc_verdict_name(artifact->verdict)),
		{ .name = artifact->failure ? "error" : NULL, .string = artifact->failure },
		{ .name = NULL },
	};

	switch (artifact->verdict) {
	case GC_DELETED:
		log_write(self->log, LOG_DEBUG, "Deleted an artifact", fields);
		break;
	case GC_ALREADY_GONE:
		log_write(self->log, LOG_INFO, "An artifact was gone already", fields);
		break;
	case GC_NEVER_STORED:
		log_write(self->log, LOG_INFO,
			  "An artifact was never stored: it has neither location nor key", fields);
		break;
	default:
		log_write(self->log, LOG_ERROR, "Failed to delete an artifact", fields);
		break;
	}
}

static bool is_done(const struct gc *self, const char *name)
{
	for (size_t i = 0; i < self->done_count; i++)
		if (strcmp(self->done[i], name) == 0)
			return true;
	return false;
}

static int note_done(struct gc *self, const char *name)
{
	char **done = reallocarray(self->done, self->done_count + 1, sizeof(*done));

	if (!done)
		return -ENOMEM;
	self->done = done;
	done[self->done_count] = strdup(name);
	return done[self->done_count++] ? 0 : -ENOMEM;
}

static int sweep(struct gc *self, struct gc_task *task, struct error *err)
{
	struct error cause = ERROR_NONE;
	int r;

	log_info(self->log, "Deleting artifacts", log_string("artifactGCTask", task->name),
		 log_int("nodes", (int64_t)task->node_count),
		 log_int("artifacts", (int64_t)task->artifact_count),
		 log_int("recorded", (int64_t)task->counts[GC_RECORDED]));
	task->on_verdict = log_verdict;
	task->context = self;
	r = gc_sweep(&self->api, &self->stores, task, err);
	if (self->stopped_by) {
		/* What was deleted is told, so that nobody asks for it again. */
		event_loop_resume(self->loop);
		self->api.deadline_ms = clock_now_ms() + LAST_REPORT_MS;
		self->api.policy.rounds = RETRY_ENDLESS;
		if (gc_report(&self->api, task, &cause) < 0)
			log_error(self->log, "Failed to store the last results",
				  log_error_field(&cause));
		event_loop_cancel(self->loop);
		r = event_loop_cancelled_error(err);
	}
	if (r == 0)
		r = gc_report_left_out(task, err);
	for (size_t i = 0; i < GC_VERDICTS; i++)
		self->counts[i] += task->counts[i];
	return r;
}

/* The task is gone, or cannot hold what is to be said of it; that says nothing of the next one. */
static bool is_about_task(int r)
{
	return r == -ENOENT || r == -EINVAL || r == -E2BIG;
}

static int visit_task(struct json_span json, void *context)
{
	struct gc *self = context;
	struct gc_task task;
	int r = gc_task_parse(json, &task, &self->error);

	if (r < 0)
		return r;
	if (!is_done(self, task.name)) {
		r = sweep(self, &task, &self->error);
		if (is_about_task(r)) {
			log_error(self->log, "Failed to store results",
				  log_error_field(&self->error));
			if (!self->refusal.code)
				self->refusal = self->error;
			r = 0;
		}
		if (r == 0 && note_done(self, task.name) < 0)
			r = error_set(&self->error, -ENOMEM, "out of memory");
	}
	gc_task_done(&task);
	return r;
}

/* One answer; *ret_token leads to the next, NULL if there is none. */
static int process(struct gc *self, const char *token, char **ret_token, struct error *err)
{
	_cleanup_buffer_ struct buffer answer = BUFFER_INIT(KUBE_ANSWER_BYTES_MAX);
	struct json_span list, metadata;
	int r = gc_api_list(&self->api, self->label, token, &answer, &list, err);

	*ret_token = NULL;
	if (r < 0)
		return r;
	metadata = json_span_get(list, "metadata");
	r = json_span_elements(json_span_get(list, "items"), visit_task, self);
	if (r < 0) {
		*err = self->error;
		return r;
	}
	*ret_token = json_span_string(json_span_get(metadata, "continue"), "");
	if (!*ret_token)
		return error_set(err, -ENOMEM, "out of memory");
	if (**ret_token == '\0')
		free(TAKE_PTR(*ret_token));
	return 0;
}

static int process_all(struct gc *self, struct error *err)
{
	_cleanup_free_ char *token = NULL;
	size_t done_before = 0;
	bool is_stale = false;
	int r;

	do {
		char *next = NULL;

		r = process(self, token, &next, err);
		free(token);
		token = next;
		/* Etcd keeps old versions for five minutes, and one task may take longer. */
		is_stale = r == -ESTALE && self->done_count > done_before;
		if (is_stale)
			done_before = self->done_count;
	} while ((r == 0 && token) || is_stale);
	if (r == 0 && self->refusal.code < 0) {
		*err = self->refusal;
		return err->code;
	}
	return r;
}

/* --- the role --------------------------------------------------------------------------- */

static void look_at_plugins(struct event_watch *watch)
{
	struct gc *self = (struct gc *)((char *)watch - offsetof(struct gc, plugin_files));

	plugins_look(&self->plugins);
}

/* Nobody else does, and the pod lasts as long as they. */
static void end_plugins(struct gc *self)
{
	struct error err = ERROR_NONE;
	int r;

	if (!self->loop)
		return;
	plugins_ask(&self->plugins);
	r = event_watch_init(&self->plugin_files, self->loop, look_at_plugins);
	if (r < 0)
		error_errno(&err, r, "watch the artifact plugins");
	else
		plugins_await(&self->plugins, self->loop, &self->plugin_files, &err);
	event_watch_done(&self->plugin_files);
	if (err.code < 0)
		log_warn(self->log, "Failed to end artifact plugins", log_error_field(&err));
}

static void log_counts(const struct gc *self)
{
	const size_t *counts = self->counts;

	log_info(self->log, "Deleted the artifacts",
		 log_int("deleted", (int64_t)(counts[GC_DELETED] + counts[GC_RECORDED])),
		 log_int("alreadyGone", (int64_t)counts[GC_ALREADY_GONE]),
		 log_int("neverStored", (int64_t)counts[GC_NEVER_STORED]),
		 log_int("failed", (int64_t)(counts[GC_NOT_CONFIGURED] + counts[GC_UNSUPPORTED] +
					     counts[GC_FAILED])));
}

static int finish(struct gc *self, int r, struct error *err)
{
	char name[32];

	if (r == 0) {
		log_counts(self);
		return ROLE_OK;
	}
	if (self->stopped_by)
		error_set(err, -ECANCELED, "stopped (%s) before all artifacts were deleted",
			  signals_go_name(self->stopped_by, name, sizeof(name)));
	failure_report(self->role, err);
	return self->stopped_by ? 128 + self->stopped_by : ROLE_FAILED;
}

int gc_main(const struct role *role)
{
	struct gc self = {
		.role = role,
		.log = &role->log,
		.label = environment_get("ARGO_ARTIFACT_POD_NAME"),
	};
	struct error err = ERROR_NONE;
	int code, r;

	if (*self.label == '\0') {
		log_info(&role->log, "No artifacts to delete: ARGO_ARTIFACT_POD_NAME is not set");
		return ROLE_OK;
	}
	signals_block_all(&self.signals);
	log_info(&role->log, "Starting artifact delete", log_string("version", version_text()),
		 log_string("podName", environment_get("ARGO_POD_NAME")));
	r = set_up(&self, &err);
	if (r < 0) {
		failure_report(role, &err);
		code = ROLE_BAD_SETUP;
	} else {
		r = process_all(&self, &err);
		code = finish(&self, r, &err);
	}
	end_plugins(&self);
	release(&self);
	return code;
}
