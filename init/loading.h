/* What the init containers of a pod have in common: they load inputs, and SIGTERM ends that at once. */
#pragma once

#include "executor/base/role.h"
#include "executor/event/loop.h"
#include "executor/http/http.h"
#include "executor/process/signals.h"
#include "executor/stage/engine.h"
#include "executor/stage/stage.h"
#include "executor/template/environment.h"
#include "executor/template/template.h"

struct loading {
	const struct role *role;
	struct environment environment;
	struct template *template;
	struct engine engine; /* loads, where no plugin does */
	struct event_loop *loop;
	struct http_client *http;
	struct transfer_budget *budget;
	struct store_cache *cache;
	struct signals signals;
	/* Each signal, also those that then cancel the loop; may be NULL. */
	void (*on_signal)(struct loading *loading, const struct signalfd_siginfo *info);
	int stopped_by; /* the signal that cancelled the loop; 0 = none */
};

/* Blocks all signals, then reads environment and template. A failure has been reported; the exit
 * status is returned then, else 0. */
int loading_set_up(struct loading *loading, const struct role *role);
void loading_release(struct loading *loading);

/* True for a signal that cancels the loop. */
bool loading_is_stop(int signo);

struct stage loading_stage(struct loading *loading);

/* Starts the staging process, if there are inputs for it: its own start passes while its role does the
 * rest. Before loading_inputs() without stage->plugin. */
int loading_begin(struct loading *loading, struct stage *stage, struct error *err);

/* load_inputs(), in the staging process or, with stage->plugin, here. */
int loading_inputs(struct loading *loading, struct stage *stage, struct error *err);

/* A stop that came while nothing was waited for still counts: 0, or -ECANCELED with err filled. */
int loading_check(struct loading *loading, struct error *err);

/* Reports why it ended early; returns the exit status. */
int loading_fail(const struct loading *loading, struct error *err);
