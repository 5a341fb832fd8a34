/*
 * What `wait` and `supervisor` have in common: the container beside the main containers, which
 * waits for them, saves what they leave and reports it. SIGTERM never aborts that: the controller
 * sends one after every step, and it means "finish up".
 */
#pragma once

#include "executor/base/role.h"
#include "executor/http/transient.h"
#include "executor/process/signals.h"
#include "executor/report/task_result.h"
#include "executor/report/termination.h"
#include "executor/stage/engine.h"
#include "executor/stage/plugins.h"
#include "executor/stage/stage.h"
#include "signal/control.h"
#include "wait/mains.h"
#include "wait/progress.h"
#include "wait/reporting.h"

struct auxiliary {
	const struct role *role;
	const struct log *log;
	struct environment environment;
	struct template *template;
	struct confinement confinement;
	struct engine engine; /* the process that loads and saves, when there is something */
	struct event_loop *loop;
	struct signals signals;
	struct mains mains;
	struct ledger ledger; /* of what this process moves */
	struct control *control; /* NULL: nobody can ask by socket */
	struct progress progress;
	struct plugins plugins; /* through which outputs may be saved */
	struct http_client *http;
	struct kube_config config;
	struct kube_client *kube;
	struct transient_pattern *pattern;
	struct task_result *result;
	struct reporting reporting;
	struct error_list errors;
	/* What is no error of ours, and yet the termination message if there is none: a deadline, a
	 * wrapper that was killed. */
	struct error standing;
	struct error lost; /* the part of it about wrappers: goes before an error, too */
	/* The main containers have not been let go yet: SIGTERM, and their own end, cancel the loop. */
	bool was_asked; /* to finish up */
	bool is_before_main;
	bool has_main_run; /* or will: it has not failed before main */
};

/* As `wait` or `supervisor`: blocks signals, reads environment, template and cluster configuration, opens the channel for the
 * wrappers and the control socket. A failure has been reported; the exit status is returned then, else 0. */
int auxiliary_set_up(struct auxiliary *self, const struct role *role, const char *name);

/* Logs and collects an error; the first one becomes the termination message. */
void auxiliary_note(struct auxiliary *self, const char *what, const struct error *err);

struct stage auxiliary_stage(struct auxiliary *self);

/* Makes the placeholder, waits for the main containers, saves, reports, finalizes. The outputs are
 * left out when main never ran. Returns the exit status. */
int auxiliary_run(struct auxiliary *self, bool has_main_run);

void auxiliary_release(struct auxiliary *self);
