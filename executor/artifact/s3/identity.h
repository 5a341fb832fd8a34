/* A struct chain_source for S3: asks whatever s3_source_find() names, then assumes the roles. Sources:
 * Amazon EC2 user guide, "Access instance metadata"; Amazon ECS developer guide, "Task IAM role"; Amazon
 * EKS user guide, "EKS Pod Identity". */
#pragma once

#include "executor/artifact/object/chain.h"
#include "executor/artifact/s3/source.h"

#define S3_RENEW_S 300
/* The metadata service is on the machine itself: whoever does not answer by then is not there. */
#define S3_METADATA_TIMEOUT_MS 2000
/* Its token may be lost on the way into a container, which costs this before the older way is tried. */
#define S3_METADATA_TOKEN_TIMEOUT_MS 1000

/* Copies the wish, a struct s3_wish; NULL = no memory. Freed by its chain. */
struct chain_source *s3_identity_new(const struct store_context *context, const void *wish);
