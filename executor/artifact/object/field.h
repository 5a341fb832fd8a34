/* The fields of a location: read with their types checked, and what several stores ask of them. */
#pragma once

#include "executor/base/error.h"
#include "executor/json/json.h"

#include <stdbool.h>

/* A copy of a string without zero bytes, "" if it is absent; the caller frees it. Every failure
 * names the field. */
int field_copy(struct json_object *location, const char *field, char **ret, struct error *err);
/* False if it is absent. */
int field_bool(struct json_object *object, const char *field, bool *ret, struct error *err);

/* "key", of any store of objects: at most OBJECT_KEY_BYTES_MAX. */
int field_key(struct json_object *location, char **ret, struct error *err);

/* An endpoint as users write it loses the scheme in front and slashes behind, in place. Returns the scheme:
 * 's' for https, 'h' for http, 0 for none. */
char field_trim_endpoint(char *endpoint);
/* A name or an address, IPv6 in brackets, with a port or without. */
bool field_is_host(const char *s);
/* What must not get into a header line; false for NULL. */
bool field_has_control(const char *s);
