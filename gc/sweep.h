/* Deleting what one task names, and storing the results meanwhile. */
#pragma once

#include "executor/artifact/store.h"
#include "gc/api.h"
#include "gc/task.h"

/* Results are stored when a node is done, with pauses between that are no shorter than this, and so many
 * times as long as the API server took; of a node that takes long, when the first of them is so old. */
#define GC_REPORT_PAUSE_MS 500
#define GC_REPORT_SHARE 4
#define GC_REPORT_AGE_MS 2000

/*
 * 0 when every artifact of the task has a verdict and every verdict is stored, or left out by
 * gc_report(). -ECANCELED when the loop was cancelled: gc_report() then stores what is known. Any other
 * failure is one of the API.
 */
int gc_sweep(struct gc_api *api, const struct store_context *stores, struct gc_task *task,
	     struct error *err);
