#include "init/plugin_init.h"

#include "executor/artifact/plugin/plugin.h"
#include "executor/base/path.h"
#include "executor/base/text.h"
#include "executor/base/version.h"
#include "executor/process/child.h"
#include "executor/report/failure.h"
#include "init/loading.h"

#include <errno.h>
#include <signal.h>
#include <stddef.h>
#include <stdio.h>
#include <sys/prctl.h>
#include <unistd.h>

struct plugin_init {
	struct loading loading;
	const char *plugin;
	char directory[sizeof(PLUGIN_SOCKETS) + 64]; /* of its socket */
	pid_t pid; /* > 0 while it lives */
	struct child_status status;
	bool has_ended;
};

static void reap(struct plugin_init *self)
{
	if (self->pid <= 0 || !child_reap(self->pid, &self->status))
		return;
	self->pid = 0;
	self->has_ended = true;
	event_loop_cancel(self->loading.loop);
}

static void on_signal(struct loading *loading, const struct signalfd_siginfo *info)
{
	struct plugin_init *self =
		(struct plugin_init *)((char *)loading - offsetof(struct plugin_init, loading));
	int signo = (int)info->ssi_signo;

	if (signo == SIGCHLD)
		reap(self);
	if (signo == SIGCHLD || signo == SIGURG || self->pid <= 0 ||
	    (signo == SIGPIPE && info->ssi_pid == (uint32_t)getpid()))
		return;
	/* What it has half-loaded is about to be removed: it must not go on. */
	child_signal_group(self->pid, loading_is_stop(signo) ? SIGKILL : signo);
}

/* A socket of an earlier run is nobody's, and in the way of some plugins. */
static void remove_socket(const struct plugin_init *self)
{
	char path[sizeof(self->directory) + 8];

	snprintf(path, sizeof(path), "%s/socket", self->directory);
	unlink(path);
}

static int start(struct plugin_init *self, struct error *err)
{
	char **argv = self->loading.role->argv, *path = NULL;
	int r;

	snprintf(self->directory, sizeof(self->directory), PLUGIN_SOCKETS "/%s", self->plugin);
	r = path_make_directories(self->directory, 0755, err);
	if (r == 0)
		r = child_find_program(argv[0], getenv("PATH"), &path, err);
	if (r == 0) {
		remove_socket(self);
		r = child_spawn(&(struct child_options){ .path = path,
							 .argv = argv,
							 .envp = environ,
							 .stdin_fd = -1,
							 .stdout_fd = -1,
							 .stderr_fd = -1,
							 .signals = &self->loading.signals },
				&self->pid, err);
		free(path);
	}
	return r < 0 ? error_prefix(err, r, "failed to start plugin %s", self->plugin) : 0;
}

static int work(struct plugin_init *self, struct error *err)
{
	struct stage stage = loading_stage(&self->loading);
	int r;

	stage.plugin = self->plugin;
	/* Orphans of the plugin are ours where we are not PID 1, too. */
	prctl(PR_SET_CHILD_SUBREAPER, 1);
	r = start(self, err);
	if (r == 0)
		r = loading_inputs(&self->loading, &stage, err);
	return r < 0 ? r : loading_check(&self->loading, err);
}

static int fail(struct plugin_init *self, struct error *err)
{
	if (self->has_ended && !self->loading.stopped_by)
		error_set(err, -ECHILD, "plugin %s ended (%s %d) before its inputs were loaded",
			  self->plugin, self->status.is_signalled ? "signal" : "exit status",
			  self->status.number);
	return loading_fail(&self->loading, err);
}

/* As the kernel does it for us where we are PID 1. */
static void end_plugin(struct plugin_init *self)
{
	if (self->pid > 0)
		child_signal_group(self->pid, SIGKILL);
	remove_socket(self);
}

static int check(const struct role *role, struct error *err)
{
	if (!role->plugin)
		return error_set(err, -EINVAL, "artifact-plugin-init: --plugin-name is missing");
	return text_is_dns_label(role->plugin) ? 0 :
						 error_set(err, -EINVAL,
							   "--plugin-name \"%.64s\" is not the "
							   "name of a plugin",
							   role->plugin);
}

int plugin_init_main(const struct role *role)
{
	struct plugin_init self = { .plugin = role->plugin };
	struct error err = ERROR_NONE;
	int code;

	if (check(role, &err) < 0) {
		failure_report(role, &err);
		return ROLE_FAILED;
	}
	code = loading_set_up(&self.loading, role);
	if (code == ROLE_OK) {
		self.loading.on_signal = on_signal;
		log_info(&role->log, "Starting the plugin's init",
			 log_string("version", version_text()),
			 log_string("pluginName", self.plugin),
			 log_string("podName", self.loading.environment.pod_name));
		if (work(&self, &err) < 0)
			code = fail(&self, &err);
		end_plugin(&self);
	}
	loading_release(&self.loading);
	return code;
}
