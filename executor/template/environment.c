#include "executor/template/environment.h"

#include "executor/base/clock.h"
#include "executor/base/text.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

const char *environment_get(const char *name)
{
	const char *value = getenv(name);

	return value ? value : "";
}

bool environment_is_true(const char *name)
{
	return strcmp(environment_get(name), "true") == 0;
}

void environment_load_wrapper(struct environment *environment)
{
	int64_t grace;
	int r;

	*environment = (struct environment){
		.pod_name = environment_get("ARGO_POD_NAME"),
		.workflow_name = environment_get("ARGO_WORKFLOW_NAME"),
		.workflow_uid = environment_get("ARGO_WORKFLOW_UID"),
		.instance_id = environment_get("ARGO_INSTANCE_ID"),
		.node_id = environment_get("ARGO_NODE_ID"),
		.container_name = environment_get("ARGO_CONTAINER_NAME"),
		.wants_script_output = environment_is_true("ARGO_INCLUDE_SCRIPT_OUTPUT"),
		.is_initless = environment_is_true("ARGO_INITLESS_POD"),
		.grace_s = ENVIRONMENT_GRACE_DEFAULT_S,
		.progress_file = "",
	};
	r = text_parse_int64(environment_get("ARGO_TERMINATION_GRACE_PERIOD_SECONDS"), &grace);
	if (r == 0 && grace > 0)
		environment->grace_s = grace < ENVIRONMENT_GRACE_MAX_S ? grace :
									 ENVIRONMENT_GRACE_MAX_S;
}

static int load_deadline(struct environment *environment, struct error *err)
{
	const char *value = environment_get("ARGO_DEADLINE");

	if (!*value)
		return 0;
	if (clock_parse_rfc3339(value, &environment->deadline_s) < 0)
		return error_set(err, -EINVAL, "ARGO_DEADLINE \"%.100s\" is not an RFC 3339 time",
				 value);
	environment->has_deadline = environment->deadline_s != CLOCK_ZERO_TIME_S;
	return 0;
}

/* Unreadable durations count as zero, and zero switches progress off: so does Argo. */
static void load_progress(struct environment *environment)
{
	int64_t patch_ns = 0, file_ns = 0;

	if (clock_parse_duration(environment_get("ARGO_PROGRESS_PATCH_TICK_DURATION"), &patch_ns) <
		    0 ||
	    clock_parse_duration(environment_get("ARGO_PROGRESS_FILE_TICK_DURATION"), &file_ns) <
		    0 ||
	    patch_ns <= 0 || file_ns <= 0)
		return;
	environment->progress_file = environment_get("ARGO_PROGRESS_FILE");
	environment->progress_patch_ms = patch_ns / 1000000 > 0 ? patch_ns / 1000000 : 1;
}

int environment_load(struct environment *environment, struct error *err)
{
	if (!getenv("ARGO_POD_NAME"))
		return error_set(err, -ENXIO,
				 "environment variable ARGO_POD_NAME is not set: this command is "
				 "meant to be run by the workflow controller");
	environment_load_wrapper(environment);
	load_progress(environment);
	return load_deadline(environment, err);
}

bool environment_next_name(const char **cursor, char name[ENVIRONMENT_NAME_MAX])
{
	while (**cursor) {
		const char *start = *cursor + strspn(*cursor, " \t\r\n");
		const char *end = strchrnul(*cursor, ',');

		*cursor = *end ? end + 1 : end;
		while (end > start && strchr(" \t\r\n", end[-1]))
			end--;
		if (end <= start)
			continue;
		snprintf(name, ENVIRONMENT_NAME_MAX, "%.*s", (int)(end - start), start);
		return true;
	}
	return false;
}
