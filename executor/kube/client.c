#include "executor/kube/client.h"

#include "executor/base/cleanup.h"
#include "executor/http/digest.h"

#include <errno.h>
#include <stdio.h>
#include <string.h>

/* Accept, Content-Type, Authorization, Impersonate-User, Impersonate-Uid and one per group. */
#define FIXED_HEADERS 5
#define HEADER_BYTES_MAX (KUBE_TOKEN_BYTES_MAX * 3)

struct kube_client {
	struct http_client *http;
	struct kube_config *config;
	const struct transient_pattern *pattern;
	size_t group_count;
};

struct kube_call {
	struct kube_client *client;
	kube_callback callback;
	void *context;
	const char *method, *content_type;
	const void *body;
	size_t size;
	struct buffer *text;
	bool is_answer_unread;
	char *url;
	char **headers; /* NULL terminated; hold secrets */
	struct http_transfer *transfer;
	struct event_timer timer;
	const char *ca_pem; /* it was sent with; the configuration's */
	bool is_repeated; /* with a fresh token, or a fresh CA */
};

struct kube_client *kube_client_new(struct http_client *http, struct kube_config *config,
				    const struct transient_pattern *pattern)
{
	struct kube_client *client = calloc(1, sizeof(*client));

	if (!client)
		return NULL;
	client->http = http;
	client->config = config;
	client->pattern = pattern;
	while (config->as_groups && config->as_groups[client->group_count])
		client->group_count++;
	return client;
}

void kube_client_free(struct kube_client *client)
{
	free(client);
}

const char *kube_client_namespace(const struct kube_client *client)
{
	return client->config->namespace;
}

struct event_loop *kube_client_loop(const struct kube_client *client)
{
	return http_client_loop(client->http);
}

/* --- headers ---------------------------------------------------------------------------- */

static void drop_headers(struct kube_call *call)
{
	for (char **header = call->headers; header && *header; header++) {
		explicit_bzero(*header, strlen(*header));
		free(*header);
	}
	free(call->headers);
	call->headers = NULL;
}

/* `name` ends with what stands before the value: ": " or ": Bearer ". */
static int add_header(char ***position, const char *name, const char *value)
{
	if (!value)
		return 0;
	if (asprintf(*position, "%s%s", name, value) < 0) {
		**position = NULL;
		return -ENOMEM;
	}
	(*position)++;
	return 0;
}

/* RFC 7617 */
static int add_basic(char ***position, const struct kube_config *config)
{
	_cleanup_buffer_ struct buffer value = BUFFER_SECRET(HEADER_BYTES_MAX);
	char *pair = NULL;
	int r;

	if (asprintf(&pair, "%s:%s", config->username, config->password ? config->password : "") <
	    0)
		return -ENOMEM;
	r = digest_base64_encode(pair, strlen(pair), &value);
	if (r == 0)
		r = add_header(position, "Authorization: Basic ", value.data);
	explicit_bzero(pair, strlen(pair));
	free(pair);
	return r;
}

static int add_authorization(char ***position, struct kube_config *config, bool is_fresh_wanted)
{
	const char *token = kube_config_token(config, is_fresh_wanted);

	if (token && *token)
		return add_header(position, "Authorization: Bearer ", token);
	return config->username ? add_basic(position, config) : 0;
}

static int make_headers(struct kube_call *call, bool is_fresh_wanted)
{
	struct kube_client *client = call->client;
	struct kube_config *config = client->config;
	char **position;
	int r;

	drop_headers(call);
	call->headers = calloc(FIXED_HEADERS + client->group_count + 1, sizeof(char *));
	if (!call->headers)
		return -ENOMEM;
	position = call->headers;
	r = add_header(&position, "Accept: ", KUBE_JSON);
	if (r == 0)
		r = add_header(&position, "Content-Type: ", call->content_type);
	if (r == 0)
		r = add_authorization(&position, config, is_fresh_wanted);
	if (r == 0)
		r = add_header(&position, "Impersonate-User: ", config->as);
	if (r == 0)
		r = add_header(&position, "Impersonate-Uid: ", config->as_uid);
	for (size_t i = 0; r == 0 && i < client->group_count; i++)
		r = add_header(&position, "Impersonate-Group: ", config->as_groups[i]);
	return r;
}

/* --- one call --------------------------------------------------------------------------- */

static void finish(struct kube_call *call, struct json_object *object,
		   const struct kube_status *status, const struct error *error)
{
	kube_callback callback = TAKE_PTR(call->callback);

	event_timer_clear(&call->timer);
	if (callback)
		callback(call, object, status, error, call->context);
}

static int send_request(struct kube_call *call, bool is_fresh_wanted, struct error *err);

/* What the kubelet keeps up to date may have been replaced since it was read. */
static bool is_worth_repeating(const struct kube_call *call, const struct kube_status *status,
			       const struct error *err)
{
	struct kube_config *config = call->client->config;

	if (call->is_repeated)
		return false;
	if (status->http == 401)
		return config->token_path;
	if (status->http != 0 || err->code != -EPROTO)
		return false;
	/* Another call may have come upon it meanwhile. */
	return kube_config_refresh_ca(config) || config->ca_pem != call->ca_pem;
}

static void on_response(struct http_transfer *transfer, const struct http_response *response,
			const struct error *error, void *context)
{
	struct kube_call *call = context;
	struct kube_status status = { .retry_after_ms = -1, .is_outcome_unknown = true };
	_cleanup_json_ struct json_object *object = NULL;
	struct error err = *error;

	(void)transfer;
	if (err.code == 0)
		kube_status_decode(call->method, call->url, response, &status,
				   call->text || call->is_answer_unread ? NULL : &object, &err);
	if (err.code == 0 && call->text) {
		buffer_reset(call->text);
		if (buffer_append(call->text, response->body.data, response->body.size) < 0)
			error_set(&err, -ENOMEM, "%s %s: out of memory", call->method, call->url);
	}
	if (is_worth_repeating(call, &status, &err)) {
		struct error again = ERROR_NONE;

		call->is_repeated = true;
		http_transfer_free(TAKE_PTR(call->transfer));
		if (send_request(call, true, &again) == 0)
			return;
		err = again;
	}
	if (err.code < 0 && err.class == ERROR_PERMANENT &&
	    transient_pattern_matches(call->client->pattern, err.message))
		err.class = ERROR_TRANSIENT;
	finish(call, object, &status, &err);
}

static void on_timeout(struct event_timer *timer)
{
	struct kube_call *call =
		(struct kube_call *)((char *)timer - offsetof(struct kube_call, timer));
	struct kube_status status = { .retry_after_ms = -1, .is_outcome_unknown = true };
	struct error err = ERROR_NONE;

	http_transfer_free(TAKE_PTR(call->transfer));
	error_set_class(&err, -ETIMEDOUT, ERROR_TRANSIENT,
			"%s %s: no answer within the request timeout of %lld ms", call->method,
			call->url, (long long)call->client->config->request_timeout_ms);
	finish(call, NULL, &status, &err);
}

static size_t size_of(const char *s)
{
	return s ? strlen(s) : 0;
}

static int send_request(struct kube_call *call, bool is_fresh_wanted, struct error *err)
{
	struct kube_config *config = call->client->config;
	struct http_request request = {
		.method = call->method,
		.url = call->url,
		.body = { .data = call->body, .size = call->size },
		.tls = {
			.server_name = config->tls_server_name,
			.client_cert_pem = config->client_cert_pem,
			.client_cert_pem_size = size_of(config->client_cert_pem),
			.client_key_pem = config->client_key_pem,
			.client_key_pem_size = size_of(config->client_key_pem),
			.is_insecure = config->is_insecure,
		},
		.proxy = config->proxy_url,
		.body_max = call->text ? call->text->max : KUBE_ANSWER_BYTES_MAX,
	};

	kube_config_follow_ca(config);
	request.tls.ca_pem = call->ca_pem = config->ca_pem;
	request.tls.ca_pem_size = size_of(config->ca_pem);
	if (make_headers(call, is_fresh_wanted) < 0)
		return error_set(err, -ENOMEM, "%s %s: out of memory", call->method, call->url);
	request.headers = (const char *const *)call->headers;
	call->transfer = http_start(call->client->http, &request, on_response, call, err);
	if (!call->transfer)
		return err && err->code < 0 ? err->code : -ENOMEM;
	if (config->request_timeout_ms > 0)
		event_timer_set(&call->timer, config->request_timeout_ms);
	return 0;
}

struct kube_call *kube_start(struct kube_client *client, const struct kube_request *request,
			     kube_callback callback, void *context, struct error *err)
{
	struct kube_call *call = calloc(1, sizeof(*call));
	struct error local = ERROR_NONE;
	int r;

	if (!err)
		err = &local;
	if (!call) {
		error_set(err, -ENOMEM, "%s %s: out of memory", request->method, request->path);
		return NULL;
	}
	*call = (struct kube_call){
		.client = client,
		.callback = callback,
		.context = context,
		.method = request->method,
		.content_type = request->content_type,
		.body = request->body,
		.size = request->size,
		.text = request->text,
		.is_answer_unread = request->is_answer_unread,
	};
	r = event_timer_init(&call->timer, kube_client_loop(client), on_timeout);
	if (r < 0)
		error_errno(err, r, "%s %s: timer", request->method, request->path);
	else if (asprintf(&call->url, "%s%s", client->config->server, request->path) < 0) {
		call->url = NULL;
		r = error_set(err, -ENOMEM, "%s %s: out of memory", request->method, request->path);
	}
	if (r >= 0)
		r = send_request(call, false, err);
	if (r < 0) {
		kube_call_free(call);
		return NULL;
	}
	return call;
}

void kube_call_free(struct kube_call *call)
{
	if (!call)
		return;
	http_transfer_free(call->transfer);
	event_timer_done(&call->timer);
	drop_headers(call);
	free(call->url);
	free(call);
}

/* --- waiting ---------------------------------------------------------------------------- */

struct outcome {
	bool done;
	struct json_object *object;
	struct kube_status status;
	struct error error;
};

static void keep_outcome(struct kube_call *call, struct json_object *object,
			 const struct kube_status *status, const struct error *error, void *context)
{
	struct outcome *outcome = context;

	(void)call;
	outcome->object = json_ref(object);
	outcome->status = *status;
	outcome->error = *error;
	outcome->done = true;
}

int kube_perform(struct kube_client *client, const struct kube_request *request,
		 struct json_object **ret_object, struct kube_status *ret_status, struct error *err)
{
	struct outcome outcome = { .done = false };
	struct error local = ERROR_NONE;
	struct kube_call *call = kube_start(client, request, keep_outcome, &outcome, &local);
	int r;

	if (!call) {
		if (err)
			*err = local;
		return local.code;
	}
	r = event_loop_wait(kube_client_loop(client), &outcome.done);
	kube_call_free(call);
	if (r < 0) {
		json_free(outcome.object);
		return r == -ECANCELED ?
			       event_loop_cancelled_error(err) :
			       error_errno(err, r, "%s %s", request->method, request->path);
	}
	if (ret_status)
		*ret_status = outcome.status;
	if (outcome.error.code < 0) {
		if (err)
			*err = outcome.error;
		return outcome.error.code;
	}
	if (ret_object)
		*ret_object = outcome.object;
	else
		json_free(outcome.object);
	return 0;
}
