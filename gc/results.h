/* What a task's status says of its artifacts, as the body of a merge patch (RFC 7386). */
#pragma once

#include "gc/task.h"

/* So many results are stored with one request, and as many as begin before so many bytes: an API server
 * reads 3 MiB. */
#define GC_RESULTS_MAX 4000
#define GC_RESULTS_BYTES (2 * 1024 * 1024)

/* The status with verdicts that have not been reported, `max` (up to GC_RESULTS_MAX) at most; their
 * numbers go to `reported`. Returns how many, 0 if there are none. */
int gc_results_print(const struct gc_task *task, size_t max, struct buffer *out,
		     size_t reported[GC_RESULTS_MAX], struct error *err);
