#include "gc/api.h"

#include "executor/base/cleanup.h"

#include <ctype.h>
#include <errno.h>
#include <string.h>

#define COLLECTION "/apis/argoproj.io/v1alpha1/namespaces/"
#define RESOURCE "workflowartifactgctasks"
#define PATH_BYTES_MAX (64 * 1024)

/* With one task in an answer, all of it fits into a small memory: the API server's limit of an object is
 * half of what is read. */
#define TASKS_PER_ANSWER "1"

int gc_api_init(struct gc_api *api, struct kube_client *kube, const struct log *log,
		struct error *err)
{
	int r;

	*api = (struct gc_api){ .kube = kube, .log = log };
	r = retry_policy_from_environment(&api->policy, err);
	api->policy.min_total_ms = GC_API_PATIENCE_MS;
	return r;
}

static int append_escaped(struct buffer *path, const char *s)
{
	int r = 0;

	for (; *s && r == 0; s++)
		r = isalnum((unsigned char)*s) || strchr("-._~", *s) ?
			    buffer_append(path, s, 1) :
			    buffer_append_format(path, "%%%02X", (unsigned char)*s);
	return r;
}

/* Whether the request is larger than the API server, or a proxy before it, reads, or the object larger than
 * its database takes. */
static bool is_too_large(const struct kube_status *status, const struct error *err)
{
	return status->http == 413 ||
	       (status->http >= 500 &&
		(strstr(err->message, "too large") || strstr(err->message, "larger than max")));
}

/* Both requests do nothing when they are repeated that they have not done before: any failure inside the
 * server is worth another attempt. */
static void judge(const struct kube_status *status, struct error *err)
{
	if (is_too_large(status, err))
		err->class = ERROR_PERMANENT;
	else if (err->class == ERROR_PERMANENT && (status->http >= 500 || status->http == 409))
		err->class = ERROR_TRANSIENT;
}

static void explain(const struct kube_status *status, const char *verb, const char *resource,
		    struct error *err)
{
	if (status->http == 403)
		error_append(err, "; grant the pod's service account %s on %s.argoproj.io", verb,
			     resource);
	else if (status->http == 401)
		error_append(err, "; the API server does not accept the pod's service account "
				  "token");
}

static int perform(struct gc_api *api, const char *what, const struct kube_request *request,
		   struct kube_status *status, struct error *err)
{
	struct retry retry;
	int r;

	retry_begin(&retry, &api->policy, kube_client_loop(api->kube), api->log, what);
	retry.deadline_ms = api->deadline_ms;
	do {
		*status = (struct kube_status){ .retry_after_ms = -1 };
		r = kube_perform(api->kube, request, NULL, status, err);
		if (r == 0 || r == -ECANCELED)
			return r;
		judge(status, err);
		retry.retry_after_ms = status->retry_after_ms;
	} while (retry_again(&retry, err));
	return err->code;
}

/* The path of the list; nothing is left in `path` after a failure. */
static int make_list_path(const struct gc_api *api, const char *label, const char *token,
			  struct buffer *path)
{
	int r = buffer_append_format(path,
				     COLLECTION
				     "%s/" RESOURCE
				     "?labelSelector=workflows.argoproj.io%%2Fartifact-gc-pod%%3D",
				     kube_client_namespace(api->kube));

	if (r == 0)
		r = append_escaped(path, label);
	if (r == 0)
		r = buffer_append_string(path, "&limit=" TASKS_PER_ANSWER);
	if (r == 0 && token)
		r = buffer_append_string(path, "&continue=");
	return r == 0 && token ? append_escaped(path, token) : r;
}

int gc_api_list(struct gc_api *api, const char *label, const char *token, struct buffer *text,
		struct json_span *ret, struct error *err)
{
	_cleanup_buffer_ struct buffer path = BUFFER_INIT(PATH_BYTES_MAX);
	struct kube_request request = { .method = "GET", .text = text };
	struct retry_policy policy = api->policy;
	struct kube_status status;
	struct retry retry;
	int r = make_list_path(api, label, token, &path);

	if (r < 0)
		return error_errno(err, r, "list artifact GC tasks");
	request.path = path.data;
	/* What ends early may look complete: a few more looks tell. */
	policy.min_total_ms = 0;
	retry_begin(&retry, &policy, kube_client_loop(api->kube), api->log,
		    "read artifact GC tasks");
	retry.deadline_ms = api->deadline_ms;
	do {
		r = perform(api, "list artifact GC tasks", &request, &status, err);
		if (r < 0)
			break;
		r = json_span_check(buffer_string(text), text->size,
				    "list artifact GC tasks: answer", ret, err);
		if (r == 0)
			return 0;
		err->class = ERROR_TRANSIENT;
	} while (retry_again(&retry, err));
	if (r == -ECANCELED || status.http == 200)
		return err->code;
	if (token && status.http == 410)
		return error_set(err, -ESTALE, "the list of artifact GC tasks is too old");
	explain(&status, "list", RESOURCE, err);
	return error_prefix(err, r, "list artifact GC tasks");
}

int gc_api_patch(struct gc_api *api, const char *task, const struct buffer *body, struct error *err)
{
	_cleanup_buffer_ struct buffer path = BUFFER_INIT(PATH_BYTES_MAX);
	struct kube_request request = {
		.method = "PATCH",
		.content_type = KUBE_MERGE_PATCH,
		.body = body->data,
		.size = body->size,
		/* That is the whole task. */
		.is_answer_unread = true,
	};
	struct kube_status status;
	int r = buffer_append_format(&path, COLLECTION "%s/" RESOURCE "/",
				     kube_client_namespace(api->kube));

	if (r == 0)
		r = append_escaped(&path, task);
	if (r == 0)
		r = buffer_append_string(&path, "/status");
	if (r < 0)
		return error_errno(err, r, "artifact GC task %s", task);
	request.path = path.data;
	r = perform(api, "store results of artifact GC", &request, &status, err);
	if (r == 0 || r == -ECANCELED)
		return r;
	if (is_too_large(&status, err))
		return err->code = -E2BIG;
	explain(&status, "patch", RESOURCE "/status", err);
	return error_prefix(err, r, "artifact GC task %s: store the results", task);
}
