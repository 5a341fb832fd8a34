#include "executor/template/location.h"

#include "executor/base/path.h"

#include <errno.h>
#include <stdio.h>
#include <string.h>

#define URL_BYTES_MAX (1024 * 1024)

#define NOT_CONFIGURED \
	"artifact storage is not configured; see the docs for setup instructions: " \
	"https://argo-workflows.readthedocs.io/en/latest/configure-artifact-repository/"

/* In the order in which Argo builds drivers. `needs`: fields without which it is incomplete. */
static const struct type {
	const char *name;
	const char *key_field; /* NULL = artifacts of this type have no key */
	const char *needs[3];
	bool is_url_key; /* the key is the path part of the URL in key_field */
} types[] = {
	{ "s3", "key", { "endpoint", "bucket", "key" }, false },
	{ "http", "url", { "url" }, true },
	{ "git", NULL, { "repo" }, false },
	{ "artifactory", "url", { "url", "usernameSecret" }, true },
	{ "hdfs", "path", { "addresses" }, false },
	{ "raw", NULL, { NULL }, false },
	{ "oss", "key", { "endpoint", "bucket", "key" }, false },
	{ "gcs", "key", { "bucket", "key" }, false },
	{ "azure", "blob", { "endpoint", "container", "blob" }, false },
	{ "plugin", "key", { "name", "configuration", "key" }, false },
};
#define TYPE_COUNT (sizeof(types) / sizeof(types[0]))

static bool is_filled(struct json_object *value)
{
	const char *s = json_string(value, NULL);

	return s ? *s != '\0' : json_length(value) > 0;
}

/* What is written out though nobody has set it is no more than what is not there. */
static int is_set(const char *field, struct json_object *value, void *location)
{
	if (!value)
		return false;
	if (json_is_number(value))
		return json_int(value, 1) != 0;
	return is_filled(value) || json_get_bool(location, field, false);
}

static bool says_something(struct json_object *artifact, const struct type *type)
{
	struct json_object *location = json_get(artifact, type->name);

	return json_each(location, is_set, location);
}

static const struct type *find_type(struct json_object *artifact)
{
	const struct type *empty = NULL;

	for (size_t i = 0; i < TYPE_COUNT; i++) {
		if (says_something(artifact, &types[i]))
			return &types[i];
		if (!empty && json_is_object(json_get(artifact, types[i].name)))
			empty = &types[i];
	}
	return empty;
}

const char *location_type(struct json_object *artifact)
{
	const struct type *type = find_type(artifact);

	return type ? type->name : NULL;
}

const char *location_other_type(struct json_object *artifact)
{
	const struct type *type = find_type(artifact);

	for (size_t i = 0; i < TYPE_COUNT; i++)
		if (&types[i] != type && says_something(artifact, &types[i]))
			return types[i].name;
	return NULL;
}

void location_tidy(struct json_object *artifact)
{
	const struct type *type = find_type(artifact);

	for (size_t i = 0; artifact && i < TYPE_COUNT; i++)
		if (&types[i] != type && !says_something(artifact, &types[i]))
			json_remove(artifact, types[i].name);
}

struct json_object *location_get(struct json_object *artifact)
{
	const struct type *type = find_type(artifact);

	return type ? json_get(artifact, type->name) : NULL;
}

int location_check(struct json_object *artifact, struct error *err)
{
	for (size_t i = 0; i < TYPE_COUNT; i++) {
		const struct type *type = &types[i];
		struct json_object *location = json_get(artifact, type->name), *key;

		if (!location)
			continue;
		if (!json_is_object(location))
			return error_set(err, -EINVAL, "%s: expected an object, found %s",
					 type->name, json_kind_name(location));
		key = type->key_field ? json_get(location, type->key_field) : NULL;
		if (key && !json_string(key, NULL))
			return error_set(err, -EINVAL, "%s: %s: expected a string, found %s",
					 type->name, type->key_field, json_kind_name(key));
	}
	return 0;
}

/* Behind "scheme://" at its beginning; NULL if there is none: it is only a path. */
static const char *url_host(const char *url)
{
	const char *end = url + strcspn(url, ":/?#");

	return end > url && strncmp(end, "://", 3) == 0 ? end + 3 : NULL;
}

bool location_is_complete(struct json_object *artifact)
{
	const struct type *type = find_type(artifact);
	struct json_object *location = location_get(artifact);

	if (!type)
		return false;
	for (size_t i = 0; i < 3 && type->needs[i]; i++)
		if (!is_filled(json_get(location, type->needs[i])))
			return false;
	/* A URL that is only a path is a key: it takes its host from the repository. */
	return !type->is_url_key || url_host(json_get_string(location, "url", ""));
}

/* Where the path of a URL begins, with its slash; the whole of one without a host. */
static const char *url_path(const char *url)
{
	const char *host = url_host(url);

	return host ? host + strcspn(host, "/?#") : url;
}

const char *location_key(struct json_object *artifact)
{
	const struct type *type = find_type(artifact);
	const char *value;

	if (!type || !type->key_field)
		return NULL;
	value = json_get_string(location_get(artifact), type->key_field, "");
	if (type->is_url_key) {
		value = url_path(value);
		if (*value == '/')
			value++;
		/* A query is part of the place. */
		if (*value == '?' || *value == '#')
			return NULL;
	}
	return *value ? value : NULL;
}

static int print_field(struct json_object *location, const char *field, struct buffer *out,
		       struct error *err)
{
	struct json_object *value = json_get(location, field);
	int r = buffer_append_format(out, " %s=", field);

	if (r < 0)
		return error_errno(err, r, "%s", field);
	return value ? json_print(value, out, err) : 0;
}

int location_print_place(struct json_object *artifact, struct buffer *out, struct error *err)
{
	const struct type *type = find_type(artifact);
	struct json_object *location = location_get(artifact);
	int r;

	if (!type || !type->key_field)
		return 0;
	r = buffer_append_string(out, type->name);
	if (r < 0)
		return error_errno(err, r, "%s", type->name);
	r = print_field(location, type->key_field, out, err);
	/* The rest of a URL is its user's name. */
	for (size_t i = 0; r == 0 && !type->is_url_key && i < 3 && type->needs[i]; i++)
		r = print_field(location, type->needs[i], out, err);
	return r;
}

char *location_copy_key(struct json_object *artifact)
{
	const struct type *type = find_type(artifact);
	const char *key = location_key(artifact);
	size_t size = key ? strlen(key) : 0;

	if (key && type->is_url_key)
		size = strcspn(key, "?#");
	return strndup(key ? key : "", size);
}

/* "https://host/base?query" with the path replaced by "/key", whose characters do not end it. */
static int set_url_key(struct json_object *location, const char *key)
{
	const char *url = json_get_string(location, "url", "");
	const char *path = url_path(url);
	_cleanup_buffer_ struct buffer changed = BUFFER_INIT(URL_BYTES_MAX);
	int r = buffer_append(&changed, url, (size_t)(path - url));

	if (r == 0)
		r = buffer_append(&changed, "/", 1);
	for (; r == 0 && *key; key++)
		r = strchr("?#", *key) ? buffer_append_format(&changed, "%%%02X", *key) :
					 buffer_append(&changed, key, 1);
	if (r == 0)
		r = buffer_append_string(&changed, path + strcspn(path, "?#"));
	return r < 0 ? r : json_set_string(location, "url", changed.data);
}

static int set_key(const struct type *type, struct json_object *location, const char *key,
		   struct error *err)
{
	int r;

	if (!type->key_field)
		return error_set(err, -EINVAL, "key unsupported: a %s artifact does not have a key",
				 type->name);
	r = type->is_url_key ? set_url_key(location, key) :
			       json_set_string(location, type->key_field, key);
	return r < 0 ? error_errno(err, r, "set artifact key") : 0;
}

static void drop_locations(struct json_object *artifact)
{
	for (size_t i = 0; i < TYPE_COUNT; i++)
		json_remove(artifact, types[i].name);
}

/* Replaces whatever location the artifact has by `location` (consumed). */
static int replace(struct json_object *artifact, const struct type *type,
		   struct json_object *location, const char *key, struct error *err)
{
	int r;

	drop_locations(artifact);
	if (json_set(artifact, type->name, location) < 0)
		return error_set(err, -ENOMEM, "out of memory");
	r = set_key(type, location, key, err);
	if (r < 0)
		json_remove(artifact, type->name);
	return r;
}

int location_relocate(struct json_object *artifact, struct json_object *archive_location,
		      struct json_object **ret, struct error *err)
{
	_cleanup_json_ struct json_object *copy = json_copy(artifact);
	_cleanup_free_ char *key = NULL;
	const struct type *type = find_type(archive_location);
	int r;

	if (!copy)
		return error_set(err, -ENOMEM, "out of memory");
	if (!location_is_complete(artifact)) {
		if (!archive_location)
			return error_set(err, -EINVAL, "template artifact location not set");
		if (!type)
			return error_set(err, -EINVAL, NOT_CONFIGURED);
		if (!location_key(artifact))
			return error_set(err, -EINVAL,
					 "key unsupported: cannot get key for artifact location, "
					 "because it is invalid");
		key = location_copy_key(artifact);
		if (!key)
			return error_set(err, -ENOMEM, "out of memory");
		r = replace(copy, type, json_copy(location_get(archive_location)), key, err);
		if (r < 0)
			return r;
	}
	*ret = TAKE_PTR(copy);
	return 0;
}

int location_assign(struct json_object *artifact, struct json_object *archive_location,
		    const char *file_name, struct error *err)
{
	const struct type *type = find_type(archive_location);
	_cleanup_free_ char *prefix = location_copy_key(archive_location);
	_cleanup_free_ char *key = NULL;

	if (!type)
		return error_set(err, -EINVAL, NOT_CONFIGURED);
	key = prefix ? path_join(prefix, file_name) : NULL;
	if (!key)
		return error_set(err, -ENOMEM, "out of memory");
	return replace(artifact, type, json_new_object(), key, err);
}

/* "bucket/key", or "/key" as a URL has it; "" for a type without keys. NULL = out of memory. */
static char *describe_object(struct json_object *artifact)
{
	_cleanup_free_ char *key = location_copy_key(artifact);
	struct json_object *location = location_get(artifact);
	const char *bucket = json_get_string(location, "bucket", "");
	char *text;

	if (!key || asprintf(&text, "%s%s%s", bucket, *key ? "/" : "", key) < 0)
		return NULL;
	return text;
}

/* As a store does it, not as a part of some path of ours. */
static bool is_named(const char *message, const char *object)
{
	for (const char *at = message; (at = strstr(at, object)); at++) {
		const char *word = at;

		while (word > message && !strchr(" \"'(", word[-1]))
			word--;
		if (*word != '/')
			return true;
	}
	return false;
}

void location_tell(struct json_object *artifact, struct error *err)
{
	_cleanup_free_ char *object = describe_object(artifact);
	const char *type = location_type(artifact);
	bool is_told;

	if (!err || !type || !object || err->class == ERROR_NOT_FOUND ||
	    err->class == ERROR_CANCELLED)
		return;
	is_told = error_tells_class(err);
	if (*object && is_named(err->message, object))
		error_tell_class(err);
	else
		error_append(err, " (%s%s%s%s%s)", type, *object ? " object " : "",
			     object + (*object == '/'), is_told ? "" : ", ",
			     is_told ? "" : error_class_name(err->class));
}
