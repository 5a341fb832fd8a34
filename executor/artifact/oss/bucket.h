/* Creating the bucket (createBucketIfNotPresent). */
#pragma once

#include "executor/artifact/oss/client.h"

/* Asks whether the account has the bucket and creates it if not; somebody else's having done so
 * meanwhile is success. Source: OSS API reference, ListBuckets and PutBucket. */
int oss_bucket_create(struct oss_client *client, struct error *err);
