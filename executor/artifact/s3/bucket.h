/* Creating the bucket (createBucketIfNotPresent). */
#pragma once

#include "executor/artifact/s3/client.h"

/* Creates the bucket of the location; one that is already there is success. */
int s3_bucket_create(struct s3_client *client, struct error *err);
