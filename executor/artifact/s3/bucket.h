/* Creating the bucket (createBucketIfNotPresent). */
#pragma once

#include "executor/artifact/s3/client.h"

/* object_protocol.prepare_put: creates the bucket if the location asks for it; one that is already
 * there is success. */
int s3_bucket_prepare(struct object_client *base, struct error *err);
