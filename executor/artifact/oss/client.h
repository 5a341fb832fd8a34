/*
 * What makes an object_client an OSS client: credentials, the version of the signature, and the
 * meaning of refusals.
 */
#pragma once

#include "executor/artifact/object/chain.h"
#include "executor/artifact/object/client.h"
#include "executor/artifact/oss/config.h"

struct oss_client {
	struct object_client base; /* first */
	struct oss_config config;
	struct object_chain *chain; /* lent by the cache, with config.want_chain */
	bool is_v1; /* the version of signatures in use */
};

extern const struct object_protocol oss_protocol;

/* object_protocol.make_ready: has credentials that are valid for a while. */
int oss_client_make_ready(struct object_client *base, struct error *err);
const struct object_keys *oss_client_keys(const struct oss_client *client);

/* object_protocol.prepare: signs for this moment. */
int oss_request_prepare(struct object_client *base, const struct object_call *call,
			struct object_request *request, struct error *err);

/* object_protocol.prepare_put: bucket and lifecycle rule, as the location asks for them. */
int oss_prepare_put(struct object_client *base, struct error *err);
