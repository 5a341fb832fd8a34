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

/* Keys are renewed when less than this, or less than a fifth of the time that they had when they came,
 * is left. */
#define CHAIN_RENEW_S 300
/* After a renewal that failed. */
#define CHAIN_RENEW_PAUSE_MS 10000

/* What a step asks. */
struct chain_request {
	const char *method;
	struct buffer url, body;
	struct object_request lines; /* object_request_add() only */
	int64_t timeout_ms; /* for all of it; 0 = those of the HTTP client */
	/* The machine itself is asked: not through a proxy, and its silence is no outage. */
	bool is_local;
};
#define CHAIN_REQUEST_BYTES_MAX (256 * 1024)

enum chain_next { CHAIN_ASK, CHAIN_DONE };

/* Embedded first by its owner. */
struct chain_source {
	/* A round begins: finds out where keys are, anew, because files and what they name may have
	 * changed. CHAIN_ASK with *request filled, CHAIN_DONE with *keys, or a negative errno. */
	int (*begin)(struct chain_source *source, struct chain_request *request,
		     struct object_keys *keys, struct error *err);
	/* The same after an answer with any status; `failure` is set instead if none came. */
	int (*next)(struct chain_source *source, const struct http_response *response,
		    const struct error *failure, struct chain_request *request,
		    struct object_keys *keys, struct error *err);
	void (*free)(struct chain_source *source);
};

struct object_chain;

/* Takes the source, also on failure. Nothing is read or sent yet. */
int object_chain_new(const struct store_context *context, struct chain_source *source,
		     struct object_chain **ret, struct error *err);
void object_chain_free(struct object_chain *chain);

/* Returns when there are keys that are valid now; retries as the policy says. */
int object_chain_wait(struct object_chain *chain, const struct retry_policy *policy,
		      struct error *err);

/* What object_chain_wait has brought, or what came after it. Valid until the loop runs again. */
const struct object_keys *object_chain_keys(const struct object_chain *chain);

/* The server finds them expired: starts to renew them now. False if they have no end. */
bool object_chain_refresh(struct object_chain *chain);

/* --- for sources ----------------------------------------------------------------------------- */

/* The first line of an answer, as part of a request: printable, without blanks, and shorter than
 * CHAIN_NAME_MAX. */
#define CHAIN_NAME_MAX 512
int chain_take_name(const struct http_response *response, char to[CHAIN_NAME_MAX],
		    struct error *err);

/* Keys out of the JSON of a metadata service: AccessKeyId, Expiration, and the fields that are named
 * differently. Without Expiration they have no end. */
int chain_take_json(const struct http_response *response, const char *secret_field,
		    const char *token_field, struct object_keys *keys, struct error *err);
