#include "emissary/emissary.h"

#include "emissary/asked.h"
#include "emissary/attempts.h"
#include "emissary/companions.h"
#include "emissary/directory.h"
#include "emissary/handoff.h"
#include "emissary/leftovers.h"
#include "emissary/links.h"
#include "emissary/ready.h"
#include "emissary/run.h"
#include "executor/base/cleanup.h"
#include "executor/base/clock.h"
#include "executor/base/path.h"
#include "executor/event/watch.h"
#include "executor/process/channel.h"
#include "executor/process/files.h"
#include "executor/process/inbox.h"
#include "executor/report/failure.h"
#include "executor/stage/collect.h"
#include "executor/stage/stage.h"
#include "executor/template/environment.h"
#include "executor/template/template.h"

#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <stdio.h>
#include <string.h>
#include <sys/prctl.h>
#include <unistd.h>

#define ROOT FILES_VAR_RUN_ARGO

/* What is kept of the grace period for collecting; of a short one, no more than a half. */
#define SAVING_MS_MIN 5000

struct emissary {
	const struct role *role;
	struct environment environment;
	struct template *template;
	struct event_loop *loop;
	struct signals signals;
	struct channel_client channel;
	struct event_watch watch; /* signal file and wait.sock, while the channel is not there */
	struct event_watch pause_watch;
	struct inbox inbox; /* the signal file */
	struct command command;
	struct run run;
	struct directory directory; /* ctr/<name> */
	struct handoff handoff;
	const char *pause_name;
	struct companions mains; /* for a sidecar: whom it serves */
	struct event_timer sidecar_kill;
	int stopped_by; /* the first signal that asked for the end; 0 = none */
	struct asked asked; /* by whom, and for SIGKILL */
	int dependency_code; /* of the dependency that failed; else 0 */
	bool is_watching;
	bool was_connected; /* `wait` is or has been there */
	bool is_before_main; /* the supervisor has not prepared the pod: a failure is 65 */
	bool is_started; /* from now on signals belong to the command */
	bool is_pause_over;
};

/* --- signals, from wherever they come --------------------------------------------------- */

static bool ends_a_step(int signo)
{
	return signo == SIGTERM || signo == SIGINT || signo == SIGQUIT || signo == SIGKILL;
}

/* For the log's reader after a stop: the rest of the grace period is for collecting outputs. */
static int64_t output_ms(const struct emissary *self)
{
	int64_t grace = self->environment.grace_s * 1000;
	int64_t saving = grace / 5 > SAVING_MS_MIN ? grace / 5 : SAVING_MS_MIN;

	return grace - (saving < grace / 2 ? saving : grace / 2);
}

static void deliver(struct emissary *self, int signo)
{
	if (ends_a_step(signo) && !self->stopped_by) {
		self->stopped_by = signo;
		/* Ends whatever is waited for before, between or after runs of the command. */
		event_loop_cancel(self->loop);
	}
	if (signo == SIGWINCH)
		terminal_resize(&self->run.terminal);
	run_signal(&self->run, signo);
	if (ends_a_step(signo))
		run_limit_output(&self->run,
				 clock_now_ms() + (signo == SIGKILL ? 0 : output_ms(self)));
}

/* (What comes through the channel was told by `wait`.) */
static void deliver_from(struct emissary *self, int signo, const char *source, pid_t pid,
			 int64_t uid)
{
	struct asked_request request = { .signo = signo, .source = source, .pid = pid, .uid = uid };

	deliver(self, signo);
	if (ends_a_step(signo))
		asked_note(&self->asked, &self->role->log, &request);
	else
		log_debug(&self->role->log, "Received signal", log_int("signal", signo));
}

static void on_signal(struct signals *signals, const struct signalfd_siginfo *info)
{
	struct emissary *self =
		(struct emissary *)((char *)signals - offsetof(struct emissary, signals));
	int signo = (int)info->ssi_signo;

	if (signo == SIGCHLD) {
		run_reap(&self->run);
		return;
	}
	/* SIGURG is noise of some runtimes; SIGPIPE from ourselves is a reader of ours that left. */
	if (signo == SIGURG || (signo == SIGPIPE && info->ssi_pid == (uint32_t)getpid()))
		return;
	deliver_from(self, signo, "kernel", (pid_t)info->ssi_pid, info->ssi_uid);
	if (signo == SIGTERM)
		channel_client_tell(&self->channel, signo, (pid_t)info->ssi_pid, info->ssi_uid);
}

static void on_channel_signal(struct channel_client *client, int signo)
{
	struct emissary *self =
		(struct emissary *)((char *)client - offsetof(struct emissary, channel));

	log_debug(&self->role->log, "Received signal through the channel",
		  log_int("signal", signo));
	deliver(self, signo);
}

static void look_at_files(struct event_watch *watch);

/* The files are the way in when there is no channel: `wait` is not up yet, or it is another
 * executor's, or gone. */
static void watch_files(struct emissary *self)
{
	if (self->is_watching || event_watch_init(&self->watch, self->loop, look_at_files) < 0)
		return;
	self->is_watching = true;
	event_watch_add(&self->watch, self->directory.path, EVENT_WATCH_NAMES);
	event_watch_add(&self->watch, ROOT, EVENT_WATCH_NAMES);
}

static void connect_channel(struct emissary *self)
{
	int r;

	if (channel_client_is_connected(&self->channel))
		return;
	r = channel_client_connect(&self->channel, self->loop, ROOT,
				   self->environment.container_name);
	/* A socket file without a listener: it has been there and has ended. */
	if (r == -ECONNREFUSED)
		self->was_connected = true;
	if (r < 0)
		return;
	if (self->is_watching)
		event_watch_done(&self->watch);
	self->is_watching = false;
	self->was_connected = true;
	handoff_wake(&self->handoff);
}

static void on_file_signal(struct inbox *inbox, int signo)
{
	struct emissary *self =
		(struct emissary *)((char *)inbox - offsetof(struct emissary, inbox));

	deliver_from(self, signo, "file", 0, -1);
}

static void take_signal_file(struct emissary *self)
{
	inbox_look(&self->inbox, self->is_watching ? &self->watch : NULL);
}

static void look_at_files(struct event_watch *watch)
{
	struct emissary *self =
		(struct emissary *)((char *)watch - offsetof(struct emissary, watch));

	take_signal_file(self);
	connect_channel(self);
}

static void on_channel_lost(struct channel_client *client)
{
	struct emissary *self =
		(struct emissary *)((char *)client - offsetof(struct emissary, channel));

	handoff_wake(&self->handoff);
	watch_files(self);
	take_signal_file(self);
}

static void on_channel_answer(struct channel_client *client, enum channel_verdict verdict)
{
	struct emissary *self =
		(struct emissary *)((char *)client - offsetof(struct emissary, channel));

	handoff_answered(&self->handoff, verdict);
}

static void on_channel_ask(struct channel_client *client, const struct channel_ask *ask)
{
	struct emissary *self =
		(struct emissary *)((char *)client - offsetof(struct emissary, channel));

	handoff_asked(&self->handoff, ask);
}

/* --- the sequence ----------------------------------------------------------------------- */

static void look_for_pause_end(struct event_watch *watch)
{
	struct emissary *self =
		(struct emissary *)((char *)watch - offsetof(struct emissary, pause_watch));
	char path[PATH_MAX_BYTES + 16];

	snprintf(path, sizeof(path), "%s/%s", self->directory.path, self->pause_name);
	self->is_pause_over = access(path, F_OK) == 0;
}

/* ARGO_DEBUG_PAUSE_BEFORE/AFTER=true: a person looks around in the container and lets it go on
 * by creating ctr/<name>/before (after). */
static void pause_for_debugging(struct emissary *self, const char *variable, const char *name)
{
	if (!environment_is_true(variable))
		return;
	log_info(&self->role->log, "Waiting for a file to go on", log_string("path", name));
	self->pause_name = name;
	if (event_watch_init(&self->pause_watch, self->loop, look_for_pause_end) < 0)
		return;
	event_watch_add(&self->pause_watch, self->directory.path, EVENT_WATCH_NAMES);
	look_for_pause_end(&self->pause_watch);
	event_loop_wait(self->loop, &self->is_pause_over);
	event_watch_done(&self->pause_watch);
	self->is_pause_over = false;
}

static int prepare(struct emissary *self, struct error *err)
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
	/* Where we are PID 1 the kernel makes us the parent of orphans anyway. */
	prctl(PR_SET_CHILD_SUBREAPER, 1);
	r = inbox_init(&self->inbox, self->loop, ROOT, name);
	if (r < 0)
		return error_errno(err, r, "timerfd");
	self->inbox.on_signal = on_file_signal;
	self->channel.on_signal = on_channel_signal;
	self->channel.on_lost = on_channel_lost;
	self->channel.on_answer = on_channel_answer;
	self->channel.on_ask = on_channel_ask;
	connect_channel(self);
	if (!channel_client_is_connected(&self->channel)) {
		watch_files(self);
		connect_channel(self); /* it may have come up in between */
	}
	take_signal_file(self);
	/* A stop that was there before us keeps the command from running. */
	(void)event_loop_wait(self->loop, &self->inbox.is_settled);
	return command_build(self->role, &self->command, err);
}

/* What the init container does in other pods has to be done by now; the user's command must not
 * run without it. */
static int await_supervisor(struct emissary *self, struct error *err)
{
	bool is_waiting = environment_is_true("ARGO_WAIT_FOR_READY");
	int r = 0;

	self->is_before_main = is_waiting;
	if (is_waiting)
		r = ready_await(self->loop, ROOT, err);
	if (r == 0) {
		self->is_before_main = false;
		r = template_load_installed(ROOT, &self->template, err);
	}
	if (r == 0 && is_waiting && strcmp(self->environment.container_name, "main") == 0) {
		self->is_before_main = true;
		r = links_make(self->template, STAGE_INPUTS, err);
		self->is_before_main = r < 0;
	}
	return r;
}

static int stopped(struct emissary *self, struct error *err)
{
	char name[32];

	return error_set(err, -ECANCELED, "stopped (%s) before the command was started",
			 signals_go_name(self->stopped_by, name, sizeof(name)));
}

/* Returns 0 with *ret_code set by the command's end, or what kept it from starting. */
static int run_once(struct emissary *self, bool is_first, int *ret_code, struct error *err)
{
	int r;

	self->run = (struct run){
		.loop = self->loop,
		.log = &self->role->log,
		.signals = &self->signals,
		.root = ROOT,
		.container = self->environment.container_name,
		.keeps_stdout = self->environment.wants_script_output,
		.keeps_combined = template_archives_logs(self->template),
		.is_first = is_first,
	};
	self->is_started = true;
	r = run_command(&self->run, &self->command, err);
	if (r < 0)
		return error_prefix(err, r, "failed to start command");
	*ret_code = child_status_code(&self->run.status);
	asked_tell(&self->asked, &self->role->log);
	log_info(&self->role->log, "sub-process exited", log_int("exitCode", *ret_code));
	return 0;
}

/* Runs the command until it succeeds or its attempts are used up; a stop ends the attempts. */
static int run_attempts(struct emissary *self, int *ret_code, struct error *err)
{
	struct attempts attempts;
	int r = attempts_load(self->template, &attempts, err);

	for (int64_t i = 0; r == 0 && i < attempts.count; i++) {
		if (i > 0)
			run_reap(&self->run); /* orphans that ended with the last attempt */
		if (i > 0 &&
		    (self->stopped_by || event_loop_pause(self->loop, attempts.pause_ms) < 0))
			break;
		/* The last moment at which a stop can keep the command from running (again). */
		if (event_loop_poll(self->loop) < 0)
			break;
		/* An earlier attempt's code says nothing of one that could not be started. */
		*ret_code = -1;
		r = run_once(self, i == 0, ret_code, err);
		if (r == 0 && *ret_code == 0)
			break;
		if (r < 0 && i + 1 < attempts.count && !self->stopped_by) {
			log_warn(&self->role->log, "Attempt failed", log_error_field(err));
			r = 0;
		}
	}
	return r == 0 && *ret_code < 0 ? stopped(self, err) : r;
}

static void kill_sidecar(struct event_timer *timer)
{
	struct emissary *self =
		(struct emissary *)((char *)timer - offsetof(struct emissary, sidecar_kill));

	log_info(&self->role->log, "The sidecar did not end in time: killing it");
	deliver(self, SIGKILL);
}

static void end_sidecar(struct companions *mains)
{
	struct emissary *self =
		(struct emissary *)((char *)mains - offsetof(struct emissary, mains));

	log_info(&self->role->log, "The main containers have ended: ending the sidecar");
	event_timer_set(&self->sidecar_kill, self->environment.grace_s * 1000);
	deliver(self, SIGTERM);
}

/* A sidecar ends when those it serves have ended. */
static int watch_mains(struct emissary *self, struct error *err)
{
	int r;

	if (!companions_is_sidecar(self->template, self->environment.container_name))
		return 0;
	r = event_timer_init(&self->sidecar_kill, self->loop, kill_sidecar);
	if (r < 0)
		return error_errno(err, r, "timerfd");
	return companions_init(&self->mains, self->loop, ROOT, self->template->containers,
			       self->template->container_count, end_sidecar, err);
}

static int await_turn(struct emissary *self, struct error *err)
{
	int r = companions_await_dependencies(self->template, self->environment.container_name,
					      self->loop, ROOT, &self->dependency_code, err);

	if (r == 0)
		r = watch_mains(self, err);
	return r == -ECANCELED ? stopped(self, err) : r;
}

/* Whether a container beside this one collects what main leaves, so that it is worth waiting for. */
static bool has_collector(const struct template *template)
{
	return template->type == TEMPLATE_CONTAINER || template->type == TEMPLATE_SCRIPT ||
	       template->type == TEMPLATE_CONTAINER_SET || template_archives_logs(template);
}

static int collect(struct emissary *self, struct error *err)
{
	const struct log *log = &self->role->log;
	struct collect_taker taker = handoff_taker(&self->handoff);
	int r;

	if (!collect_has_artifacts(self->template))
		return collect_outputs(self->template, ROOT, NULL, log, err);
	leftovers_end();
	run_reap(&self->run);
	r = handoff_init(&self->handoff, self->loop, &self->channel, log);
	if (r < 0)
		return error_errno(err, r, "timerfd");
	/* One that was there and has gone does not come back. */
	if (!self->was_connected && has_collector(self->template))
		handoff_await_channel(&self->handoff);
	r = collect_outputs(self->template, ROOT, &taker, log, err);
	handoff_done(&self->handoff);
	return r;
}

static int run_and_collect(struct emissary *self, int *ret_code, struct error *err)
{
	bool is_main = strcmp(self->environment.container_name, "main") == 0;
	int r = await_turn(self, err);

	if (r == 0)
		r = command_resolve(&self->command, err);
	if (r == 0)
		pause_for_debugging(self, "ARGO_DEBUG_PAUSE_BEFORE", "before");
	if (r == 0)
		r = run_attempts(self, ret_code, err);
	if (r < 0)
		return r;
	pause_for_debugging(self, "ARGO_DEBUG_PAUSE_AFTER", "after");
	return is_main ? collect(self, err) : 0;
}

/*
 * A stop reaches a member and its dependency in any order: seeing the dependency's end before our
 * own signal must not make a failure of our own out of an interruption.
 */
static bool was_stopped(int code)
{
	return code == 128 + SIGTERM || code == 128 + SIGKILL;
}

/* Outputs that cannot be brought out say so, and leave a status of the command's own that is not 0. */
static int fail_to_collect(struct emissary *self, int command_code, const struct error *err)
{
	failure_report_behind(self->role, command_code, err);
	return command_code != 0 ? command_code : ROLE_FAILED;
}

static int fail(struct emissary *self, const struct error *err)
{
	int code = ROLE_FAILED;

	if (self->is_before_main)
		code = ROLE_BEFORE_MAIN;
	else if (self->stopped_by && !self->is_started)
		code = 128 + self->stopped_by;
	else if (was_stopped(self->dependency_code))
		code = self->dependency_code;
	asked_tell(&self->asked, &self->role->log);
	failure_report(self->role, err);
	return code;
}

static void release(struct emissary *self)
{
	channel_client_done(&self->channel);
	if (self->is_watching)
		event_watch_done(&self->watch);
	inbox_done(&self->inbox);
	companions_done(&self->mains);
	event_timer_done(&self->sidecar_kill);
	signals_done(&self->signals);
	command_done(&self->command);
	template_free(self->template);
	event_loop_free(self->loop);
}

int emissary_main(const struct role *role)
{
	struct emissary self = { .role = role };
	struct error err = ERROR_NONE;
	int command_code = -1, exit_code, r;

	signals_block_all(&self.signals);
	environment_load_wrapper(&self.environment);
	r = prepare(&self, &err);
	if (r == 0)
		r = await_supervisor(&self, &err);
	if (r == 0)
		r = run_and_collect(&self, &command_code, &err);
	if (r < 0)
		exit_code = command_code >= 0 ? fail_to_collect(&self, command_code, &err) :
						fail(&self, &err);
	else
		exit_code = command_code;
	if (r == 0 && exit_code != 0)
		log_text(&role->log, "Error: exit status %d\n", exit_code);
	directory_write_exit_code(&self.directory, command_code >= 0 ? command_code : exit_code);
	release(&self);
	return exit_code;
}
