/*
 * The sidecars that run artifact plugins (Argo 4.0): they ignore the SIGTERM that everybody gets at
 * the end of a step, because outputs are saved through them, and end when we say so.
 */
#pragma once

#include "executor/base/log.h"
#include "executor/event/watch.h"
#include "executor/template/environment.h"

#include <stdbool.h>
#include <stddef.h>

/* A sidecar that SIGKILL was asked for has this long to write its exit code. */
#define PLUGINS_AFTER_KILL_MS 10000

struct plugins {
	const struct log *log;
	const char *root; /* /var/run/argo */
	int64_t grace_ms;
	const char *names; /* ARGO_ARTIFACT_PLUGIN_NAMES: containers, separated by commas */
	bool is_done; /* all have ended */
	bool is_given_up;
	struct event_timer kill, give_up;
};

void plugins_init(struct plugins *plugins, const struct environment *environment, const char *root,
		  const struct log *log);

/* Asks all of them to end, by their signal files: the later they start, the sooner they end. */
void plugins_ask(struct plugins *plugins);

/* To be called when something was written in a directory of `watch`. */
void plugins_look(struct plugins *plugins);

/* Waits for the end of those that were asked: SIGKILL after the grace period, and an error when one
 * has not ended by then either. Adds their directories to `watch`, whose owner calls plugins_look(). */
int plugins_await(struct plugins *plugins, struct event_loop *loop, struct event_watch *watch,
		  struct error *err);
