/*
 * The two requests of artifact GC. Both may be repeated, and are for GC_API_PATIENCE_MS, unless the API
 * server refuses them: an outage is waited out.
 */
#pragma once

#include "executor/base/log.h"
#include "executor/http/retry.h"
#include "executor/json/span.h"
#include "executor/kube/client.h"

/* Longer than an upgrade of an API server takes. */
#define GC_API_PATIENCE_MS (10 * 60 * 1000)

struct gc_api {
	struct kube_client *kube;
	struct retry_policy policy;
	const struct log *log;
	int64_t deadline_ms; /* monotonic; 0 = none: no attempt begins later */
};

/* -EINVAL for environment variables that cannot be used. */
int gc_api_init(struct gc_api *api, struct kube_client *kube, const struct log *log,
		struct error *err);

/* The list of the tasks with that label: the first of them, or with `token` (metadata.continue of the
 * answer before) the next one. *ret points into `text`. -ESTALE when the token is too old and the list has
 * to be begun again. */
int gc_api_list(struct gc_api *api, const char *label, const char *token, struct buffer *text,
		struct json_span *ret, struct error *err);

/* Merges the status into that of a task (RFC 7386). -ENOENT when there is no such task any more,
 * -E2BIG when the body is too large for a request, or the task would be for an object. */
int gc_api_patch(struct gc_api *api, const char *task, const struct buffer *body,
		 struct error *err);
