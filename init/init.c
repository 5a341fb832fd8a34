#include "init/init.h"

#include "executor/base/cleanup.h"
#include "executor/base/fd.h"
#include "executor/base/version.h"
#include "executor/event/loop.h"
#include "executor/http/retry.h"
#include "executor/process/files.h"
#include "executor/process/signals.h"
#include "executor/report/failure.h"
#include "executor/stage/load.h"
#include "executor/template/environment.h"
#include "executor/template/template.h"

#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <stddef.h>
#include <sys/auxv.h>
#include <sys/stat.h>

struct init {
	const struct role *role;
	struct environment environment;
	struct template *template;
	struct event_loop *loop;
	struct http_client *http;
	struct signals signals;
	int stopped_by;
};

static void on_signal(struct signals *signals, const struct signalfd_siginfo *info)
{
	struct init *self = (struct init *)((char *)signals - offsetof(struct init, signals));
	int signo = (int)info->ssi_signo;

	if (signo != SIGTERM && signo != SIGINT && signo != SIGQUIT && signo != SIGHUP)
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

static int set_up(struct init *self, struct error *err)
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

/* The other containers run this very binary from the shared volume. */
static int install_binary(struct error *err)
{
	_cleanup_close_ int fd = open("/proc/self/exe", O_RDONLY | O_CLOEXEC);

	if (fd < 0) /* no /proc: the name under which we were executed */
		fd = open((const char *)getauxval(AT_EXECFN), O_RDONLY | O_CLOEXEC);
	if (fd < 0)
		return error_errno(err, -errno, "open our own binary");
	return file_replace_from(FILES_VAR_RUN_ARGO "/argoexec", fd, 0555, err);
}

static int load(struct init *self, struct error *err)
{
	struct stage stage = {
		.template = self->template,
		.log = &self->role->log,
		.root = FILES_VAR_RUN_ARGO,
		.inputs = STAGE_INPUTS,
		.main_root = STAGE_MAIN_ROOT,
		.script = STAGE_SCRIPT,
		.manifest = STAGE_MANIFEST,
		.scratch = STAGE_SCRATCH,
	};
	struct http_client_options options = { .user_agent = "argoexec" };
	int r = load_files(&stage, err);

	if (r < 0 || self->template->input_count == 0)
		return r;
	self->http = http_client_new(self->loop, &options, err);
	if (!self->http)
		return err->code;
	stage.store = (struct store_context){ .loop = self->loop,
					      .http = self->http,
					      .log = &self->role->log,
					      .secret_directory = STAGE_SECRETS };
	return load_inputs(&stage, err);
}

static int work(struct init *self, struct error *err)
{
	int r = install_binary(err);

	if (r == 0)
		r = template_install(self->template, FILES_VAR_RUN_ARGO, err);
	if (r == 0)
		r = load(self, err);
	/* A stop that came while nothing was waited for still counts. */
	if (r == 0 && event_loop_poll(self->loop) == -ECANCELED)
		r = event_loop_cancelled_error(err);
	return r;
}

static int conclude(const struct init *self, struct error *err)
{
	char name[32];

	if (self->stopped_by) {
		error_set(err, -ECANCELED, "stopped (%s) before the inputs were loaded",
			  signals_go_name(self->stopped_by, name, sizeof(name)));
		failure_report(self->role, err);
		return 128 + self->stopped_by;
	}
	failure_report(self->role, err);
	return ROLE_FAILED;
}

static void release(struct init *self)
{
	http_client_free(self->http);
	template_free(self->template);
	signals_done(&self->signals);
	event_loop_free(self->loop);
}

int init_main(const struct role *role)
{
	struct init self = { .role = role };
	struct error err = ERROR_NONE;
	int code = ROLE_OK, r;

	signals_block_all(&self.signals);
	umask(0);
	r = set_up(&self, &err);
	if (r < 0) {
		failure_report(role, &err);
		code = r == -ENXIO ? ROLE_BAD_START : ROLE_BAD_SETUP;
	} else {
		log_info(&role->log, "Starting init", log_string("version", version_text()),
			 log_string("podName", self.environment.pod_name));
		if (work(&self, &err) < 0)
			code = conclude(&self, &err);
	}
	release(&self);
	return code;
}
