/* Reading one object. */
#pragma once

#include "executor/artifact/s3/client.h"
#include "executor/base/stream.h"

/* Received but not yet read; the transfer is paused while there is more. */
#define S3_READ_AHEAD_BYTES (1024 * 1024)

/* Opens the object: returns once the server has said that it is there. The reader resumes where it
 * was cut off, as long as the object is the same one (ETag). *ret_size is -1 if unknown. `client`
 * outlives the reader, which s3_get_done frees. */
int s3_get(struct s3_client *client, const char *key, struct reader **ret, int64_t *ret_size,
	   struct error *err);
void s3_get_done(struct reader *reader);
