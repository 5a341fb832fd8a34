/*
 * Requests to the Kubernetes API, asynchronous on the loop, JSON in and out. One attempt each: who
 * wants more asks the retry engine, which the error's class is made for. The exceptions are a 401,
 * after which the token is read again, and a certificate of a stranger, after which the CA is: then the
 * request is repeated, once.
 *
 *	struct kube_request request = { .method = "PATCH", .path = path,
 *					.content_type = KUBE_MERGE_PATCH, .body = text, .size = n };
 *	r = kube_perform(client, &request, &object, NULL, err);
 *
 * Conventions: https://kubernetes.io/docs/reference/using-api/api-concepts/
 */
#pragma once

#include "executor/http/http.h"
#include "executor/http/transient.h"
#include "executor/json/json.h"
#include "executor/kube/config.h"
#include "executor/kube/status.h"

/* Largest answer read: etcd holds objects of up to 1.5 MiB, whose JSON may be longer. */
#define KUBE_ANSWER_BYTES_MAX (4 * 1024 * 1024)

#define KUBE_JSON "application/json"
#define KUBE_MERGE_PATCH "application/merge-patch+json" /* RFC 7386 */

struct kube_client;
struct kube_call;

/* Borrows http (whose user agent is sent), config and pattern for its life; config's token and
 * CA may be replaced. Permanent errors whose text matches `pattern` (may be NULL) become transient. NULL when
 * memory is out. */
struct kube_client *kube_client_new(struct http_client *http, struct kube_config *config,
				    const struct transient_pattern *pattern);
/* No call may be under way. */
void kube_client_free(struct kube_client *client);
static inline void kube_client_freep(struct kube_client **client)
{
	kube_client_free(*client);
}
const char *kube_client_namespace(const struct kube_client *client);
struct event_loop *kube_client_loop(const struct kube_client *client);

struct kube_request {
	const char *method;
	const char *path; /* from the first slash on, percent-encoded; copied */
	const char *content_type; /* of the body; NULL without one */
	const void *body; /* must stay until the end */
	size_t size;
	/* Receives the JSON of a 2xx as it came, in place of an object, up to its own maximum; NULL = an
	 * object is wanted. */
	struct buffer *text;
	bool is_answer_unread; /* a 2xx is all that is wanted */
};

/* Called exactly once, unless the call is freed before. error->code is 0 for a 2xx; `object` is its
 * JSON (lent; NULL if the answer was empty or the call failed). The call may be freed inside. */
typedef void (*kube_callback)(struct kube_call *call, struct json_object *object,
			      const struct kube_status *status, const struct error *error,
			      void *context);

/* Never calls back before it has returned. NULL with err filled. */
struct kube_call *kube_start(struct kube_client *client, const struct kube_request *request,
			     kube_callback callback, void *context, struct error *err);
/* Ends it in whatever state; NULL is fine. */
void kube_call_free(struct kube_call *call);

/* Starts and waits. 0 with *ret_object (owned by the caller, may be NULL) or a negative errno;
 * -ECANCELED when the loop is cancelled meanwhile. ret_object and ret_status may be NULL. */
int kube_perform(struct kube_client *client, const struct kube_request *request,
		 struct json_object **ret_object, struct kube_status *ret_status,
		 struct error *err);
