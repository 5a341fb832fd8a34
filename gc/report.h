/* Storing verdicts in the status of their task, as far as there is room. */
#pragma once

#include "gc/api.h"
#include "gc/task.h"

/*
 * Stores the verdicts that have not been stored yet. They stand in the object that names the artifacts, and
 * objects have a limit, which is why an API server that is near to it forgets by itself who has set which
 * field (metadata.managedFields). What it refuses as too large all the same is tried again with failures in
 * a few words, then in smaller portions. What is left then is left out, with a record for each in the log;
 * gc_report_left_out() tells.
 */
int gc_report(struct gc_api *api, struct gc_task *task, struct error *err);

/* 0 when nothing was left out, else -E2BIG: how many, which, and why. */
int gc_report_left_out(const struct gc_task *task, struct error *err);
