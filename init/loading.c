#include "init/loading.h"

#include "executor/artifact/budget.h"
#include "executor/artifact/cache.h"
#include "executor/http/retry.h"
#include "executor/process/files.h"
#include "executor/report/failure.h"
#include "executor/stage/load.h"

#include <errno.h>
#include <signal.h>
#include <stddef.h>

bool loading_is_stop(int signo)
{
	return signo == SIGTERM || signo == SIGINT || signo == SIGQUIT || signo == SIGHUP;
}

static void on_signal(struct signals *signals, const struct signalfd_siginfo *info)
{
	struct loading *self =
		(struct loading *)((char *)signals - offsetof(struct loading, signals));
	int signo = (int)info->ssi_signo;

	if (self->on_signal)
		self->on_signal(self, info);
	if (!loading_is_stop(signo))
		return;
	if (!self->stopped_by)
		log_info(&self->role->log, "Asked to stop", log_int("signal", signo));
	self->stopped_by = signo;
	event_loop_cancel(self->loop);
}

/* What the stores will read of the environment is wrong now, or never. */
static int check_tuning(struct error *err)
{
	_cleanup_(transient_pattern_freep) struct transient_pattern *pattern = NULL;
	struct retry_policy policy;
	int r = transient_pattern_from_environment(&pattern, err);

	return r < 0 ? r : retry_policy_from_environment(&policy, err);
}

static int set_up(struct loading *self, struct error *err)
{
	int r = environment_load(&self->environment, err);

	if (r == 0)
		r = check_tuning(err);
	if (r < 0)
		return r;
	self->loop = event_loop_new();
	if (!self->loop)
		return error_errno(err, -errno, "epoll");
	r = signals_start(&self->signals, self->loop, on_signal);
	if (r < 0)
		return error_errno(err, r, "signalfd");
	return template_load(FILES_VAR_RUN_ARGO, &self->template, err);
}

int loading_set_up(struct loading *loading, const struct role *role)
{
	struct error err = ERROR_NONE;
	int r;

	*loading = (struct loading){ .role = role };
	signals_block_all(&loading->signals);
	r = set_up(loading, &err);
	if (r == 0)
		return ROLE_OK;
	failure_report(role, &err);
	return r == -ENXIO ? ROLE_BAD_START : ROLE_BAD_SETUP;
}

struct stage loading_stage(struct loading *loading)
{
	return (struct stage){
		.template = loading->template,
		.log = &loading->role->log,
		.root = FILES_VAR_RUN_ARGO,
		.inputs = STAGE_INPUTS,
		.main_root = STAGE_MAIN_ROOT,
		.script = STAGE_SCRIPT,
		.manifest = STAGE_MANIFEST,
		.scratch = STAGE_SCRATCH,
	};
}

static void set_store(struct loading *loading, struct stage *stage)
{
	stage->store = (struct store_context){ .loop = loading->loop,
					       .log = &loading->role->log,
					       .secret_directory = STAGE_SECRETS };
}

int loading_begin(struct loading *loading, struct stage *stage, struct error *err)
{
	int r;

	if (loading->template->input_count == 0)
		return 0;
	set_store(loading, stage);
	r = engine_attach(&loading->engine, stage, err);
	if (r == 0)
		engine_start(&loading->engine);
	return r;
}

static int load_by_engine(struct loading *loading, struct error *err)
{
	const char *const pass[] = { NULL };
	size_t failed;

	return engine_load(&loading->engine, pass, 1, &failed, err);
}

int loading_inputs(struct loading *loading, struct stage *stage, struct error *err)
{
	struct http_client_options options = { .user_agent = "argoexec" };

	if (loading->template->input_count == 0)
		return 0;
	/* A plugin's process is reaped with whatever else ends here: its inputs are loaded by us. */
	if (!stage->plugin)
		return load_by_engine(loading, err);
	set_store(loading, stage);
	loading->http = http_client_new(loading->loop, &options, err);
	if (!loading->http)
		return err->code;
	loading->budget = budget_new(BUDGET_CONNECTIONS, budget_bytes("/"));
	loading->cache = store_cache_new();
	if (!loading->budget || !loading->cache)
		return error_set(err, -ENOMEM, "out of memory");
	stage->store.http = loading->http;
	stage->store.budget = loading->budget;
	stage->store.cache = loading->cache;
	return load_inputs(stage, err);
}

int loading_check(struct loading *loading, struct error *err)
{
	event_loop_poll(loading->loop);
	return loading->stopped_by ? event_loop_cancelled_error(err) : 0;
}

int loading_fail(const struct loading *loading, struct error *err)
{
	char name[32];

	if (loading->stopped_by)
		error_set(err, -ECANCELED, "stopped (%s) before the inputs were loaded",
			  signals_go_name(loading->stopped_by, name, sizeof(name)));
	failure_report(loading->role, err);
	return loading->stopped_by ? 128 + loading->stopped_by : ROLE_FAILED;
}

void loading_release(struct loading *loading)
{
	store_cache_free(loading->cache);
	budget_free(loading->budget);
	engine_done(&loading->engine);
	http_client_free(loading->http);
	template_free(loading->template);
	signals_done(&loading->signals);
	event_loop_free(loading->loop);
}
