/* What is asked of Alibaba Cloud's Security Token Service. */
#pragma once

#include "executor/artifact/oss/source.h"
#include "executor/base/buffer.h"

/* Appends the address and the form of an AssumeRoleWithOIDC for a source of that kind; its token is
 * read anew, because it is replaced before it expires. The service is that of
 * ALIBABA_CLOUD_STS_REGION, within the private network with ALIBABA_CLOUD_VPC_ENDPOINT_ENABLED.
 * Source: STS API reference, AssumeRoleWithOIDC. */
int sts_request(const struct oss_source *source, const struct store_context *context,
		struct buffer *url, struct buffer *form, struct error *err);
