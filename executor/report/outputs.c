#include "executor/report/outputs.h"

#include "executor/base/cleanup.h"

#include <errno.h>
#include <limits.h>
#include <string.h>

static int no_memory(struct error *err)
{
	return error_set(err, -ENOMEM, "outputs: out of memory");
}

/* --- parameters ------------------------------------------------------------------------- */

/* A string from any scalar, NULL if it is none or memory is out. */
static struct json_object *as_string(struct json_object *value)
{
	_cleanup_buffer_ struct buffer text = BUFFER_INIT(INT_MAX - 1);

	if (json_scalar_text(value, &text) < 0)
		return NULL;
	return json_new_string(buffer_string(&text), text.size);
}

static int member_to_string(struct json_object *object, const char *key)
{
	struct json_object *value = json_get(object, key);

	if (!value || json_is_string(value) || json_is_object(value) || json_is_array(value))
		return 0;
	return json_set(object, key, as_string(value));
}

static int enum_to_strings(struct json_object *parameter)
{
	struct json_object *values = json_get(parameter, "enum");
	_cleanup_json_ struct json_object *strings = NULL;
	int r = 0;

	if (!json_is_array(values))
		return 0;
	strings = json_new_array();
	if (!strings)
		return -ENOMEM;
	for (size_t i = 0; r == 0 && i < json_length(values); i++)
		r = json_append(strings, as_string(json_at(values, i)));
	return r == 0 ? json_set(parameter, "enum", TAKE_PTR(strings)) : r;
}

static int add_parameter(struct json_object *parameters, struct json_object *declared,
			 struct json_object *values)
{
	_cleanup_json_ struct json_object *parameter = json_copy(declared);
	struct json_object *value = json_get(values, json_get_string(declared, "name", ""));
	int r;

	if (!parameter)
		return -ENOMEM;
	if (value) {
		r = json_set(parameter, "value", json_ref(value));
		if (r < 0)
			return r;
	}
	r = member_to_string(parameter, "value");
	if (r == 0)
		r = member_to_string(parameter, "default");
	if (r == 0)
		r = member_to_string(json_get(parameter, "valueFrom"), "default");
	if (r == 0)
		r = enum_to_strings(parameter);
	return r == 0 ? json_append(parameters, TAKE_PTR(parameter)) : r;
}

static int add_parameters(const struct outputs_source *source, struct json_object *outputs)
{
	struct json_object *declared = json_get(source->template_outputs, "parameters");
	_cleanup_json_ struct json_object *parameters = NULL;
	int r = 0;

	if (!json_is_array(declared) || json_length(declared) == 0)
		return 0;
	parameters = json_new_array();
	if (!parameters)
		return -ENOMEM;
	for (size_t i = 0; r == 0 && i < json_length(declared); i++)
		if (json_is_object(json_at(declared, i)))
			r = add_parameter(parameters, json_at(declared, i), source->values);
	return r == 0 ? json_set(outputs, "parameters", TAKE_PTR(parameters)) : r;
}

/* --- artifacts -------------------------------------------------------------------------- */

/* Members that the custom resource definition wants to see even when they are empty. */
static const struct {
	const char *type, *member;
} required[] = {
	{ "artifactory", "url" }, { "azure", "blob" }, { "azure", "container" },
	{ "azure", "endpoint" },  { "gcs", "key" },    { "git", "repo" },
	{ "hdfs", "path" },       { "http", "url" },   { "oss", "key" },
	{ "plugin", "key" },      { "raw", "data" },
};

static int add_artifacts(struct json_object *artifacts, struct json_object *list)
{
	for (size_t i = 0; i < json_length(list); i++) {
		_cleanup_json_ struct json_object *artifact = json_copy(json_at(list, i));

		if (!artifact)
			return -ENOMEM;
		for (size_t j = 0; j < sizeof(required) / sizeof(*required); j++) {
			struct json_object *location = json_get(artifact, required[j].type);

			if (!json_is_object(location) || json_get(location, required[j].member))
				continue;
			if (json_set_string(location, required[j].member, "") < 0)
				return -ENOMEM;
		}
		if (json_append(artifacts, TAKE_PTR(artifact)) < 0)
			return -ENOMEM;
	}
	return 0;
}

static int add_all_artifacts(const struct outputs_source *source, struct json_object *outputs)
{
	_cleanup_json_ struct json_object *artifacts = json_new_array();

	if (!artifacts || add_artifacts(artifacts, source->saved_artifacts) < 0 ||
	    add_artifacts(artifacts, source->log_artifacts) < 0)
		return -ENOMEM;
	if (json_length(artifacts) == 0)
		return 0;
	return json_set(outputs, "artifacts", TAKE_PTR(artifacts));
}

int outputs_build(const struct outputs_source *source, struct json_object **ret, struct error *err)
{
	_cleanup_json_ struct json_object *outputs = json_new_object();
	int r;

	if (!outputs)
		return no_memory(err);
	r = add_parameters(source, outputs);
	if (r == 0)
		r = add_all_artifacts(source, outputs);
	if (r == 0 && source->result)
		r = json_set(outputs, "result",
			     json_new_string(source->result, source->result_size));
	if (r < 0)
		return no_memory(err);
	*ret = TAKE_PTR(outputs);
	return 0;
}

/* --- the size limit --------------------------------------------------------------------- */

int outputs_size(struct json_object *value, size_t *ret)
{
	_cleanup_buffer_ struct buffer text = BUFFER_INIT(INT_MAX - 1);
	int r = json_print(value, &text, NULL);

	*ret = text.size;
	return r;
}

/* The largest thing that may go: the object that holds it and its key. */
static void find_largest(struct json_object *outputs, struct json_object **ret_holder,
			 const char **ret_key, const char **ret_name)
{
	struct json_object *parameters = json_get(outputs, "parameters");
	size_t largest = 0, size = 0;

	*ret_holder = NULL;
	if (json_string(json_get(outputs, "result"), &size)) {
		*ret_holder = outputs;
		*ret_key = "result";
		*ret_name = "result";
		largest = size;
	}
	for (size_t i = 0; i < json_length(parameters); i++) {
		struct json_object *parameter = json_at(parameters, i);

		if (!json_string(json_get(parameter, "value"), &size) ||
		    (*ret_holder && size <= largest))
			continue;
		*ret_holder = parameter;
		*ret_key = "value";
		*ret_name = json_get_string(parameter, "name", "");
		largest = size;
	}
}

int outputs_limit(struct json_object *outputs, size_t others, size_t max, struct error *err)
{
	struct json_object *holder;
	const char *key, *name;
	struct error why = ERROR_NONE;
	size_t total, size;

	if (outputs_size(outputs, &total) < 0)
		return no_memory(err);
	total += others;
	if (total <= max)
		return 0;
	error_set(&why, -EMSGSIZE, "outputs of %zu bytes", total);
	if (others > 0)
		error_append(&why, " (another writer's are %zu of them)", others);
	error_append(
		&why,
		" exceed the limit of %zu; use artifacts for large values; not reported:", max);
	while (total > max) {
		find_largest(outputs, &holder, &key, &name);
		if (!holder) {
			error_append(&why, " (what is left is still too large)");
			break;
		}
		if (outputs_size(json_get(holder, key), &size) < 0)
			return no_memory(err);
		error_append(&why,
			     holder == outputs ? " %s (%zu bytes)" : " parameter %s (%zu bytes)",
			     name, size);
		json_remove(holder, key);
		size += strlen(key) + strlen("\"\":,");
		total -= size < total ? size : total;
	}
	if (err)
		*err = why;
	return -EMSGSIZE;
}
