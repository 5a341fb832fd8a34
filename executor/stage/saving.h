/*
 * All output artifacts and logs of a template, a few at a time, the smallest begun first: whenever
 * the pod's time is over, as many of them as possible are stored, and none waits for a large one.
 * Sizes are those of files at the start; a directory comes last, since its size is not known before
 * it has been read.
 */
#pragma once

#include "executor/base/error.h"
#include "executor/stage/engine.h"
#include "executor/stage/stage.h"

struct saving_item {
	const struct template_artifact *artifact; /* NULL: a log */
	const char *name; /* of the artifact, or of the log's container; borrowed */
	struct json_object *stored; /* what may be reported; NULL = it is not in the store */
	struct store_stored object; /* what the store has confirmed of it */
	struct error error; /* why not; code 0 = nothing wrong with it */
	bool is_settled; /* stored, failed, or left out */
	/* Of an earlier process of this container: main handed it over to that one; it may have begun to
	 * upload it at that time (seconds since 1970, 0 = it has not). */
	bool was_handed;
	int64_t lost_from_s;
	struct saving *saving;
	struct engine_request request;
};

struct saving {
	const struct stage *stage; /* borrowed */
	struct engine *engine; /* who does the work; NULL = this process, one after the other */
	size_t left; /* not settled */
	bool is_done;
	struct saving_item *items; /* artifacts in the template's order, then logs */
	size_t count, artifact_count;
	void (*on_settled)(struct saving *saving); /* after each item; may be NULL */
};

/* Logs only if the template archives them, artifacts unless !has_artifacts. 0 or -ENOMEM. */
int saving_init(struct saving *saving, const struct stage *stage, bool has_artifacts,
		struct error *err);
void saving_done(struct saving *saving);

/* An earlier process of this container has stored it: `stored` is what may be reported, copied. 0 or
 * -ENOMEM. */
int saving_adopt(struct saving *saving, size_t i, struct json_object *stored);

/* Uploads whatever is not stored yet, all of it whatever fails: may be called again for what was
 * missing. An optional artifact that does not exist is left out, like the log of a container that
 * never ran. What is not there since it was handed over to a process that has died is an error. */
void saving_run(struct saving *saving);

enum saving_kind { SAVING_ARTIFACTS, SAVING_LOGS };

/* The failures of one kind in the template's order, as "err1; err2; ": 0 if there are none. */
int saving_error(const struct saving *saving, enum saving_kind kind, struct error *err);

/* "a, b, c": what is not settled. Cut at the buffer's end. The number of them. */
size_t saving_missing(const struct saving *saving, char *buffer, size_t size);
