/*
 * Secret values, which the controller mounts as files: <secret_directory>/<secret name>/<key>, one
 * volume per secret. The bytes are never part of a message.
 */
#pragma once

#include "executor/base/error.h"
#include "executor/json/json.h"

#include <stdbool.h>
#include <stddef.h>

/* Kubernetes holds no larger secret (1 MiB, Secret API documentation). */
#define SECRET_BYTES_MAX (1024 * 1024)

struct store_context;

/* Reads what the reference `field` ({"name": …, "key": …}) of `location` points at. A reference
 * that is absent or has an empty name gives NULL and 0. `want_trim` drops trailing spaces and line
 * ends, which editors leave in access keys; PEM data wants its bytes as they are. The value is NUL
 * terminated (not counted in *ret_size, which may be NULL) and released with secret_free. Every
 * failure is PERMANENT and names field, secret and key. */
int secret_read(const struct store_context *context, struct json_object *location,
		const char *field, bool want_trim, char **ret, size_t *ret_size, struct error *err);

struct buffer;

/* Reads a whole file that holds secrets (tokens, profiles) into `out`, whose max limits it, as
 * file_read() does: the only way in which stores read one. Another process may do it for this one. */
int secret_read_file(const struct store_context *context, const char *path, struct buffer *out,
		     struct error *err);

/* Zeroes `size` bytes before giving the memory back. NULL is fine. */
void secret_free(char *value, size_t size);
/* The same for a value without zero bytes inside. */
void secret_free_string(char *value);
