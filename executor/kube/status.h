/*
 * What an answer of the API server means: the Status object of a refusal, and the class that tells
 * whether another attempt makes sense.
 *
 * Status objects: https://kubernetes.io/docs/reference/kubernetes-api/common-definitions/status/
 * Transient is what Argo Workflows 4.1.2's executor takes for transient (util/errors), and in addition
 * 408 and every 5xx: a server in trouble seldom says so in words that are known beforehand. Except for
 * 501, 505 and an object too large for etcd, which will be refused again.
 */
#pragma once

#include "executor/base/error.h"
#include "executor/http/http.h"
#include "executor/json/json.h"

#include <stdint.h>

#define KUBE_REASON_MAX 64

struct kube_status {
	int http; /* HTTP status; 0 = no answer arrived */
	char reason[KUBE_REASON_MAX]; /* "AlreadyExists", "Conflict", …; "" = none given */
	int64_t retry_after_ms; /* least pause that the server asks for; -1 = none */
	/* It is not known whether the request was carried out: the answer was lost or cut, or the
	 * server gave up in the middle (5xx). */
	bool is_outcome_unknown;
};

/* Judges a complete HTTP response. Returns 0 and sets *ret_object (owned by the caller; NULL for an
 * answer without a body) for a 2xx with JSON, else a negative errno with err filled. With NULL for
 * ret_object the JSON of a 2xx is not parsed:
 *
 *	401, 403 -EACCES; 404 -ENOENT (NOT_FOUND); 409 -EEXIST; 413, 422, other 4xx -EINVAL;
 *	429 -EBUSY (THROTTLED); 5xx -EIO; 3xx -EPROTO; a 2xx that is no JSON -EPROTO, one that is
 *	cut -EBADMSG (TRANSIENT), one above the limit -EMSGSIZE
 *
 * The message is the server's own, on one line, for a Status object, else says what arrived. */
int kube_status_decode(const char *method, const char *url, const struct http_response *response,
		       struct kube_status *status, struct json_object **ret_object,
		       struct error *err);

/* The class of a refusal by HTTP status, reason and message. */
enum error_class kube_status_class(int http, const char *reason, const char *message);
