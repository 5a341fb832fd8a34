/*
 * Temporary access keys, kept valid as long as they are needed: where they come from is asked in rounds of
 * requests, one after the other, and keys with an end are renewed before it, beside whatever goes on. What
 * is asked, a struct chain_source knows.
 */
#pragma once

#include "executor/artifact/object/client.h"
#include "executor/artifact/object/keys.h"
#include "executor/artifact/store.h"
#include "executor/http/retry.h"

#include <stdint.h>

/* A renewal that failed is begun again after this. */
#define CHAIN_RENEW_PAUSE_MS 10000

/* What a step asks. */
struct chain_request {
	const char *method;
	struct buffer url, body;
	struct object_request lines; /* object_request_add() only */
	int64_t timeout_ms; /* for all of it; 0 = those of the HTTP client */
	/* The machine itself is asked: not through a proxy, and its silence is no outage, unless it has
	 * answered before. */
	bool is_local;
};
#define CHAIN_REQUEST_BYTES_MAX (256 * 1024)

enum chain_next { CHAIN_ASK, CHAIN_DONE };

/* Embedded first by its owner. */
struct chain_source {
	const char *store; /* what its requests are counted for, "s3" */
	/* Keys are renewed when less than this is left, or less than a fifth if they came with less than
	 * twice as much. */
	int64_t renew_s;
	/* The chain's, for the provider's code and request id of a failure. */
	struct retry *retry;
	/* A round begins: finds out where keys are, anew, because files and what they name may have
	 * changed. CHAIN_ASK with *request filled, CHAIN_DONE with *keys, or a negative errno. */
	int (*begin)(struct chain_source *source, struct chain_request *request,
		     struct object_keys *keys, struct error *err);
	/* The same after an answer with any status; `failure` is set instead if none came. The class of
	 * an error decides whether all of it is tried again. */
	int (*next)(struct chain_source *source, const struct http_response *response,
		    const struct error *failure, struct chain_request *request,
		    struct object_keys *keys, struct error *err);
	void (*free)(struct chain_source *source);
};

struct object_chain;

/* The chain of that name in the context's cache, which there must be, and which owns it. If there is none, it
 * is made with the source that make(context, wish) gives, NULL = no memory; artifact and observer are
 * not in that context, because a chain outlives them. Nothing is read or sent yet. */
int object_chain_share(const struct store_context *context, const char *name,
		       struct chain_source *(*make)(const struct store_context *context,
						    const void *wish),
		       const void *wish, struct object_chain **ret, struct error *err);

/* Returns when there are keys that are valid now. Rounds that fail are retried as variables of the
 * environment say (retry_policy_from_environment), once for all who wait; `observer` hears of it. */
int object_chain_wait(struct object_chain *chain, const struct store_observer *observer,
		      struct error *err);

/* What object_chain_wait has brought, or what came after it. Valid until the loop runs again. */
const struct object_keys *object_chain_keys(const struct object_chain *chain);

/* The server finds them expired: starts to renew them now. False if they have no end. */
bool object_chain_refresh(struct object_chain *chain);

/* --- for sources ----------------------------------------------------------------------------- */

/* 0 for a 2xx, else by the table of all stores (http/classify.h), "status N". */
int chain_judge(const struct http_response *response, struct error *err);

/* The first line of an answer, as part of a request: printable, without blanks, and shorter than
 * CHAIN_NAME_MAX. */
#define CHAIN_NAME_MAX 512
int chain_take_name(const struct http_response *response, char to[CHAIN_NAME_MAX],
		    struct error *err);

/* Keys out of the JSON of a metadata service: AccessKeyId, Expiration, and the fields that are named
 * differently. Without Expiration they have no end. */
int chain_take_json(const struct http_response *response, const char *secret_field,
		    const char *token_field, struct object_keys *keys, struct error *err);
