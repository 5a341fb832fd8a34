/*
 * Credentials of the default chain (source.h), kept valid as long as they are needed: those with an
 * end are renewed OSS_RENEW_S before it, beside whatever goes on. Sources: Alibaba Cloud STS API
 * reference, AssumeRoleWithOIDC; ECS user guide, "Instance RAM roles" and "Instance metadata".
 */
#pragma once

#include "executor/artifact/oss/config.h"
#include "executor/artifact/store.h"
#include "executor/http/retry.h"

#define OSS_RENEW_S 180
/* The metadata service is on the machine itself: whoever does not answer by then is not there. */
#define OSS_METADATA_TIMEOUT_MS 2000

struct oss_chain;

/* `policy` is borrowed. Nothing is read or sent yet. */
int oss_chain_new(const struct store_context *context, const struct retry_policy *policy,
		  struct oss_chain **ret, struct error *err);
void oss_chain_free(struct oss_chain *chain);

/* Returns when there are credentials that are valid now; retries as the policy says. The message
 * names the source. */
int oss_chain_wait(struct oss_chain *chain, struct error *err);

/* What oss_chain_wait has brought, or what came after it. Valid until the loop runs again. */
const struct oss_credentials *oss_chain_credentials(const struct oss_chain *chain);

/* Starts to renew them now; false if they are not of the kind that can be. */
bool oss_chain_refresh(struct oss_chain *chain);
