/*
 * The reporting of `wait` as a state machine that a search can drive: the real journal, outputs,
 * reporting (wait/reporting.h) and task result, with everything around them made of memory: the store,
 * the API server, the connection to it, the clock, the file of the journal, SIGTERM, and death.
 *
 * Between two actions a state is bytes. What a state does next depends on its key alone: counters
 * that only grow (resourceVersion, failures in a row, pauses) are in it as what they mean.
 */
#pragma once

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

/* Of what is saved: an artifact, and a log. */
#define MODEL_ITEMS 2

enum model_action {
	MODEL_MAIN_ENDS,
	MODEL_STORED, /* one for each item; likewise the next two */
	MODEL_FAILED = MODEL_STORED + MODEL_ITEMS,
	MODEL_DIES_RECORDING =
		MODEL_FAILED + MODEL_ITEMS, /* it is stored, half of the record is written */
	MODEL_ANSWERED = MODEL_DIES_RECORDING + MODEL_ITEMS,
	MODEL_REFUSED_409, /* without a reason */
	MODEL_REFUSED_500,
	MODEL_ANSWER_LOST, /* it was done */
	MODEL_LOST, /* it may arrive at any time, or never */
	MODEL_ARRIVES_LATE, /* that, or what was under way when `wait` died */
	MODEL_SIGTERM,
	MODEL_EARLY_DUE, /* timers, see wait/reporting.h */
	MODEL_CLOSE_DUE,
	MODEL_REOPEN_DUE,
	MODEL_PAUSE_ENDS,
	MODEL_DIES,
	MODEL_RESTARTS, /* another `wait` on the journal */
	MODEL_OTHER_WRITES, /* another writer of this pod: a field of its own, an entry of an array of ours */
	MODEL_ACTIONS,
};

/* What is wrong with the code on purpose. */
enum model_fault {
	MODEL_IS_RIGHT,
	MODEL_REPORTS_BEFORE_STORED,
	MODEL_IGNORES_VERSIONS,
	MODEL_FORGETS_JOURNAL,
	MODEL_REPLACES_OUTPUTS,
	MODEL_FINALIZES_EARLY,
	MODEL_BLANK_PLACEHOLDER,
	MODEL_TAKES_LOSS_FOR_SUCCESS,
	MODEL_STAYS_CLOSED,
	MODEL_REPLACES_ARRAYS,
	MODEL_INHERITS,
	MODEL_KEEPS_LABEL,
	MODEL_FAULTS,
};

/* Around all use of the rest: one search at a time. */
void model_begin(enum model_fault fault);
void model_end(void);

struct model_state {
	void *data;
	size_t size;
};
void model_state_done(struct model_state *state);

/* `wait` has just been started. */
enum model_beginning {
	MODEL_MAIN_HAS_ENDED,
	MODEL_MAIN_IS_RUNNING,
	MODEL_IS_RETRIED, /* main has ended; another pod has reported of this node before */
	MODEL_BEGINNINGS,
};
struct model_state model_start(enum model_beginning beginning);

const char *model_action_name(enum model_action action);
bool model_is_enabled(const struct model_state *state, enum model_action action);

/* The state after an enabled action, the caller's. *ret_wrong: what must never be, or NULL. */
struct model_state model_act(const struct model_state *state, enum model_action action,
			     const char **ret_wrong);

/* What a good end is missing if nothing goes wrong any more; NULL = nothing. */
const char *model_try_end(const struct model_state *state);

#define MODEL_KEY_MAX 128
/* The size of the key. */
size_t model_key(const struct model_state *state, unsigned char key[MODEL_KEY_MAX]);
