#include "executor/artifact/secret.h"

#include "executor/artifact/store.h"
#include "executor/base/buffer.h"
#include "executor/base/fd.h"
#include "executor/base/sensitive.h"

#include <errno.h>
#include <string.h>

void secret_free(char *value, size_t size)
{
	sensitive_free(value, size);
}

void secret_free_string(char *value)
{
	if (value)
		secret_free(value, strlen(value));
}

int secret_read_file(const struct store_context *context, const char *path, struct buffer *out,
		     struct error *err)
{
	if (context->read_file)
		return context->read_file(context->read_file_context, path, out, err);
	return file_read(path, out, err);
}

/* Both parts become path components below a directory that we trust. */
static bool is_component(const char *s)
{
	return *s != '\0' && !strchr(s, '/') && strcmp(s, ".") != 0 && strcmp(s, "..") != 0;
}

static int explain_missing(int code, const char *field, const char *name, const char *key,
			   const struct error *cause, struct error *err)
{
	if (code == -ENOENT)
		return error_set_class(
			err, code, ERROR_PERMANENT,
			"%s: secret '%s' has no key '%s' here: create it, or correct "
			"the reference",
			field, name, key);
	return error_set_class(err, code, ERROR_PERMANENT, "%s: secret '%s' key '%s': %s", field,
			       name, key, cause->message);
}

static void trim(struct buffer *value)
{
	while (value->size > 0 && strchr(" \r\n", value->data[value->size - 1]))
		value->data[--value->size] = '\0';
}

int secret_read(const struct store_context *context, struct json_object *location,
		const char *field, bool want_trim, char **ret, size_t *ret_size, struct error *err)
{
	struct json_object *reference = json_get(location, field);
	const char *name = json_get_string(reference, "name", "");
	const char *key = json_get_string(reference, "key", "");
	struct buffer value = BUFFER_SECRET(SECRET_BYTES_MAX);
	_cleanup_buffer_ struct buffer path = BUFFER_INIT(4096);
	struct error cause = ERROR_NONE;
	int r;

	*ret = NULL;
	if (ret_size)
		*ret_size = 0;
	if (reference && !json_is_object(reference))
		return error_set(err, -EINVAL, "%s: expected an object with name and key, found %s",
				 field, json_kind_name(reference));
	if (*name == '\0')
		return 0;
	if (!is_component(name) || !is_component(key))
		return error_set(err, -EINVAL,
				 "%s: name '%s' and key '%s' must be plain names of a secret",
				 field, name, key);
	r = buffer_append_format(&path, "%s/%s/%s", context->secret_directory, name, key);
	if (r < 0)
		return error_set_class(err, r, ERROR_PERMANENT, "%s: secret '%s': name too long",
				       field, name);
	r = secret_read_file(context, path.data, &value, &cause);
	if (r < 0) {
		buffer_done(&value);
		return explain_missing(r, field, name, key, &cause, err);
	}
	if (want_trim && value.size > 0)
		trim(&value);
	if (ret_size)
		*ret_size = value.size;
	*ret = value.data ? value.data : strdup("");
	return *ret ? 0 : error_set(err, -ENOMEM, "out of memory");
}
