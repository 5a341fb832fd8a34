#include "wait/auxiliary.h"

#include "executor/base/cleanup.h"
#include "executor/base/text.h"
#include "executor/base/version.h"
#include "executor/http/retry.h"
#include "executor/process/files.h"
#include "executor/process/record.h"
#include "executor/report/failure.h"
#include "executor/stage/save.h"
#include "wait/keys.h"
#include "wait/recording.h"

#include <errno.h>
#include <signal.h>
#include <stddef.h>
#include <sys/stat.h>

static void on_signal(struct signals *signals, const struct signalfd_siginfo *info)
{
	struct auxiliary *self =
		(struct auxiliary *)((char *)signals - offsetof(struct auxiliary, signals));
	int signo = (int)info->ssi_signo;

	if (signo != SIGTERM && signo != SIGINT && signo != SIGQUIT && signo != SIGHUP)
		return;
	if (self->is_before_main)
		event_loop_cancel(self->loop);
	mains_finish_up(&self->mains, (pid_t)info->ssi_pid, info->ssi_uid);
	reporting_terminate(&self->reporting);
	/* The controller asks after every step, and again: that is told once. */
	log_at(self->log, self->was_asked ? LOG_DEBUG : LOG_INFO, "Asked to finish up",
	       log_int("signal", signo), log_int("pid", info->ssi_pid),
	       log_int("uid", info->ssi_uid));
	self->was_asked = true;
}

static struct auxiliary *of_mains(struct mains *mains)
{
	return (struct auxiliary *)((char *)mains - offsetof(struct auxiliary, mains));
}

/* At once, since nobody knows how long we have got. */
static void write_standing(struct auxiliary *self)
{
	termination_write(self->role->termination_log, self->standing.message, NULL);
}

static void add_sentence(struct error *text, const char *sentence)
{
	if (text->code)
		error_append(text, "; %s", sentence);
	else
		error_set(text, -ECANCELED, "%s", sentence);
}

static void on_deadline(struct mains *mains)
{
	struct auxiliary *self = of_mains(mains);

	add_sentence(&self->standing, "Step exceeded its deadline");
	write_standing(self);
}

static void on_lost(struct mains *mains, const char *container)
{
	struct auxiliary *self = of_mains(mains);
	struct error sentence;

	error_set(&sentence, -ECHILD,
		  "%s was killed and left no exit code: taken for 137, out of memory?", container);
	add_sentence(&self->lost, sentence.message);
	add_sentence(&self->standing, sentence.message);
	write_standing(self);
}

/* Nobody is left for whom inputs would be loaded: each main container has ended, or was sent what
 * ends it (not only asked: the answer to who asked comes first). */
static bool is_nobody_left(const struct mains *mains)
{
	for (size_t i = 0; i < mains->template->container_count; i++) {
		enum termination_phase phase = mains->terminator.terminations[i].phase;

		if (phase == TERMINATION_RUNNING || phase == TERMINATION_ASKED)
			return false;
	}
	return true;
}

static void on_change(struct mains *mains, size_t i)
{
	struct auxiliary *self = of_mains(mains);

	control_changed(self->control, i);
	if (self->is_before_main && is_nobody_left(mains))
		event_loop_cancel(self->loop);
}

static void on_handed(struct offers *offers, const char *path)
{
	struct mains *mains = (struct mains *)((char *)offers - offsetof(struct mains, offers));
	struct auxiliary *self = of_mains(mains);

	recording_handed(self->reporting.journal, self->template, path);
}

static void on_artifact(void *context, size_t i)
{
	struct auxiliary *self = context;

	reporting_progress(&self->reporting, &self->ledger.entries[i]);
	control_artifact_changed(self->control, i);
}

static const char *state_of(void *context, size_t i)
{
	const struct auxiliary *self = context;

	return mains_state_name(self->mains.states[i]);
}

static void count_traffic(void *context, struct http_counts *ret)
{
	const struct auxiliary *self = context;

	engine_count(&self->engine, ret);
}

static const struct confinement *confinement_of(void *context, bool is_stage)
{
	const struct auxiliary *self = context;

	if (!is_stage)
		return &self->confinement;
	return self->engine.is_confined ? &self->engine.confinement : NULL;
}

/* Neither socket is worth the pod's outputs: without it the pod works as ever, and people and agents
 * have one way less to ask. */
static void open_control(struct auxiliary *self, const char *name)
{
	struct control_model model = {
		.role = name,
		.terminator = &self->mains.terminator,
		.grace_ms = self->mains.grace_ms,
		.deadline_s = self->environment.has_deadline ? self->environment.deadline_s : 0,
		.state = state_of,
		.context = self,
		.ledger = &self->ledger,
		.traffic = count_traffic,
		.confinement = confinement_of,
	};
	struct error err = ERROR_NONE;

	self->control = control_new(self->loop, FILES_VAR_RUN_ARGO, &model, self->log, &err);
	if (!self->control)
		log_warn(self->log, "No control socket", log_error_field(&err));
	else if (control_listen(self->control, &err) < 0)
		log_error(self->log, "No control requests by TCP", log_error_field(&err));
}

/* --- set-up ----------------------------------------------------------------------------- */

static void leave_record(const struct auxiliary *self)
{
	const char *container = environment_get("ARGO_CONTAINER_NAME");
	struct error err = ERROR_NONE;

	if (text_is_dns_label(container) && record_leave(FILES_VAR_RUN_ARGO, container, &err) < 0)
		log_warn(self->log, "Left no record of this process", log_error_field(&err));
}

static int set_up_waiting(struct auxiliary *self, const char *name, struct error *err)
{
	int r = environment_load(&self->environment, err);

	plugins_init(&self->plugins, &self->environment, FILES_VAR_RUN_ARGO, self->log);
	/* Before the first byte that a main container has written. */
	if (r == 0)
		r = confine_role(CONFINE_WAIT, self->role, NULL, &self->confinement, err);
	if (r < 0)
		return r;
	self->loop = event_loop_new();
	if (!self->loop)
		return error_errno(err, -errno, "epoll");
	r = template_load(FILES_VAR_RUN_ARGO, &self->template, err);
	if (r == 0)
		r = mains_init(&self->mains, self->loop, self->template, &self->environment,
			       FILES_VAR_RUN_ARGO, self->log, err);
	if (r < 0)
		return r;
	self->mains.on_deadline = on_deadline;
	self->mains.on_lost = on_lost;
	self->mains.on_change = on_change;
	self->mains.offers.on_handed = on_handed;
	/* Inputs are `init`'s, where there is one. */
	if (stage_plan(&self->ledger, self->template, self->environment.is_initless) < 0)
		return error_set(err, -ENOMEM, "out of memory");
	self->ledger.on_change = on_artifact;
	self->ledger.context = self;
	open_control(self, name);
	return 0;
}

static int set_up_reporting(struct auxiliary *self, struct error *err)
{
	struct http_client_options http = { .user_agent = "argoexec" };
	struct task_result_identity identity = {
		.node_id = self->environment.node_id,
		.workflow_name = self->environment.workflow_name,
		.workflow_uid = self->environment.workflow_uid,
		.instance_id = self->environment.instance_id,
		.pod_uid = environment_get("ARGO_POD_UID"),
	};
	struct retry_policy unused; /* the stores read it again: here it is only judged */
	struct stage stage;
	int r = transient_pattern_from_environment(&self->pattern, err);

	if (r == 0)
		r = retry_policy_from_environment(&unused, err);
	if (r == 0)
		r = kube_config_load(self->role->kube, &self->config, err);
	if (r < 0)
		return r;
	if (self->config.ca_error.code)
		log_warn(self->log, "Trusting the system's certificates for the API server",
			 log_error_field(&self->config.ca_error));
	self->http = http_client_new(self->loop, &http, err);
	if (!self->http)
		return err->code;
	self->kube = kube_client_new(self->http, &self->config, self->pattern);
	if (!self->kube)
		return error_set(err, -ENOMEM, "out of memory");
	identity.namespace = kube_client_namespace(self->kube);
	self->result = task_result_new(self->kube, &identity, self->log, err);
	if (!self->result)
		return err->code;
	r = reporting_init(&self->reporting, self->loop, self->template, self->result,
			   self->mains.grace_ms, self->log, err);
	if (r == 0)
		r = recording_open(RECORDING_DIRECTORY, self->template, &self->environment,
				   self->log, &self->reporting.journal, &self->reporting.is_resumed,
				   err);
	if (r < 0)
		return r;
	self->reporting.termination_log = self->role->termination_log;
	self->reporting.standing = &self->standing;
	stage = auxiliary_stage(self);
	r = engine_attach(&self->engine, &stage, err);
	if (r < 0)
		return r;
	/* Signals are blocked: none that came before is lost. */
	r = signals_start(&self->signals, self->loop, on_signal);
	return r < 0 ? error_errno(err, r, "signalfd") : 0;
}

/* --- after main ------------------------------------------------------------------------- */

static void note(struct auxiliary *self, struct error_list *errors, const char *what,
		 const struct error *err)
{
	log_error(self->log, what, log_error_field(err));
	error_list_add(errors, err);
}

void auxiliary_note(struct auxiliary *self, const char *what, const struct error *err)
{
	note(self, &self->errors, what, err);
}

struct stage auxiliary_stage(struct auxiliary *self)
{
	return (struct stage){
		.template = self->template,
		.log = self->log,
		.store = { .loop = self->loop,
			   .http = self->http,
			   .log = self->log,
			   .secret_directory = STAGE_SECRETS,
			   .container_directory = FILES_VAR_RUN_ARGO "/ctr" },
		.root = FILES_VAR_RUN_ARGO,
		.inputs = STAGE_INPUTS,
		.main_root = STAGE_MAIN_ROOT,
		.script = STAGE_SCRIPT,
		.manifest = STAGE_MANIFEST,
		.scratch = STAGE_SCRATCH,
		.is_initless = self->environment.is_initless,
		.ledger = &self->ledger,
		.handed = &self->mains.offers.handed,
	};
}

/* Result and parameters: small, and read whole. A resource's are reported by its own container. */
static void capture(struct auxiliary *self, const struct stage *stage, struct error_list *errors)
{
	struct reporting *reporting = &self->reporting;
	struct error err = ERROR_NONE;

	if (self->environment.wants_script_output && template_has_result(self->template)) {
		buffer_reset(&reporting->script_result);
		reporting->has_script_result =
			save_result(stage, &reporting->script_result, &err) == 0;
		if (!reporting->has_script_result)
			note(self, errors, "Failed to save the result", &err);
	}
	if (save_parameters(stage, reporting->values, &err) < 0)
		note(self, errors, "Failed to save output parameters", &err);
}

static void on_settled(struct saving *saving)
{
	reporting_news((struct reporting *)((char *)saving - offsetof(struct reporting, saving)));
}

/* One round: what is stored already is not touched again. */
static void save(struct auxiliary *self, const struct stage *stage, bool has_outputs,
		 struct error_list *errors)
{
	struct saving *saving = &self->reporting.saving;
	struct error err = ERROR_NONE;

	if (has_outputs)
		capture(self, stage, errors);
	reporting_news(&self->reporting);
	saving_run(saving);
	if (saving_error(saving, SAVING_ARTIFACTS, &err) < 0)
		note(self, errors, "Failed to save output artifacts", &err);
	if (saving_error(saving, SAVING_LOGS, &err) < 0)
		note(self, errors, "Failed to save logs", &err);
}

static void report(struct auxiliary *self)
{
	struct error err = ERROR_NONE;

	if (reporting_finish(&self->reporting, &err) < 0)
		auxiliary_note(self, "Failed to report all outputs", &err);
	if (task_result_wait(self->result, TASK_RESULT_PLACEHOLDER, &err) < 0)
		auxiliary_note(self, "Failed to create the task result", &err);
	if (task_result_wait(self->result, TASK_RESULT_OUTPUTS, &err) < 0)
		auxiliary_note(self, "Failed to report outputs", &err);
	else
		reporting_done_with(&self->reporting);
}

static void save_and_report(struct auxiliary *self)
{
	bool has_outputs = self->has_main_run && self->template->type != TEMPLATE_RESOURCE;
	bool is_given_up = mains_count(&self->mains, MAIN_ALIVE) > 0;
	struct stage stage = auxiliary_stage(self);
	struct error_list found = { .count = 0 };
	struct error err = ERROR_NONE;

	reporting_begin(&self->reporting);
	if (saving_init(&self->reporting.saving, &stage, has_outputs, &err) < 0 ||
	    reporting_resume(&self->reporting, &err) < 0) {
		auxiliary_note(self, "Failed to save outputs", &err);
	} else {
		if (has_outputs)
			keys_warn(self->template, &self->environment, self->log);
		self->reporting.saving.on_settled = on_settled;
		self->reporting.saving.engine = &self->engine;
		save(self, &stage, has_outputs, &found);
		/* A wrapper may have brought the rest after the time was up. */
		if (found.count > 0 && is_given_up) {
			log_info(self->log, "Waiting for a main container that is still saving");
			mains_await_rest(&self->mains);
			found = (struct error_list){ .count = 0 };
			save(self, &stage, has_outputs, &found);
		}
	}
	error_list_add(&self->errors, &found.first);
	report(self);
}

/* --- the sequence ----------------------------------------------------------------------- */

static void on_look(struct mains *mains)
{
	progress_look(&of_mains(mains)->progress);
	plugins_look(&of_mains(mains)->plugins);
}

/* What a command ended with, of the first that failed. */
static void add_exit_code(const struct auxiliary *self, struct error *text)
{
	for (size_t i = 0; i < self->template->container_count; i++) {
		const char *container = self->template->containers[i];
		struct error sentence;
		int code;

		if (self->mains.states[i] != MAIN_ENDED ||
		    files_read_exit_code(FILES_VAR_RUN_ARGO, container, &code) < 0 || code == 0)
			continue;
		error_set(&sentence, -ECHILD, "%s exited with code %d", container, code);
		add_sentence(text, sentence.message);
		return;
	}
}

/* The most important first: wrappers that were killed, what a command ended with, the first error. */
static void write_message(struct auxiliary *self, bool has_failed)
{
	struct error text = self->lost;

	if (has_failed) {
		if (self->has_main_run)
			add_exit_code(self, &text);
		add_sentence(&text, self->errors.first.message);
		failure_report(self->role, &text);
	} else if (self->errors.count > 0) {
		error_list_terminate(&self->errors, self->role->termination_log, NULL);
	} else if (self->reporting.has_overwritten) {
		write_standing(self);
	}
}

int auxiliary_run(struct auxiliary *self, bool has_main_run)
{
	struct error err = ERROR_NONE;
	bool has_failed;

	self->has_main_run = has_main_run;
	/* The placeholder makes the controller hold the node open. It is sent while we wait. */
	task_result_want_placeholder(self->result);
	self->mains.on_look = on_look;
	progress_init(&self->progress, &self->mains.watch, self->loop, &self->environment,
		      self->result, self->log);
	if (event_loop_wait_uncancelled(self->loop, &self->mains.is_done) < 0) {
		error_set(&err, -EIO, "failed to wait for main container to complete");
		auxiliary_note(self, "Failed to wait", &err);
	}
	log_info(self->log, "Main containers completed",
		 log_int("ended", (int64_t)mains_count(&self->mains, MAIN_ENDED)),
		 log_int("lost", (int64_t)mains_count(&self->mains, MAIN_LOST)));
	progress_finish(&self->progress);
	save_and_report(self);
	has_failed = self->errors.count > 0;
	/* They end while the report is finalized. */
	plugins_ask(&self->plugins);
	task_result_finalize(self->result);
	if (task_result_wait_settled(self->result, &err) < 0 && !has_failed)
		auxiliary_note(self, "Failed to finalize the report", &err);
	write_message(self, has_failed);
	if (plugins_await(&self->plugins, self->loop, &self->mains.watch, &err) < 0) {
		auxiliary_note(self, "Failed to end artifact plugins", &err);
		if (!has_failed)
			write_message(self, false);
	}
	if (self->errors.count == 0)
		recording_remove(RECORDING_DIRECTORY, self->reporting.journal);
	return has_failed ? ROLE_FAILED : ROLE_OK;
}

void auxiliary_release(struct auxiliary *self)
{
	engine_done(&self->engine);
	progress_done(&self->progress);
	reporting_done(&self->reporting);
	task_result_free(self->result);
	kube_client_free(self->kube);
	http_client_free(self->http);
	kube_config_done(&self->config);
	transient_pattern_free(self->pattern);
	control_free(self->control);
	ledger_done(&self->ledger);
	mains_done(&self->mains);
	signals_done(&self->signals);
	template_free(self->template);
	event_loop_free(self->loop);
}

int auxiliary_set_up(struct auxiliary *self, const struct role *role, const char *name)
{
	struct error err = ERROR_NONE;
	int r;

	*self = (struct auxiliary){ .role = role, .log = &role->log };
	signals_block_all(&self->signals);
	umask(0);
	leave_record(self);
	r = set_up_waiting(self, name, &err);
	if (r == 0)
		r = set_up_reporting(self, &err);
	if (r == 0) {
		log_info(self->log, "Starting", log_string("version", version_text()),
			 log_string("containerName", self->environment.container_name),
			 log_string("podName", self->environment.pod_name),
			 log_duration("grace", self->environment.grace_s * 1000000000LL));
		return ROLE_OK;
	}
	failure_report(role, &err);
	/* Nobody will need them. */
	plugins_ask(&self->plugins);
	return r == -ENXIO ? ROLE_BAD_START : ROLE_BAD_SETUP;
}
