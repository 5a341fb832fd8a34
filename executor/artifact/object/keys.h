/* An access key: what requests are signed with. */
#pragma once

#include "executor/base/error.h"
#include "executor/json/json.h"

#include <stdint.h>

struct store_context;

struct object_keys {
	char *access_key;
	char *secret_key;
	char *token; /* of a temporary key; NULL = none */
	int64_t expires_s; /* wall clock, seconds since 1970; 0 = never, or nobody knows */
};

/* Copies; an empty token is none. -ENOMEM, or -EINVAL if one of the first two is empty or they cannot
 * be part of a header line; *keys is empty then. */
int object_keys_set(struct object_keys *keys, const char *access_key, const char *secret_key,
		    const char *token, struct error *err);
/* The two of a location's accessKeySecret and secretKeySecret; NULL for one that is not named. */
int object_keys_read(struct object_keys *keys, struct json_object *location,
		     const struct store_context *context, struct error *err);
/* -EINVAL if they cannot be part of a header line. */
int object_keys_check(const struct object_keys *keys, struct error *err);
/* Zeroes them first. */
void object_keys_done(struct object_keys *keys);
