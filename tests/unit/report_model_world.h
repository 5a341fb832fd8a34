/*
 * One state of report_model.h, and what happens to it. Texts are numbers of a pool that all states
 * share; -1 as a version is none.
 */
#pragma once

#include "executor/report/journal.h"
#include "executor/report/result_engine.h"
#include "tests/unit/report_model.h"
#include "wait/reporting.h"

enum phase { PHASE_MAIN, PHASE_SAVING, PHASE_REPORTING, PHASE_FINALIZING, PHASE_DONE, PHASE_DEAD };

struct world_request {
	bool is_there, is_post;
	uint32_t text, plain; /* the body; without its version */
	int64_t version;
	unsigned number; /* in the order of sending */
	/* What has to be reported for the label to become true by it, and whether that is all. */
	uint8_t needed;
	bool is_all;
};

struct world {
	/* The memory of `wait`. */
	enum phase phase;
	struct reporting reporting;
	struct task_result result;
	struct saving_item items[MODEL_ITEMS];
	uint32_t outputs, stored; /* result.outputs, result.stored; 0 = none */
	int64_t known_version, reopening_version; /* result.version and so on */
	bool is_closed; /* as noted in `closed` */

	/* The file; what it says to one who reads it. */
	uint32_t journal, journal_key;

	/* The store, the API server, the connection to it. Sets of items are bits. */
	uint8_t in_store;
	uint32_t object, plain; /* 0 = none; without its version */
	int version;
	struct world_request sent, late;
	unsigned requests, newest; /* sent; that has changed the object */

	/* What has happened so far. */
	uint8_t confirmed; /* `wait` has recorded it as stored */
	uint8_t closed; /* what was, when the report was closed */
	uint8_t other; /* what the other writer wrote last */
	const char *wrong; /* the first thing */
};

/* Nothing has happened. The caller's. */
struct world *world_new(void);

static inline bool world_is_alive(const struct world *world)
{
	return world->phase < PHASE_DONE;
}
static inline bool world_is_armed(const struct event_timer *timer)
{
	return timer->source.slot;
}

/* Between world_wake() and world_rest() a world can act; only one at a time. */
void world_wake(struct world *world);
void world_rest(struct world *world);

void world_start(struct world *world, bool has_main_ended);
void world_end_main(struct world *world);
void world_settle(struct world *world, unsigned item, bool is_stored);
void world_die(struct world *world);
void world_die_recording(struct world *world, unsigned item);
void world_answer(struct world *world, enum model_action how);
void world_arrive_late(struct world *world);
void world_fire(struct world *world, struct event_timer *timer);
void world_other_writes(struct world *world);
void world_be_retried(struct world *world);
/* What `wait` does now that it need not wait any more. */
void world_go_on(struct world *world);

/* What nothing but a loss of the object could make do anything. */
bool world_is_void(const struct world *world, const struct world_request *request);

/* All that matters of the object, whoever wrote what last. */
uint32_t world_object_key(const struct world *world);

/* What must not be at the end; NULL = all is well. */
const char *world_judge_end(const struct world *world);
