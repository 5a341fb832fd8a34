/*
 * The `outputs` object of a WorkflowTaskResult, as a pure function of the template and of what was
 * captured. Its fields are described by Argo's API: https://argo-workflows.readthedocs.io/en/latest/
 * fields/#outputs, its required ones by the custom resource definition.
 */
#pragma once

#include "executor/base/error.h"
#include "executor/json/json.h"

#include <stddef.h>

/* etcd takes objects of 1.5 MiB, and the controller has to fit the outputs of all nodes of a
 * workflow into one: what is larger than this belongs into an artifact. */
#define OUTPUTS_BYTES_MAX (1024 * 1024)

/* Everything is borrowed. NULL means nothing of the kind. */
struct outputs_source {
	struct json_object *template_outputs; /* template.outputs */
	struct json_object *values; /* object: name of an output parameter → captured string */
	/* Arrays of whole artifacts: the template's fields and the location they are stored at. */
	struct json_object *saved_artifacts;
	struct json_object *log_artifacts;
	const char *result; /* need not be UTF-8 */
	size_t result_size;
};

/* *ret is a new object (the caller's), at least {}:
 *
 * parameters  every entry of the template with `value` where one was captured; value, default and
 *             the elements of enum as strings, whatever they were
 * artifacts   the saved ones, then the logs; required members of a location that are missing are
 *             added as ""
 * result      if there is one */
int outputs_build(const struct outputs_source *source, struct json_object **ret, struct error *err);

/* Removes the largest of `result` and the parameters' values from `outputs` until it prints to at
 * most `max` bytes beside `others`, those of another writer of the same object. 0, or -EMSGSIZE with a
 * message that names what was removed (`outputs` is good to be sent all the same), or -ENOMEM. */
int outputs_limit(struct json_object *outputs, size_t others, size_t max, struct error *err);

/* The bytes that a value is printed to; 0 or -ENOMEM. */
int outputs_size(struct json_object *value, size_t *ret);
