#include "emissary/plugin_sidecar.h"

#include "emissary/directory.h"
#include "emissary/run.h"
#include "executor/event/watch.h"
#include "executor/process/channel.h"
#include "executor/process/files.h"
#include "executor/process/inbox.h"
#include "executor/report/failure.h"
#include "executor/template/environment.h"

#include <errno.h>
#include <signal.h>
#include <stddef.h>
#include <sys/prctl.h>
#include <unistd.h>

#define ROOT FILES_VAR_RUN_ARGO

/* A server that lives closes a connection that is one too many for it: it need not be asked more
 * often than this. */
#define RECONNECTS_MAX 3

struct plugin_sidecar {
	const struct role *role;
	struct environment environment;
	struct event_loop *loop;
	struct signals signals;
	struct inbox inbox; /* the signal file */
	struct event_watch watch; /* signal file; wait.sock, as long as there is no channel */
	struct channel_client channel; /* only tells that `wait` lives */
	unsigned reconnects;
	struct event_timer kill; /* `wait` died, and SIGTERM was not enough */
	struct command command;
	struct run run;
	struct directory directory; /* ctr/<name> */
	int stopped_by; /* before the plugin was started; 0 = nobody */
	bool is_started; /* from now on signals belong to the plugin */
};

static void deliver(struct plugin_sidecar *self, int signo)
{
	log_debug(&self->role->log, "Received signal", log_int("signal", signo));
	if (self->is_started)
		run_signal(&self->run, signo);
	else if (signo == SIGTERM || signo == SIGINT || signo == SIGQUIT || signo == SIGKILL)
		self->stopped_by = signo;
}

static void on_signal(struct signals *signals, const struct signalfd_siginfo *info)
{
	struct plugin_sidecar *self =
		(struct plugin_sidecar *)((char *)signals -
					  offsetof(struct plugin_sidecar, signals));
	int signo = (int)info->ssi_signo;

	if (signo == SIGCHLD)
		run_reap(&self->run);
	else if (signo == SIGTERM)
		log_info(&self->role->log, "Ignoring SIGTERM: outputs may still be saved");
	else if (signo != SIGURG && (signo != SIGPIPE || info->ssi_pid != (uint32_t)getpid()))
		deliver(self, signo);
	if (signo == SIGWINCH)
		terminal_resize(&self->run.terminal);
}

static void on_file_signal(struct inbox *inbox, int signo)
{
	deliver((struct plugin_sidecar *)((char *)inbox - offsetof(struct plugin_sidecar, inbox)),
		signo);
}

static void on_channel_signal(struct channel_client *channel, int signo)
{
	deliver((struct plugin_sidecar *)((char *)channel -
					  offsetof(struct plugin_sidecar, channel)),
		signo);
}

static void on_kill(struct event_timer *timer)
{
	deliver((struct plugin_sidecar *)((char *)timer - offsetof(struct plugin_sidecar, kill)),
		SIGKILL);
}

static int connect_channel(struct plugin_sidecar *self)
{
	return channel_client_connect(&self->channel, self->loop, ROOT,
				      self->environment.container_name);
}

/* Whoever would have told us to end cannot any more (out of memory, say): it is over. */
static void on_channel_lost(struct channel_client *channel)
{
	struct plugin_sidecar *self =
		(struct plugin_sidecar *)((char *)channel -
					  offsetof(struct plugin_sidecar, channel));

	if (self->reconnects++ >= RECONNECTS_MAX || connect_channel(self) != -ECONNREFUSED)
		return;
	log_warn(&self->role->log, "Nobody is left to save outputs: ending the plugin");
	deliver(self, SIGTERM);
	event_timer_set(&self->kill, self->environment.grace_s * 1000);
}

static void look(struct event_watch *watch)
{
	struct plugin_sidecar *self =
		(struct plugin_sidecar *)((char *)watch - offsetof(struct plugin_sidecar, watch));

	inbox_look(&self->inbox, &self->watch);
	if (!channel_client_is_connected(&self->channel) && self->reconnects == 0)
		connect_channel(self);
}

static int prepare(struct plugin_sidecar *self, struct error *err)
{
	const char *name = self->environment.container_name;
	int r = directory_make(&self->directory, self->role, name, err);

	if (r < 0)
		return r;
	self->loop = event_loop_new();
	if (!self->loop)
		return error_errno(err, -errno, "epoll");
	r = signals_start(&self->signals, self->loop, on_signal);
	if (r < 0)
		return error_errno(err, r, "signalfd");
	r = event_timer_init(&self->kill, self->loop, on_kill);
	if (r == 0)
		r = inbox_init(&self->inbox, self->loop, ROOT, name);
	self->inbox.on_signal = on_file_signal;
	if (r == 0)
		r = event_watch_init(&self->watch, self->loop, look);
	if (r < 0)
		return error_errno(err, r, "watch %s", self->directory.path);
	self->channel.on_signal = on_channel_signal;
	self->channel.on_lost = on_channel_lost;
	event_watch_add(&self->watch, self->directory.path, EVENT_WATCH_NAMES);
	event_watch_add(&self->watch, ROOT, EVENT_WATCH_NAMES);
	look(&self->watch);
	/* A stop that was there before us keeps the plugin from running. */
	(void)event_loop_wait(self->loop, &self->inbox.is_settled);
	prctl(PR_SET_CHILD_SUBREAPER, 1);
	return 0;
}

static int run_plugin(struct plugin_sidecar *self, int *ret_code, struct error *err)
{
	int r = command_build(self->role, &self->command, err);

	if (r == 0)
		r = command_resolve(&self->command, err);
	if (r < 0)
		return r;
	event_loop_poll(self->loop);
	if (self->stopped_by) {
		*ret_code = 128 + self->stopped_by;
		return 0;
	}
	self->run = (struct run){
		.loop = self->loop,
		.log = &self->role->log,
		.signals = &self->signals,
		.root = ROOT,
		.container = self->environment.container_name,
		.keeps_stdout = self->environment.wants_script_output,
		.keeps_combined = self->environment.wants_script_output,
		.is_first = true,
	};
	self->is_started = true;
	r = run_command(&self->run, &self->command, err);
	if (r < 0)
		return error_prefix(err, r, "failed to start command");
	*ret_code = child_status_code(&self->run.status);
	return 0;
}

static void release(struct plugin_sidecar *self)
{
	channel_client_done(&self->channel);
	event_timer_done(&self->kill);
	event_watch_done(&self->watch);
	inbox_done(&self->inbox);
	signals_done(&self->signals);
	command_done(&self->command);
	event_loop_free(self->loop);
}

int plugin_sidecar_main(const struct role *role)
{
	struct plugin_sidecar self = { .role = role };
	struct error err = ERROR_NONE;
	int code = ROLE_FAILED, r;

	signals_block_all(&self.signals);
	environment_load_wrapper(&self.environment);
	r = prepare(&self, &err);
	if (r == 0)
		r = run_plugin(&self, &code, &err);
	if (r < 0)
		failure_report(role, &err);
	else
		log_info(&role->log, "The plugin has ended", log_int("exitCode", code));
	directory_write_exit_code(&self.directory, code);
	release(&self);
	return r < 0 ? ROLE_FAILED : ROLE_OK;
}
