#include "gc/sweep.h"

#include "executor/base/cleanup.h"
#include "executor/base/clock.h"
#include "executor/event/fibers.h"
#include "executor/template/location.h"
#include "gc/report.h"

#include <errno.h>
#include <stddef.h>
#include <stdlib.h>
#include <string.h>

/* Places side by side, and artifacts of a store that takes them one by one. */
#define PLACES_WIDTH 4
#define SINGLES_WIDTH 4

struct sweep {
	struct gc_api *api;
	const struct store_context *stores;
	struct gc_task *task;
	struct event_timer age; /* of the oldest verdict that is not stored */
	bool is_aging;
	struct event_timer pause; /* between two requests */
	bool is_pausing;
	bool is_deleted; /* all of it: nothing more will come */
	bool may_report; /* worth a look */
	bool is_due; /* a node is done, or a verdict old */
};

/* --- Deleting --------------------------------------------------------------------------------- */

static void decide(struct sweep *sweep, struct gc_artifact *artifact, bool was_there,
		   const struct error *err)
{
	struct gc_task *task = sweep->task;

	/* Whoever was asked to stop in the middle of its attempts has not failed. */
	if (err && event_loop_is_cancelled(sweep->stores->loop))
		return;
	gc_task_decide(task, artifact,
		       err       ? GC_FAILED :
		       was_there ? GC_DELETED :
				   GC_ALREADY_GONE,
		       err ? err->message : NULL);
	if (!sweep->is_aging)
		event_timer_set(&sweep->age, GC_REPORT_AGE_MS);
	sweep->is_aging = true;
	if (task->nodes[artifact->node].undecided == 0)
		sweep->is_due = sweep->may_report = true;
}

/* The artifacts of one place. */
struct gathering {
	struct sweep *sweep;
	struct gc_artifact **artifacts;
	const char **keys;
	size_t count;
};

static void gathering_done(struct gathering *gathering)
{
	free(gathering->artifacts);
	free(gathering->keys);
}

static int gather(struct gathering *gathering, size_t place, struct error *err)
{
	struct gc_task *task = gathering->sweep->task;
	size_t max = task->places[place].count;

	gathering->artifacts = calloc(max, sizeof(struct gc_artifact *));
	gathering->keys = calloc(max, sizeof(char *));
	if (!gathering->artifacts || !gathering->keys)
		return error_set(err, -ENOMEM, "out of memory");
	for (size_t i = 0; i < task->artifact_count && gathering->count < max; i++) {
		struct gc_artifact *artifact = &task->artifacts[i];

		if (artifact->verdict != GC_UNDECIDED || artifact->place != place)
			continue;
		gathering->keys[gathering->count] = artifact->key;
		gathering->artifacts[gathering->count++] = artifact;
	}
	return 0;
}

static void on_removed(void *context, size_t i, bool was_there, const struct error *err)
{
	struct gathering *gathering = context;

	decide(gathering->sweep, gathering->artifacts[i], was_there, err);
}

static int open_store(struct sweep *sweep, struct json_object *artifact, struct store **ret,
		      struct error *err)
{
	struct store_context context = *sweep->stores;

	context.artifact = artifact;
	return store_find(location_type(artifact))
		->open(&context, location_get(artifact), ret, err);
}

static int remove_one(struct sweep *sweep, const struct gc_artifact *artifact, struct error *err)
{
	struct json_object *json = NULL;
	struct store *store;
	int r = gc_task_relocate(sweep->task, artifact, &json, err);

	if (r == 0)
		r = open_store(sweep, json, &store, err);
	if (r == 0) {
		r = store->operations->remove(store, "", err);
		store->operations->close(store);
	}
	json_free(json);
	return r;
}

static int remove_single(void *context, size_t i, struct error *err)
{
	struct gathering *gathering = context;
	struct error cause = ERROR_NONE;
	int r = remove_one(gathering->sweep, gathering->artifacts[i], &cause);

	if (r == -ECANCELED || r == -ENOMEM) {
		*err = cause;
		return r;
	}
	decide(gathering->sweep, gathering->artifacts[i], r != -ENOENT,
	       r < 0 && r != -ENOENT ? &cause : NULL);
	return 0;
}

static int remove_together(struct sweep *sweep, struct gathering *gathering, size_t place,
			   struct error *err)
{
	const struct store_removal removal = {
		.keys = gathering->keys,
		.count = gathering->count,
		.done = on_removed,
		.context = gathering,
	};
	struct error cause = ERROR_NONE;
	struct store *store;
	int r = open_store(sweep, sweep->task->places[place].artifact, &store, &cause);

	if (r == 0) {
		r = store->operations->remove_all(store, &removal, err);
		store->operations->close(store);
		return r;
	}
	for (size_t i = 0; i < gathering->count; i++)
		decide(sweep, gathering->artifacts[i], false, &cause);
	return 0;
}

static int clear_place(void *context, size_t place, struct error *err)
{
	_cleanup_(gathering_done) struct gathering gathering = { .sweep = context };
	struct sweep *sweep = context;
	const char *type = location_type(sweep->task->places[place].artifact);
	int r = gather(&gathering, place, err);

	if (r < 0)
		return r;
	if (store_find(type)->remove_all)
		return remove_together(sweep, &gathering, place, err);
	return fibers_run(sweep->stores->loop, gathering.count, SINGLES_WIDTH, remove_single,
			  &gathering, err);
}

/* --- Reporting -------------------------------------------------------------------------------- */

static void on_age(struct event_timer *timer)
{
	struct sweep *sweep = (struct sweep *)((char *)timer - offsetof(struct sweep, age));

	sweep->is_due = sweep->may_report = true;
}

/* Nodes that are done meanwhile share the next request. */
static void on_pause_end(struct event_timer *timer)
{
	struct sweep *sweep = (struct sweep *)((char *)timer - offsetof(struct sweep, pause));

	sweep->is_pausing = false;
	sweep->may_report = true;
}

/* Until all is deleted; what comes last is stored afterwards. */
static int report_now_and_then(struct sweep *sweep, struct error *err)
{
	int64_t began_ms, took_ms;
	int r = 0;

	while (r == 0 && !sweep->is_deleted) {
		sweep->may_report = false;
		if (!sweep->is_due || sweep->is_pausing) {
			r = event_loop_wait(sweep->stores->loop, &sweep->may_report);
			continue;
		}
		sweep->is_due = sweep->is_aging = false;
		event_timer_clear(&sweep->age);
		began_ms = clock_now_ms();
		r = gc_report(sweep->api, sweep->task, err);
		if (r < 0)
			return r;
		took_ms = clock_now_ms() - began_ms;
		sweep->is_pausing = true;
		event_timer_set(&sweep->pause, took_ms * GC_REPORT_SHARE > GC_REPORT_PAUSE_MS ?
						       took_ms * GC_REPORT_SHARE :
						       GC_REPORT_PAUSE_MS);
	}
	if (r == -ECANCELED)
		return event_loop_cancelled_error(err);
	return r < 0 ? error_errno(err, r, "wait for results") : 0;
}

/* --- Both ------------------------------------------------------------------------------------- */

static int work(void *context, size_t i, struct error *err)
{
	struct sweep *sweep = context;
	int r;

	if (i == 0)
		return report_now_and_then(sweep, err);
	r = fibers_run(sweep->stores->loop, sweep->task->place_count, PLACES_WIDTH, clear_place,
		       sweep, err);
	sweep->is_deleted = sweep->may_report = true;
	return r;
}

int gc_sweep(struct gc_api *api, const struct store_context *stores, struct gc_task *task,
	     struct error *err)
{
	struct sweep sweep = { .api = api, .stores = stores, .task = task };
	int r = gc_task_judge(task, err);

	if (r < 0)
		return r;
	r = event_timer_init(&sweep.age, stores->loop, on_age);
	if (r == 0)
		r = event_timer_init(&sweep.pause, stores->loop, on_pause_end);
	if (r < 0)
		error_errno(err, r, "timer");
	if (r == 0 && task->place_count > 0)
		r = fibers_run(stores->loop, 2, 2, work, &sweep, err);
	event_timer_done(&sweep.age);
	event_timer_done(&sweep.pause);
	return r < 0 ? r : gc_report(api, task, err);
}
