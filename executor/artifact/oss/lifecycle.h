/* The lifecycle rule of a location (lifecycleRule). */
#pragma once

#include "executor/artifact/oss/client.h"

/* Puts a rule for the key into the bucket's configuration, in place of an earlier one for the same
 * key; rules of others stay as they are. Sources: OSS API reference, GetBucketLifecycle and
 * PutBucketLifecycle. */
int oss_lifecycle_set(struct oss_client *client, struct error *err);

/* The new configuration: `old` ("" = none) with the rule of config in it. *ret_is_same says that it
 * was there. Among more than OSS_RULES_MAX rules the oldest of ours give way. */
#define OSS_RULES_MAX 1000
int oss_lifecycle_build(const struct oss_config *config, const struct buffer *old,
			struct buffer *out, bool *ret_is_same, struct error *err);
