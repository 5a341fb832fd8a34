/*
 * The JSON of a WorkflowTaskResult (argoproj.io/v1alpha1): what is sent, and what an answer says.
 * Only its neighbours task_result.c and result_engine.c need this.
 */
#pragma once

#include "executor/base/buffer.h"
#include "executor/report/task_result.h"

/* What an answer must never exceed to be stored, with room for the rest of the object. */
#define RESULT_BODY_BYTES_MAX (8 * 1024 * 1024)

struct result_fields {
	struct json_object *outputs; /* NULL = not to be sent */
	const char *progress; /* NULL = not to be sent */
};

/* "/apis/…/workflowtaskresults[/NAME]", percent-encoded. Caller frees; NULL = no memory. */
char *result_body_path(const char *namespace, const char *name);

/* Each replaces the contents of `out`; 0 or a negative errno. `version` may be NULL: then the patch
 * is not conditional. */
int result_body_create(const struct task_result_identity *identity,
		       const struct result_fields *fields, struct buffer *out);
int result_body_patch(const char *version, const struct result_fields *fields, struct buffer *out);
int result_body_finalize(const char *version, bool is_final, struct buffer *out);
/* What an earlier pod has reported goes, and the label becomes false: one request. */
int result_body_renew(const struct task_result_identity *identity, const char *version,
		      struct buffer *out);

/* True if applying `wanted` to `present` as a merge patch would change nothing. */
bool result_body_contains(struct json_object *present, struct json_object *wanted);

/* True if the stored object carries the label report-outputs-completed=true. */
bool result_body_is_final(struct json_object *object);

/* Whose it is, as far as that is recorded: the uid of a pod, or NULL. Lent. */
const char *result_body_pod(struct json_object *object);
