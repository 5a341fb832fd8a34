/*
 * What all states of a search share, and what both halves of a world (report_model_world.c: `wait`;
 * report_model_api.c: the API server, the connection, the clock) need.
 */
#pragma once

#include "executor/template/template.h"
#include "tests/unit/report_model_world.h"
#include "tests/unit/text_pool.h"

#define LABEL_FINAL "workflows.argoproj.io/report-outputs-completed"
#define CALL(world) ((struct kube_call *)&(world)->sent)
#define MODEL_BYTES_MAX ((size_t)1024 * 1024)

/* Of an object. */
struct facts {
	uint8_t reported;
	uint8_t other; /* what the other writer wrote last, in a field of its own */
	uint8_t other_entry; /* and in an array that is ours, too */
	bool has_old; /* what an earlier pod has reported */
	bool is_final, is_whole, has_unknown, is_known;
};

extern struct model_shared {
	enum model_fault fault;
	struct text_pool texts;
	int file; /* the journal's, of the world that is awake */
	struct world *awake;
	struct facts *facts; /* of objects, by their text */
	struct json_object **parsed; /* outputs, likewise */
	size_t facts_room, parsed_room;
	kube_callback answer; /* of the one state machine there is */
	struct template template;
	struct template_artifact artifact;
	struct error standing;
	struct log log;
	struct json_object *stored[MODEL_ITEMS];
	/* As they are when `wait` has just been started. */
	struct reporting reporting;
	struct task_result *result;
} model_all;

struct json_object *model_parse(const char *text, size_t size);
/* Numbers of the pool, and back. */
uint32_t model_keep_text(const char *text, size_t size);
uint32_t model_keep(struct json_object *value);
struct json_object *model_kept(uint32_t number);
/* Room for number `i` of a table, which is zero at first. */
void *model_make_room(void *table, size_t *room, size_t i, size_t size);

/* The resourceVersion, which is removed; -1 = there was none. */
int64_t model_take_version(struct json_object *object);
struct facts model_look(uint32_t plain);
void model_blame(struct world *world, const char *what);

/* What was stored when the report was closed is what the label may speak of. */
void world_note_closed(struct world *world);
bool world_are_all_settled(const struct world *world);
