/*
 * JSON values, by way of json-c, whose header is included nowhere else. json-c was chosen over
 * cJSON because numbers survive: integers to 64 bits, and decimals with the text they came in.
 * Unknown fields live on in the value, so what was parsed can be changed in one place and printed
 * back whole.
 *
 * Values are reference counted; getters lend, "new" and "parse" give. A missing field and an
 * explicit null are the same here: NULL.
 */
#pragma once

#include "executor/base/buffer.h"
#include "executor/base/error.h"

#include <stdbool.h>
#include <stdint.h>

struct json_object; /* json-c's own name for any value */

/* Deepest nesting accepted; a template of the controller needs about ten levels. */
#define JSON_DEPTH_MAX 64

/* Parses exactly one value (trailing white space allowed). `what` names the document in
 * messages: "<what>: <reason> at byte N". Strict: no comments, no NaN, UTF-8 only. */
int json_parse(const char *text, size_t size, const char *what, struct json_object **ret,
	       struct error *err);

/* Prints compactly, without escaping slashes. */
int json_print(struct json_object *value, struct buffer *out, struct error *err);

struct json_object *json_ref(struct json_object *value);
void json_free(struct json_object *value);
static inline void json_freep(struct json_object **value)
{
	json_free(*value);
}
#define _cleanup_json_ _cleanup_(json_freep)

/* A deep copy, or NULL (out of memory, or value was NULL). */
struct json_object *json_copy(struct json_object *value);

/* Structural equality; object members in any order. */
bool json_equal(struct json_object *a, struct json_object *b);

/* --- looking ---------------------------------------------------------------------------- */

bool json_is_object(struct json_object *value);
bool json_is_array(struct json_object *value);
bool json_is_string(struct json_object *value);
bool json_is_number(struct json_object *value);

/* The member, or NULL when it is absent or null, or when `object` is no object. Lent. */
struct json_object *json_get(struct json_object *object, const char *key);

/* Follows members: json_find(pod, "metadata", "name", NULL). Lent. */
struct json_object *json_find(struct json_object *object, ...) __attribute__((sentinel));

/* The characters of a string value (NUL terminated; *ret_size may be NULL), NULL for any other
 * kind. Lent. */
const char *json_string(struct json_object *value, size_t *ret_size);

/* A whole number; `fallback` for any other kind. */
int64_t json_int(struct json_object *value, int64_t fallback);

/* The member as a string; `fallback` when absent or of another kind. Lent. */
const char *json_get_string(struct json_object *object, const char *key, const char *fallback);
bool json_get_bool(struct json_object *object, const char *key, bool fallback);
int64_t json_get_int(struct json_object *object, const char *key, int64_t fallback);

/* A scalar rendered as the string that a user would write: strings as they are, numbers as in the
 * document, true/false; -EINVAL for arrays, objects and null. */
int json_scalar_text(struct json_object *value, struct buffer *out);

/* Elements of an array, members of an object; 0 for anything else. */
size_t json_length(struct json_object *value);
struct json_object *json_at(struct json_object *array, size_t index);

/* Calls visit for each member until it returns non-zero, and returns that. */
int json_each(struct json_object *object,
	      int (*visit)(const char *key, struct json_object *value, void *context),
	      void *context);

/* "string", "number", "object", … for messages. */
const char *json_kind_name(struct json_object *value);

/* --- building --------------------------------------------------------------------------- */
/* Makers return NULL, setters -ENOMEM, when memory is out. A setter consumes `value`, also on
 * failure; a NULL value is the out-of-memory of the maker before and fails likewise, so calls can
 * be nested and only the setter checked. */

struct json_object *json_new_object(void);
struct json_object *json_new_array(void);
/* Bytes that are not UTF-8 become U+FFFD. */
struct json_object *json_new_string(const char *s, size_t size);
struct json_object *json_new_int(int64_t value);
struct json_object *json_new_bool(bool value);

int json_set(struct json_object *object, const char *key, struct json_object *value);
int json_set_string(struct json_object *object, const char *key, const char *value);
int json_append(struct json_object *array, struct json_object *value);
/* An explicit null, which removes the member where it is sent as a merge patch (RFC 7386). */
int json_set_null(struct json_object *object, const char *key);
void json_remove(struct json_object *object, const char *key);
