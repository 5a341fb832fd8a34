#include "executor/template/template_check.h"

#include "executor/base/path.h"
#include "executor/base/text.h"
#include "executor/template/location.h"

#include <errno.h>
#include <string.h>

#define FIELD_MAX 256

enum kind { STRING, OBJECT, ARRAY, BOOLEAN, NUMBER };

struct rule {
	const char *field;
	enum kind kind;
	bool is_required;
};

static bool has_kind(struct json_object *value, enum kind kind)
{
	switch (kind) {
	case STRING:
		return json_is_string(value);
	case OBJECT:
		return json_is_object(value);
	case ARRAY:
		return json_is_array(value);
	case NUMBER:
		return json_is_number(value);
	case BOOLEAN:
		break;
	}
	return strcmp(json_kind_name(value), "boolean") == 0;
}

static int check_fields(struct json_object *object, const char *where, const struct rule *rules,
			struct error *err)
{
	static const char *const names[] = { "string", "object", "array", "boolean", "number" };

	if (!json_is_object(object))
		return error_set(err, -EINVAL, "field %s: expected an object, found %s", where,
				 json_kind_name(object));
	for (; rules->field; rules++) {
		struct json_object *value = json_get(object, rules->field);

		if (!value && rules->is_required)
			return error_set(err, -EINVAL, "field %s.%s is missing", where,
					 rules->field);
		if (value && !has_kind(value, rules->kind))
			return error_set(err, -EINVAL, "field %s.%s: expected %s, found %s", where,
					 rules->field, names[rules->kind], json_kind_name(value));
	}
	return 0;
}

static const struct rule artifact_rules[] = {
	{ "name", STRING, true },         { "path", STRING, false },
	{ "mode", NUMBER, false },        { "recurseMode", BOOLEAN, false },
	{ "optional", BOOLEAN, false },   { "archive", OBJECT, false },
	{ "s3", OBJECT, false },          { "gcs", OBJECT, false },
	{ "oss", OBJECT, false },         { "azure", OBJECT, false },
	{ "hdfs", OBJECT, false },        { "http", OBJECT, false },
	{ "artifactory", OBJECT, false }, { "git", OBJECT, false },
	{ "raw", OBJECT, false },         { "plugin", OBJECT, false },
	{ NULL, OBJECT, false },
};

/* What decides where an object is: a wrong kind must not pass for a field that is not there. */
static const struct rule s3_rules[] = {
	{ "endpoint", STRING, false },
	{ "bucket", STRING, false },
	{ "key", STRING, false },
	{ NULL, OBJECT, false },
};

static const struct rule archive_rules[] = {
	{ "none", OBJECT, false },
	{ "tar", OBJECT, false },
	{ "zip", OBJECT, false },
	{ NULL, OBJECT, false },
};

static const struct rule tar_rules[] = {
	{ "compressionLevel", NUMBER, false },
	{ NULL, OBJECT, false },
};

/* A name becomes a file name below directories of ours. */
static int check_name(const char *name, const char *where, struct error *err)
{
	if (!*name || strchr(name, '/') || strcmp(name, ".") == 0 || strcmp(name, "..") == 0 ||
	    strlen(name) > 255)
		return error_set(err, -EINVAL, "field %s.name: \"%.100s\" is not a usable name",
				 where, name);
	return 0;
}

int template_check_path(struct json_object *artifact, struct error *err)
{
	const char *name = json_get_string(artifact, "name", "");
	const char *path = json_get_string(artifact, "path", "");
	_cleanup_free_ char *safe = NULL, *clean = NULL, *clean_safe = NULL;
	const char *dots = strstr(path, "/../");
	size_t size = strlen(path);

	if (!*path)
		return error_set(err, -EINVAL, "Artifact '%s' did not specify a path", name);
	if (!dots && size >= 3 && strcmp(path + size - 3, "/..") == 0)
		dots = path + size - 3;
	if (!dots)
		return 0;
	safe = strndup(path, (size_t)(dots - path));
	clean = path_clean(path);
	clean_safe = safe ? path_clean(safe) : NULL;
	if (!clean || !clean_safe)
		return error_set(err, -ENOMEM, "out of memory");
	if (*safe && (strcmp(clean, clean_safe) == 0 || !path_is_at_or_below(clean, clean_safe)))
		return error_set(err, -EINVAL,
				 "Artifact '%s' attempted to use a path containing '..'. Directory "
				 "traversal is not permitted",
				 name);
	return 0;
}

/* Permission bits, as a number; 420 is 0644. */
static int check_mode(struct json_object *artifact, const char *where, struct error *err)
{
	int64_t mode = json_get(artifact, "mode") ? json_get_int(artifact, "mode", -1) : 0;

	if (mode < 0 || mode > 07777)
		return error_set(err, -EINVAL, "field %s.mode: not a file mode from 0 to 4095",
				 where);
	return 0;
}

/* In which of the two it lies, or is to be stored, nobody can know. */
static int check_place(struct json_object *holder, const char *where, struct error *err)
{
	const char *other = location_other_type(holder);

	if (!other)
		return 0;
	return error_set(err, -EINVAL, "field %s: two locations, %s and %s; there can be one",
			 where, location_type(holder), other);
}

static int check_artifact(struct json_object *artifact, const char *where, struct error *err)
{
	struct json_object *archive;
	char inner[FIELD_MAX + 16];
	const char *name;
	int r = check_fields(artifact, where, artifact_rules, err);

	if (r < 0)
		return r;
	name = json_get_string(artifact, "name", "");
	r = check_name(name, where, err);
	if (r == 0)
		r = check_mode(artifact, where, err);
	if (r == 0 && json_get(artifact, "s3")) {
		snprintf(inner, sizeof(inner), "%s.s3", where);
		r = check_fields(json_get(artifact, "s3"), inner, s3_rules, err);
	}
	if (r == 0 && check_place(artifact, where, err) < 0)
		return error_prefix(err, -EINVAL, "artifact %.100s", name);
	archive = json_get(artifact, "archive");
	if (r < 0 || !archive)
		return r;
	snprintf(inner, sizeof(inner), "%s.archive", where);
	r = check_fields(archive, inner, archive_rules, err);
	if (r < 0 || !json_get(archive, "tar"))
		return r;
	snprintf(inner, sizeof(inner), "%s.archive.tar", where);
	return check_fields(json_get(archive, "tar"), inner, tar_rules, err);
}

static const struct rule list_rules[] = {
	{ "artifacts", ARRAY, false },
	{ "parameters", ARRAY, false },
	{ NULL, OBJECT, false },
};

static const struct rule parameter_rules[] = {
	{ "name", STRING, true },
	{ "valueFrom", OBJECT, false },
	{ NULL, OBJECT, false },
};

static const struct rule source_rules[] = {
	{ "path", STRING, false },
	{ NULL, OBJECT, false },
};

static int check_parameter(struct json_object *parameter, const char *where, struct error *err)
{
	char inner[FIELD_MAX + 16];
	struct json_object *source;
	int r = check_fields(parameter, where, parameter_rules, err);

	source = r < 0 ? NULL : json_get(parameter, "valueFrom");
	if (!source)
		return r;
	snprintf(inner, sizeof(inner), "%s.valueFrom", where);
	return check_fields(source, inner, source_rules, err);
}

static int compare_names(const void *a, const void *b)
{
	return strcmp(*(const char *const *)a, *(const char *const *)b);
}

/* A name is how the controller, a report and the file of an output refer to an entry: of two with
 * the same one, one would be lost. The controller refuses them too. */
static int check_unique(struct json_object *list, const char *direction, const char *kind,
			struct error *err)
{
	size_t count = json_length(list);
	_cleanup_free_ const char **names = calloc(count + 1, sizeof(*names));

	if (!names)
		return error_set(err, -ENOMEM, "out of memory");
	for (size_t i = 0; i < count; i++)
		names[i] = json_get_string(json_at(list, i), "name", "");
	qsort(names, count, sizeof(*names), compare_names);
	for (size_t i = 1; i < count; i++)
		if (strcmp(names[i - 1], names[i]) == 0)
			return error_set(err, -EINVAL,
					 "field %s.%s: the name \"%.100s\" is not unique",
					 direction, kind, names[i]);
	return 0;
}

#define ALPHANUMERIC "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789"

/* A name that the custom resource definitions do not allow would make the API server refuse the whole
 * report. The controller refuses it too. */
static int check_characters(struct json_object *list, const char *kind, const char *characters,
			    struct error *err)
{
	for (size_t i = 0; i < json_length(list); i++) {
		const char *name = json_get_string(json_at(list, i), "name", "");

		if (!*name || name[strspn(name, characters)])
			return error_set(
				err, -EINVAL,
				"field outputs.%s[%zu].name: \"%.100s\" cannot be reported: "
				"letters, digits and %s only",
				kind, i, name, characters + strlen(ALPHANUMERIC));
	}
	return 0;
}

static int check_reportable(struct json_object *template, struct error *err)
{
	int r = check_characters(json_find(template, "outputs", "artifacts", NULL), "artifacts",
				 ALPHANUMERIC "-_{}.", err);

	return r < 0 ? r :
		       check_characters(json_find(template, "outputs", "parameters", NULL),
					"parameters", ALPHANUMERIC "-_", err);
}

/* inputs or outputs. */
static int check_direction(struct json_object *template, const char *direction, struct error *err)
{
	struct json_object *lists = json_get(template, direction), *list;
	char where[FIELD_MAX];
	int r = lists ? check_fields(lists, direction, list_rules, err) : 0;

	list = json_get(lists, "artifacts");
	for (size_t i = 0; r == 0 && i < json_length(list); i++) {
		snprintf(where, sizeof(where), "%s.artifacts[%zu]", direction, i);
		r = check_artifact(json_at(list, i), where, err);
	}
	if (r == 0)
		r = check_unique(list, direction, "artifacts", err);
	list = json_get(lists, "parameters");
	for (size_t i = 0; r == 0 && i < json_length(list); i++) {
		snprintf(where, sizeof(where), "%s.parameters[%zu]", direction, i);
		r = check_parameter(json_at(list, i), where, err);
	}
	return r < 0 ? r : check_unique(list, direction, "parameters", err);
}

static const struct rule template_rules[] = {
	{ "inputs", OBJECT, false },       { "outputs", OBJECT, false },
	{ "container", OBJECT, false },    { "script", OBJECT, false },
	{ "containerSet", OBJECT, false }, { "resource", OBJECT, false },
	{ "data", OBJECT, false },         { "archiveLocation", OBJECT, false },
	{ NULL, OBJECT, false },
};

static const struct rule mounts_rules[] = {
	{ "volumeMounts", ARRAY, false },
	{ "source", STRING, false },
	{ "containers", ARRAY, false },
	{ NULL, OBJECT, false },
};

static const struct rule mount_rules[] = {
	{ "mountPath", STRING, true },
	{ NULL, OBJECT, false },
};

static int check_mounts(struct json_object *template, const char *holder, struct error *err)
{
	struct json_object *body = json_get(template, holder), *list;
	char where[FIELD_MAX];
	int r = body ? check_fields(body, holder, mounts_rules, err) : 0;

	list = json_get(body, "volumeMounts");
	for (size_t i = 0; r == 0 && i < json_length(list); i++) {
		snprintf(where, sizeof(where), "%s.volumeMounts[%zu]", holder, i);
		r = check_fields(json_at(list, i), where, mount_rules, err);
	}
	return r;
}

/* Member names become directory names. */
static int check_members(struct json_object *template, struct error *err)
{
	struct json_object *list = json_find(template, "containerSet", "containers", NULL);
	int r = 0;

	for (size_t i = 0; r == 0 && i < json_length(list); i++) {
		const char *name = json_get_string(json_at(list, i), "name", "");

		if (*name && !text_is_dns_label(name))
			r = error_set(
				err, -EINVAL,
				"field containerSet.containers[%zu].name: \"%.64s\" is no DNS label",
				i, name);
	}
	return r;
}

int template_check(struct json_object *template, struct error *err)
{
	static const char *const holders[] = { "container", "script", "containerSet" };
	int r = check_fields(template, "template", template_rules, err);

	if (r == 0)
		r = check_direction(template, "inputs", err);
	if (r == 0)
		r = check_direction(template, "outputs", err);
	if (r == 0)
		r = check_reportable(template, err);
	if (r == 0)
		r = check_place(json_get(template, "archiveLocation"), "archiveLocation", err);
	for (size_t i = 0; r == 0 && i < sizeof(holders) / sizeof(holders[0]); i++)
		r = check_mounts(template, holders[i], err);
	return r < 0 ? r : check_members(template, err);
}
