/* Reading one object. */
#pragma once

#include "executor/artifact/object/client.h"
#include "executor/base/stream.h"

/* Received but not yet read; the transfer is paused while there is more. */
#define OBJECT_READ_AHEAD_BYTES (1024 * 1024)

/* Opens the object: returns once the server has said that it is there. The reader resumes where it
 * was cut off, as long as the object is the same one (ETag). *ret_size is -1 if unknown. `client`
 * outlives the reader, which object_get_done frees. */
int object_get(struct object_client *client, const char *key, struct reader **ret,
	       int64_t *ret_size, struct error *err);
void object_get_done(struct reader *reader);
