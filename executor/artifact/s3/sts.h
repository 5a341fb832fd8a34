/* What is asked of the Security Token Service, and what it answers. Source: AWS STS API reference,
 * AssumeRole and AssumeRoleWithWebIdentity. */
#pragma once

#include "executor/artifact/object/chain.h"
#include "executor/artifact/s3/source.h"

/* AssumeRole, signed with the keys. The service is that of AWS_ENDPOINT_URL_STS or AWS_ENDPOINT_URL, else
 * the region's, else the global one. */
int sts_assume_role(const struct s3_source *source, const struct s3_role *role,
		    const struct object_keys *keys, int64_t clock_offset_s,
		    struct chain_request *request, struct error *err);
/* AssumeRoleWithWebIdentity; the token is read anew, because it is replaced before it expires. */
int sts_assume_role_with_token(const struct s3_source *source, const struct store_context *context,
			       struct chain_request *request, struct error *err);

/* The keys of an answer, or what its failure means. *ret_clock_offset_s is corrected if a wrong clock is the
 * cause, which is TRANSIENT then. */
int sts_take_keys(const struct http_response *response, struct object_keys *keys,
		  int64_t *ret_clock_offset_s, struct error *err);
