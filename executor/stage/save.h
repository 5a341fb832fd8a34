/*
 * After main: its results, output parameters, output artifacts and logs, from where main (or its
 * wrapper, collect.h) left them. Paths there belong to user code: they are opened beneath their
 * volume only, whatever links lie on the way.
 *
 * What is returned is what may be reported: there is something to report of an artifact when, and
 * only when, its object is in the store. saving.h arranges the whole of it.
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

/* Uploads one output artifact. *ret is what may be reported of it, the caller's; stage->store.stored, if
 * it is given, receives size, ETag and checksums. */
int save_artifact(const struct stage *stage, const struct template_artifact *artifact,
		  struct json_object **ret, struct error *err);

/* The same for the kept output of a main container; -ENOENT if it has none: it never ran. */
int save_log(const struct stage *stage, const char *container, struct json_object **ret,
	     struct error *err);

/* What the two of them return: it follows from the template alone. */
int save_describe_artifact(const struct stage *stage, const struct template_artifact *artifact,
			   struct json_object **ret, struct error *err);
int save_describe_log(const struct stage *stage, const char *container, struct json_object **ret,
		      struct error *err);

/* What processes that have died since stage->store.lost_from_s began to upload of them is aborted: of an
 * artifact or log that will not be saved. */
int save_sweep(const struct stage *stage, const struct template_artifact *artifact,
	       struct error *err);
int save_sweep_log(const struct stage *stage, const char *container, struct error *err);

/* Where that output is kept, below /var/run/argo. */
#define SAVE_LOG_PATH_MAX 128
void save_log_path(const char *container, char path[SAVE_LOG_PATH_MAX]);
