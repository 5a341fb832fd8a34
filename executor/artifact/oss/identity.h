/* A struct chain_source for OSS (useSDKCreds): asks whatever oss_source_find() names. Sources: Alibaba
 * Cloud STS API reference, AssumeRoleWithOIDC; ECS user guide, "Instance RAM roles" and "Instance
 * metadata". */
#pragma once

#include "executor/artifact/object/chain.h"

#define OSS_RENEW_S 180
/* The metadata service is on the machine itself: whoever does not answer by then is not there. */
#define OSS_METADATA_TIMEOUT_MS 2000

/* There is nothing to wish for; NULL = no memory. Freed by its chain. */
struct chain_source *oss_identity_new(const struct store_context *context, const void *wish);
