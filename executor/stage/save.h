/*
 * After main: its results, output parameters, output artifacts and logs, from where main (or its
 * wrapper, collect.h) left them. Paths there belong to user code: they are opened beneath their
 * volume only, whatever links lie on the way.
 *
 * What is returned is what may be reported: an artifact is in `saved` when, and only when, its
 * object is in the store.
 */
#pragma once

#include "executor/base/buffer.h"
#include "executor/base/error.h"
#include "executor/stage/stage.h"

/* Argo keeps the end of a longer result. */
#define SAVE_RESULT_BYTES_MAX 262144

/* Largest output parameter that is read; the report as a whole is limited to 1 MiB. */
#define SAVE_PARAMETER_BYTES_MAX (1024 * 1024)

/* main's standard output without one trailing newline. `result` must allow one byte more than
 * SAVE_RESULT_BYTES_MAX. */
int save_result(const struct stage *stage, struct buffer *result, struct error *err);

/* values[name] = text for each output parameter with a file (or a default); the first failure
 * ends it. */
int save_parameters(const struct stage *stage, struct json_object *values, struct error *err);

/* Uploads the output artifacts, all of them whatever fails, and appends to the array `saved` those
 * that are stored. The error joins the failures as "err1; err2; ". */
int save_artifacts(const struct stage *stage, struct json_object *saved, struct error *err);

/* The same for the kept output of each main container, if the template archives logs. */
int save_logs(const struct stage *stage, struct json_object *saved, struct error *err);
