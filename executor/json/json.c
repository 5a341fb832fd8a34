#include "executor/json/json.h"

#include "executor/base/text.h"
#include "executor/json/strict.h"

#include <errno.h>
#include <json-c/json.h>
#include <limits.h>
#include <stdarg.h>
#include <string.h>

/* json-c skips blanks before the value only. */
static bool is_blank(const char *p, size_t size)
{
	for (; size > 0; p++, size--)
		if (*p != ' ' && *p != '\t' && *p != '\n' && *p != '\r')
			return false;
	return true;
}

int json_parse(const char *text, size_t size, const char *what, struct json_object **ret,
	       struct error *err)
{
	struct json_tokener *tokener;
	struct json_object *value;
	enum json_tokener_error reason;
	const char *forbidden;
	size_t end;

	if (size > INT_MAX - 1)
		return error_set(err, -EMSGSIZE, "%s: %zu bytes of JSON are too many", what, size);
	if (memchr(text, '\0', size))
		return error_set(err, -EINVAL, "%s: NUL byte in JSON", what);
	forbidden = strict_check(text, size, &end);
	if (forbidden)
		return error_set(err, -EINVAL, "%s: not valid JSON: %s at byte %zu", what,
				 forbidden, end);
	tokener = json_tokener_new_ex(JSON_DEPTH_MAX);
	if (!tokener)
		return error_set(err, -ENOMEM, "%s: out of memory", what);
	json_tokener_set_flags(tokener, JSON_TOKENER_STRICT | JSON_TOKENER_VALIDATE_UTF8 |
						JSON_TOKENER_ALLOW_TRAILING_CHARS);
	value = json_tokener_parse_ex(tokener, text, (int)size);
	reason = json_tokener_get_error(tokener);
	end = json_tokener_get_parse_end(tokener);
	/* A number at the very end could go on: only a further byte tells that it does not. */
	if (reason == json_tokener_continue && size > 0) {
		value = json_tokener_parse_ex(tokener, "\n", 1);
		reason = json_tokener_get_error(tokener);
		end = size;
	}
	json_tokener_free(tokener);
	if (reason != json_tokener_success) {
		json_object_put(value);
		return error_set(err, -EINVAL, "%s: not valid JSON: %s at byte %zu", what,
				 reason == json_tokener_continue ? "unexpected end" :
								   json_tokener_error_desc(reason),
				 end);
	}
	if (!is_blank(text + end, size - end)) {
		json_object_put(value);
		return error_set(err, -EINVAL, "%s: not valid JSON: trailing data at byte %zu",
				 what, end);
	}
	*ret = value;
	return 0;
}

int json_print(struct json_object *value, struct buffer *out, struct error *err)
{
	size_t size = 0;
	const char *text = json_object_to_json_string_length(
		value, JSON_C_TO_STRING_PLAIN | JSON_C_TO_STRING_NOSLASHESCAPE, &size);
	int r = text ? buffer_append(out, text, size) : -ENOMEM;

	return r < 0 ? error_errno(err, r, "print JSON") : 0;
}

struct json_object *json_ref(struct json_object *value)
{
	return json_object_get(value);
}

void json_free(struct json_object *value)
{
	json_object_put(value);
}

struct json_object *json_copy(struct json_object *value)
{
	struct json_object *copy = NULL;

	if (!value || json_object_deep_copy(value, &copy, NULL) < 0)
		return NULL;
	return copy;
}

bool json_equal(struct json_object *a, struct json_object *b)
{
	return json_object_equal(a, b);
}

bool json_is_object(struct json_object *value)
{
	return json_object_is_type(value, json_type_object);
}

bool json_is_array(struct json_object *value)
{
	return json_object_is_type(value, json_type_array);
}

bool json_is_string(struct json_object *value)
{
	return json_object_is_type(value, json_type_string);
}

bool json_is_number(struct json_object *value)
{
	return json_object_is_type(value, json_type_int) ||
	       json_object_is_type(value, json_type_double);
}

struct json_object *json_get(struct json_object *object, const char *key)
{
	struct json_object *value = NULL;

	if (!json_is_object(object) || !json_object_object_get_ex(object, key, &value))
		return NULL;
	return value;
}

struct json_object *json_find(struct json_object *object, ...)
{
	const char *key;
	va_list ap;

	va_start(ap, object);
	while (object && (key = va_arg(ap, const char *)))
		object = json_get(object, key);
	va_end(ap);
	return object;
}

const char *json_string(struct json_object *value, size_t *ret_size)
{
	if (!json_is_string(value))
		return NULL;
	if (ret_size)
		*ret_size = (size_t)json_object_get_string_len(value);
	return json_object_get_string(value);
}

const char *json_get_string(struct json_object *object, const char *key, const char *fallback)
{
	const char *s = json_string(json_get(object, key), NULL);

	return s ? s : fallback;
}

bool json_get_bool(struct json_object *object, const char *key, bool fallback)
{
	struct json_object *value = json_get(object, key);

	return json_object_is_type(value, json_type_boolean) ? json_object_get_boolean(value) :
							       fallback;
}

int64_t json_int(struct json_object *value, int64_t fallback)
{
	return json_object_is_type(value, json_type_int) ? json_object_get_int64(value) : fallback;
}

int64_t json_get_int(struct json_object *object, const char *key, int64_t fallback)
{
	return json_int(json_get(object, key), fallback);
}

int json_scalar_text(struct json_object *value, struct buffer *out)
{
	size_t size;
	const char *s = json_string(value, &size);

	if (s)
		return buffer_append(out, s, size);
	if (!value || json_is_object(value) || json_is_array(value))
		return -EINVAL;
	return buffer_append_string(out,
				    json_object_to_json_string_ext(value, JSON_C_TO_STRING_PLAIN));
}

size_t json_length(struct json_object *value)
{
	if (json_is_array(value))
		return json_object_array_length(value);
	if (json_is_object(value))
		return (size_t)json_object_object_length(value);
	return 0;
}

struct json_object *json_at(struct json_object *array, size_t index)
{
	return json_is_array(array) ? json_object_array_get_idx(array, index) : NULL;
}

int json_each(struct json_object *object,
	      int (*visit)(const char *key, struct json_object *value, void *context),
	      void *context)
{
	struct json_object_iterator i, end;

	if (!json_is_object(object))
		return 0;
	i = json_object_iter_begin(object);
	end = json_object_iter_end(object);
	for (; !json_object_iter_equal(&i, &end); json_object_iter_next(&i)) {
		int r = visit(json_object_iter_peek_name(&i), json_object_iter_peek_value(&i),
			      context);
		if (r != 0)
			return r;
	}
	return 0;
}

const char *json_kind_name(struct json_object *value)
{
	switch (json_object_get_type(value)) {
	case json_type_null:
		return "null";
	case json_type_boolean:
		return "boolean";
	case json_type_int:
	case json_type_double:
		return "number";
	case json_type_object:
		return "object";
	case json_type_array:
		return "array";
	case json_type_string:
		return "string";
	}
	return "unknown";
}

struct json_object *json_new_object(void)
{
	return json_object_new_object();
}

struct json_object *json_new_array(void)
{
	return json_object_new_array();
}

struct json_object *json_new_string(const char *s, size_t size)
{
	struct buffer clean = BUFFER_INIT(INT_MAX - 1);
	struct json_object *value = NULL;
	size_t start = 0, i = 0;
	int r = 0;

	while (i < size && r == 0) {
		size_t n = text_utf8_length(s + i, size - i);

		if (n > 0) {
			i += n;
			continue;
		}
		r = buffer_append(&clean, s + start, i - start);
		if (r == 0)
			r = buffer_append_string(&clean, "\xef\xbf\xbd");
		start = ++i;
	}
	if (start == 0 && size < INT_MAX)
		return json_object_new_string_len(s, (int)size);
	if (r == 0)
		r = buffer_append(&clean, s + start, size - start);
	if (r == 0)
		value = json_object_new_string_len(clean.data, (int)clean.size);
	buffer_done(&clean);
	return value;
}

struct json_object *json_new_int(int64_t value)
{
	return json_object_new_int64(value);
}

struct json_object *json_new_bool(bool value)
{
	return json_object_new_boolean(value);
}

int json_set(struct json_object *object, const char *key, struct json_object *value)
{
	if (!value || json_object_object_add(object, key, value) < 0) {
		json_object_put(value);
		return -ENOMEM;
	}
	return 0;
}

int json_set_string(struct json_object *object, const char *key, const char *value)
{
	return json_set(object, key, json_new_string(value, strlen(value)));
}

int json_append(struct json_object *array, struct json_object *value)
{
	if (!value || json_object_array_add(array, value) < 0) {
		json_object_put(value);
		return -ENOMEM;
	}
	return 0;
}

int json_set_null(struct json_object *object, const char *key)
{
	return json_object_object_add(object, key, NULL) < 0 ? -ENOMEM : 0;
}

void json_remove(struct json_object *object, const char *key)
{
	json_object_object_del(object, key);
}
