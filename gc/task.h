/*
 * A WorkflowArtifactGCTask (argoproj.io/v1alpha1, Argo 4.1): the artifacts to delete, by the node that
 * has stored them, and what has become of each. Of artifacts that are not worked on only names are kept;
 * the rest stays in the text of the API server's answer, which must live as long as the task.
 */
#pragma once

#include "executor/base/buffer.h"
#include "executor/base/error.h"
#include "executor/json/span.h"

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

enum gc_verdict {
	GC_UNDECIDED,
	GC_RECORDED, /* the task says so already: success */
	GC_DELETED,
	GC_ALREADY_GONE, /* success: nothing lay there */
	GC_NEVER_STORED, /* success: neither location nor key were recorded */
	GC_NOT_CONFIGURED, /* a key, but no repository that it is a key of */
	GC_UNSUPPORTED, /* its kind of store cannot delete */
	GC_FAILED,
	GC_VERDICTS,
};

/* "deleted", "already gone", …; static storage. */
const char *gc_verdict_name(enum gc_verdict verdict);
bool gc_verdict_is_success(enum gc_verdict verdict);

struct gc_artifact {
	char *name;
	struct json_span json;
	size_t node;
	enum gc_verdict verdict;
	bool is_reported; /* or nothing can be done about it: is_left_out */
	bool is_left_out;
	bool had_failed; /* as the task says: what it says then must go */
	char *failure; /* text of the result; NULL for a success */
	/* Where it lies, once it has been judged: its place, and its key there. */
	size_t place;
	char *key;
	bool is_bare; /* it is a key of its node's repository */
};

struct gc_node {
	char *id;
	struct json_span archive_location;
	size_t first, count; /* of the task's artifacts */
	size_t undecided; /* those without a verdict */
};

/* Artifacts whose locations differ in nothing but their keys are deleted together. */
struct gc_place {
	char *text; /* what they have in common */
	struct json_object *artifact; /* one of them, as a store wants it */
	size_t count;
};

struct gc_task {
	char *name;
	struct gc_node *nodes;
	size_t node_count;
	struct gc_artifact *artifacts;
	size_t artifact_count;
	struct gc_place *places;
	size_t place_count;
	size_t failures; /* whose texts are kept: those of many are short */
	size_t counts[GC_VERDICTS];
	/* gc_report()'s: what was done to make room, and verdicts for which there was none, with the first
	 * refusal. */
	bool is_full;
	size_t portion; /* results with one request; 0 = GC_RESULTS_MAX */
	size_t left_out;
	struct error refusal;
	/* A verdict was given; may be NULL. */
	void (*on_verdict)(struct gc_task *task, const struct gc_artifact *artifact);
	void *context;
};

/* Reads one task and what its status says. */
int gc_task_parse(struct json_span json, struct gc_task *ret, struct error *err);
void gc_task_done(struct gc_task *task);

/* Gives the verdicts that need no store (never stored, not configured, unsupported, not readable) and
 * finds the places of the others. */
int gc_task_judge(struct gc_task *task, struct error *err);

/* The artifact as a store wants it; the caller frees it. */
int gc_task_relocate(const struct gc_task *task, const struct gc_artifact *artifact,
		     struct json_object **ret, struct error *err);

/* `failure` is the reason for a verdict that is none of success. */
void gc_task_decide(struct gc_task *task, struct gc_artifact *artifact, enum gc_verdict verdict,
		    const char *failure);

/* Cuts the texts of failures to a few words, those to come too; what was reported in full is to be
 * reported again. False when none was longer. */
bool gc_task_shorten(struct gc_task *task);
