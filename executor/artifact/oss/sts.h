/* What is asked of Alibaba Cloud's Security Token Service. */
#pragma once

#include "executor/artifact/object/chain.h"
#include "executor/artifact/oss/source.h"

/* Address and form of an AssumeRoleWithOIDC for a source of that kind; its token is read anew, because it
 * is replaced before it expires. The service is that of ALIBABA_CLOUD_STS_REGION, within the private
 * network with ALIBABA_CLOUD_VPC_ENDPOINT_ENABLED. Source: STS API reference, AssumeRoleWithOIDC. */
int sts_request(const struct oss_source *source, const struct store_context *context,
		int64_t clock_offset_s, struct chain_request *request, struct error *err);

/* 0 for a 2xx, else what its failure means; code and request id go to `retry`. *clock_offset_s is corrected
 * if a wrong clock is the cause, which is TRANSIENT then. */
int sts_judge(const struct http_response *response, int64_t *clock_offset_s, struct retry *retry,
	      struct error *err);
