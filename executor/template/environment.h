/*
 * What the controller tells a container through its environment (Argo 3.6 to 4.1). Read once at
 * start; strings point into the environment.
 */
#pragma once

#include "executor/base/error.h"

#include <stdbool.h>
#include <stdint.h>

/* What a kubelet grants when the pod says nothing. */
#define ENVIRONMENT_GRACE_DEFAULT_S 30

/* A hundred years: a longer grace period counts as that, so that nanoseconds of it fit in 64 bits. */
#define ENVIRONMENT_GRACE_MAX_S (100LL * 365 * 24 * 3600)

struct environment {
	const char *pod_name; /* ARGO_POD_NAME */
	const char *workflow_name, *workflow_uid, *instance_id; /* "" if unset */
	const char *node_id, *container_name; /* "" if unset */
	bool wants_script_output; /* ARGO_INCLUDE_SCRIPT_OUTPUT */
	bool is_initless; /* ARGO_INITLESS_POD (4.1) */
	bool has_deadline;
	int64_t deadline_s; /* ARGO_DEADLINE, seconds since 1970 */
	int64_t grace_s; /* ARGO_TERMINATION_GRACE_PERIOD_SECONDS, or the default */
	const char *progress_file; /* "" = progress is off */
	int64_t progress_patch_ms;
};

/* For the roles of executor containers. -ENXIO when ARGO_POD_NAME is missing (not run by the
 * controller), -EINVAL for a value that cannot be read; the message names the variable. */
int environment_load(struct environment *environment, struct error *err);

/* The part that wrappers have (no pod name, nothing mandatory). */
void environment_load_wrapper(struct environment *environment);

/* getenv(), with "" for unset. */
const char *environment_get(const char *name);

/* Room for a name in a list of names. */
#define ENVIRONMENT_NAME_MAX 256

/* Takes the next name off a comma-separated list: no blanks around it, not empty, a longer one cut.
 * *cursor moves on; false at the end. */
bool environment_next_name(const char **cursor, char name[ENVIRONMENT_NAME_MAX]);

/* True iff the variable is exactly "true". */
bool environment_is_true(const char *name);
