/*
 * The staging process, seen from its role: a child that loads and saves on the role's behalf. It is
 * started when there is something to do for the first time (engine_process.h), gets what is to be done
 * as messages (engine_message.h), asks for files with credentials (engine_asks.h), and tells how it
 * goes.
 *
 * A child that dies, or goes on no more (engine_pulse.h), is replaced, and told again what is not settled, with half the concurrency of the
 * one before. What was under way at ENGINE_DEATHS_MAX deaths fails with the true reason. Outputs that
 * the store has confirmed are not sent again, inputs that are in their places are not loaded again. Of
 * an output that is not saved in the end, what a dead child has begun in the store is aborted.
 */
#pragma once

#include "executor/event/loop.h"
#include "executor/http/counts.h"
#include "executor/stage/engine_message.h"
#include "executor/stage/engine_process.h"
#include "executor/stage/engine_pulse.h"
#include "executor/stage/stage.h"

/* So many outputs are on their way at the same time. Loads begin at once, all of them. */
#define ENGINE_SAVES 4

/* The first one and three more. */
#define ENGINE_DEATHS_MAX 4

struct engine_request {
	/* The owner's: kind (LOAD, SAVE), plugin, index, is_log, lost_from_s if a role before this one
	 * has begun it; handed may be NULL. */
	struct engine_order order;
	const struct handed_item *handed;
	void (*on_done)(struct engine_request *request); /* may be NULL */
	/* Then, the owner's to free: what may be reported, what is in the store; or why not. */
	bool is_done;
	struct json_object *stored;
	struct store_stored object;
	struct error error;
	/* The engine's. */
	struct engine_request *next;
	bool is_sent;
	bool is_sweeping; /* it has failed, and is done when the store is clean */
	unsigned deaths;
	int64_t begun_s; /* when it was sent for the first time; seconds since 1970 */
};

struct engine {
	struct engine_process process;
	struct engine_pulse pulse;
	struct event_source orders, asks;
	const struct log *log;
	struct event_loop *loop; /* NULL = not attached */
	struct ledger *ledger;
	struct json_object *setup; /* the first message */
	const struct handed *handed; /* NULL = nothing ever is */
	uint64_t placed; /* the last of them that this child may read (engine_places.h) */
	const char *secrets; /* the directory of the pod's secrets */
	bool is_set_up; /* this child has had its first message */
	bool is_pumping, is_cancelling;
	unsigned deaths;
	char death[ENGINE_PROCESS_DEATH_MAX]; /* how the last one ended */
	int64_t last_id;
	struct engine_request *requests; /* in their order */
	const struct template *template;
	enum ledger_state inputs[LEDGER_ENTRIES_MAX]; /* of the template's, how they are doing */
	/* What earlier children have moved and asked for, and what this one says. */
	uint64_t base[2][LEDGER_DIRECTION_COUNT], told[2][LEDGER_DIRECTION_COUNT];
	struct http_counts base_counts, counts;
	bool is_confined; /* a child has said how: */
	struct confinement confinement;
};

/* What a child will have to know; nothing is started. stage->ledger hears of everything; all of it is
 * borrowed. Zeroed memory is an engine that was not attached. 0 or -ENOMEM. */
int engine_attach(struct engine *engine, const struct stage *stage, struct error *err);

/* Starts the child ahead of the first request: it gives up what it does not need while its role is busy
 * with something else. What goes wrong is left to the first request, which starts it again. */
void engine_start(struct engine *engine);

/* Begins one request, at once or when its turn comes; borrowed until it is done, which it may be on
 * return. */
void engine_submit(struct engine *engine, struct engine_request *request);

/* load_inputs() (load.h) in the child, for each of `plugins` side by side (NULL in it: all but
 * plugins'). The first failure cancels the rest; so does a cancelled loop: -ECANCELED.
 * *ret_failed is the index of the one that failed. */
int engine_load(struct engine *engine, const char *const *plugins, size_t count, size_t *ret_failed,
		struct error *err);

/* What the requests to stores came to so far. */
void engine_count(const struct engine *engine, struct http_counts *ret);

/* Ends the child. Harmless for an engine that was not attached. */
void engine_done(struct engine *engine);
