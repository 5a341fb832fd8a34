#include "executor/artifact/oss/credentials.h"

#include "executor/artifact/oss/source.h"
#include "executor/artifact/oss/sts.h"
#include "executor/artifact/secret.h"
#include "executor/base/cleanup.h"
#include "executor/base/clock.h"

#include <errno.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>
#include <time.h>

#define METADATA "http://100.100.100.200/latest"
#define METADATA_ROLES METADATA "/meta-data/ram/security-credentials/"
#define METADATA_TOKEN_HEADER "X-aliyun-ecs-metadata-token"
#define REQUEST_BYTES_MAX (256 * 1024)
#define NAME_MAX_BYTES 512
/* After a renewal that failed. */
#define RENEW_PAUSE_MS 10000

/* One request after the other, until one brings keys. */
enum step { STEP_OIDC, STEP_METADATA_TOKEN, STEP_METADATA_ROLE, STEP_METADATA_KEYS, STEP_URI };

struct oss_chain {
	struct store_context context;
	const struct retry_policy *policy;
	struct retry_policy metadata_policy;
	struct oss_source source;
	struct oss_credentials credentials;
	int64_t expires_s; /* wall clock; 0 = never */
	int64_t refreshed_ms; /* when oss_chain_refresh began to; 0 = never */

	enum step step;
	struct http_transfer *transfer;
	struct buffer url, body;
	char header[NAME_MAX_BYTES + 64];
	const char *headers[2];
	char metadata_token[NAME_MAX_BYTES]; /* "" = none */
	char role[NAME_MAX_BYTES];
	struct event_timer timeout, renewal;
	bool is_done; /* no request is under way */
	struct error error; /* of the last round; code 0 = it brought keys */
};

static void start_step(struct oss_chain *chain, enum step step);

static void finish(struct oss_chain *chain)
{
	event_timer_clear(&chain->timeout);
	chain->is_done = true;
	if (chain->error.code != 0 && chain->credentials.access_key)
		event_timer_set(&chain->renewal, RENEW_PAUSE_MS);
}

/* --- Answers --------------------------------------------------------------------------------------- */

static void renew_before(struct oss_chain *chain, int64_t expires_s)
{
	int64_t left_s = expires_s - (int64_t)time(NULL) - OSS_RENEW_S;

	chain->expires_s = expires_s;
	event_timer_set(&chain->renewal,
			left_s * 1000 > RENEW_PAUSE_MS ? left_s * 1000 : RENEW_PAUSE_MS);
}

static int take_keys(struct oss_chain *chain, struct json_object *answer, struct error *err)
{
	struct oss_credentials keys = { 0 };
	const char *access_key = json_get_string(answer, "AccessKeyId", "");
	const char *secret_key = json_get_string(answer, "AccessKeySecret", "");
	const char *token = json_get_string(answer, "SecurityToken", "");
	const char *expiration = json_get_string(answer, "Expiration", "");
	int64_t expires_s;
	int r;

	if (strcmp(json_get_string(answer, "Code", "Success"), "Success") != 0)
		return error_set(err, -EPROTO, "the answer has code %.64s",
				 json_get_string(answer, "Code", ""));
	if (*access_key == '\0' || *secret_key == '\0' || *token == '\0' ||
	    clock_parse_rfc3339(expiration, &expires_s) < 0)
		return error_set(err, -EPROTO,
				 "the answer lacks AccessKeyId, AccessKeySecret, SecurityToken or "
				 "Expiration");
	keys.access_key = strdup(access_key);
	keys.secret_key = strdup(secret_key);
	keys.token = strdup(token);
	r = keys.access_key && keys.secret_key && keys.token ?
		    oss_credentials_check(&keys, err) :
		    error_set(err, -ENOMEM, "out of memory");
	if (r < 0) {
		oss_credentials_done(&keys);
		return r;
	}
	oss_credentials_done(&chain->credentials);
	chain->credentials = keys;
	renew_before(chain, expires_s);
	return 0;
}

static int take_answer(struct oss_chain *chain, const struct http_response *response,
		       struct error *err)
{
	_cleanup_json_ struct json_object *answer = NULL;
	struct json_object *keys;
	int r = json_parse(buffer_string(&response->body), response->body.size, "the answer",
			   &answer, err);

	if (r < 0)
		return r;
	keys = chain->step == STEP_OIDC ? json_get(answer, "Credentials") : answer;
	return take_keys(chain, keys, err);
}

static const char *describe(enum step step)
{
	switch (step) {
	case STEP_OIDC:
		return "AssumeRoleWithOIDC";
	case STEP_URI:
		return "ALIBABA_CLOUD_CREDENTIALS_URI";
	default:
		return "the machine's RAM role";
	}
}

static void fail(struct oss_chain *chain, const struct error *cause)
{
	chain->error = *cause;
	error_prefix(&chain->error, cause->code, "credentials from %s", describe(chain->step));
	if (chain->step != STEP_OIDC && chain->step != STEP_URI && *chain->source.uri)
		start_step(chain, STEP_URI);
	else
		finish(chain);
}

/* A line of text that becomes part of a request. */
static int take_name(const struct http_response *response, char to[NAME_MAX_BYTES],
		     struct error *err)
{
	const char *text = buffer_string(&response->body);
	size_t size = strcspn(text, "\r\n");

	if (size == 0 || size >= NAME_MAX_BYTES)
		return error_set(err, -EPROTO, "the answer is no name");
	for (size_t i = 0; i < size; i++)
		if (text[i] <= ' ' || text[i] >= 0x7f)
			return error_set(err, -EPROTO, "the answer is no name");
	memcpy(to, text, size);
	to[size] = '\0';
	return 0;
}

static int judge(const struct oss_chain *chain, const struct http_response *response,
		 struct error *err)
{
	int status = response->status;
	bool is_transient = status == 408 || status >= 500;
	_cleanup_json_ struct json_object *answer = NULL;

	if (status >= 200 && status <= 299)
		return 0;
	/* STS says why, in the documents of all Alibaba Cloud APIs. */
	json_parse(buffer_string(&response->body), response->body.size, "the answer", &answer,
		   NULL);
	return error_set_class(
		err, -EACCES,
		status == 429 ? ERROR_THROTTLED :
		is_transient  ? ERROR_TRANSIENT :
				ERROR_PERMANENT,
		"%.300s (%.64s%sstatus %d%s%.64s)", json_get_string(answer, "Message", ""),
		json_get_string(answer, "Code", ""),
		*json_get_string(answer, "Code", "") ? ", " : "", status,
		chain->step == STEP_OIDC ? ", request id " : "",
		chain->step == STEP_OIDC ? json_get_string(answer, "RequestId", "?") : "");
}

/* The metadata service of old knows no tokens; whoever forbids that is refused then. */
static void after_token(struct oss_chain *chain, const struct http_response *response)
{
	const char *is_forbidden = getenv("ALIBABA_CLOUD_IMDSV1_DISABLED");
	struct error err = ERROR_NONE;
	int r = judge(chain, response, &err);

	chain->metadata_token[0] = '\0';
	if (r == 0)
		r = take_name(response, chain->metadata_token, &err);
	if (r < 0 && is_forbidden && strcasecmp(is_forbidden, "true") == 0) {
		fail(chain, &err);
		return;
	}
	snprintf(chain->role, sizeof(chain->role), "%s", chain->source.role);
	start_step(chain, *chain->role ? STEP_METADATA_KEYS : STEP_METADATA_ROLE);
}

/* What follows an answer: another step, or the end. */
static void proceed(struct oss_chain *chain, const struct http_response *response)
{
	struct error err = ERROR_NONE;
	int r = judge(chain, response, &err);

	if (r == 0)
		r = chain->step == STEP_METADATA_ROLE ? take_name(response, chain->role, &err) :
							take_answer(chain, response, &err);
	if (r < 0) {
		fail(chain, &err);
	} else if (chain->step == STEP_METADATA_ROLE) {
		start_step(chain, STEP_METADATA_KEYS);
	} else {
		chain->error = ERROR_NONE;
		finish(chain);
	}
}

static void on_answer(struct http_transfer *transfer, const struct http_response *response,
		      const struct error *error, void *context)
{
	struct oss_chain *chain = context;

	event_timer_clear(&chain->timeout);
	chain->transfer = NULL;
	if (error->code != 0)
		fail(chain, error);
	else if (chain->step == STEP_METADATA_TOKEN)
		after_token(chain, response);
	else
		proceed(chain, response);
	if (response && response->body.data)
		explicit_bzero(response->body.data, response->body.size);
	http_transfer_free(transfer);
}

/* --- Requests --------------------------------------------------------------------------------------- */

static int build_url(struct oss_chain *chain, struct error *err)
{
	int r = 0;

	switch (chain->step) {
	case STEP_OIDC:
		return sts_request(&chain->source, &chain->context, &chain->url, &chain->body, err);
	case STEP_METADATA_TOKEN:
		r = buffer_append_string(&chain->url, METADATA "/api/token");
		break;
	case STEP_METADATA_ROLE:
		r = buffer_append_string(&chain->url, METADATA_ROLES);
		break;
	case STEP_METADATA_KEYS:
		r = buffer_append_string(&chain->url, METADATA_ROLES);
		if (r == 0)
			r = object_url_encode(&chain->url, chain->role, false);
		break;
	case STEP_URI:
		r = buffer_append_string(&chain->url, chain->source.uri);
		break;
	}
	return r < 0 ? error_set(err, r, "the address is too long") : 0;
}

static void set_header(struct oss_chain *chain)
{
	chain->header[0] = '\0';
	if (chain->step == STEP_OIDC)
		snprintf(chain->header, sizeof(chain->header),
			 "Content-Type: application/x-www-form-urlencoded");
	else if (chain->step == STEP_METADATA_TOKEN)
		snprintf(chain->header, sizeof(chain->header),
			 METADATA_TOKEN_HEADER "-ttl-seconds: 21600");
	else if (chain->step != STEP_URI && chain->metadata_token[0])
		snprintf(chain->header, sizeof(chain->header), METADATA_TOKEN_HEADER ": %s",
			 chain->metadata_token);
	chain->headers[0] = chain->header[0] ? chain->header : NULL;
}

static void drop_request(struct oss_chain *chain)
{
	if (chain->body.data)
		explicit_bzero(chain->body.data, chain->body.size);
	buffer_done(&chain->url);
	buffer_done(&chain->body);
}

static void on_timeout(struct event_timer *timer)
{
	struct oss_chain *chain =
		(struct oss_chain *)((char *)timer - offsetof(struct oss_chain, timeout));
	struct error err = ERROR_NONE;

	http_transfer_free(TAKE_PTR(chain->transfer));
	error_set_class(&err, -ETIMEDOUT, ERROR_TRANSIENT, "no answer within %d ms",
			OSS_METADATA_TIMEOUT_MS);
	fail(chain, &err);
}

static void start_step(struct oss_chain *chain, enum step step)
{
	bool is_metadata = step != STEP_OIDC && step != STEP_URI;
	struct http_request request = { 0 };
	struct error err = ERROR_NONE;

	chain->step = step;
	drop_request(chain);
	set_header(chain);
	if (build_url(chain, &err) < 0) {
		fail(chain, &err);
		return;
	}
	request = (struct http_request){
		.method = step == STEP_OIDC           ? "POST" :
			  step == STEP_METADATA_TOKEN ? "PUT" :
							"GET",
		.url = chain->url.data,
		.headers = chain->headers,
		/* Link-local: a proxy would ask on behalf of another machine. */
		.proxy = is_metadata ? "" : NULL,
	};
	if (step == STEP_OIDC || step == STEP_METADATA_TOKEN)
		request.body = (struct http_body){ .data = buffer_string(&chain->body),
						   .size = chain->body.size };
	chain->transfer = http_start(chain->context.http, &request, on_answer, chain, &err);
	if (!chain->transfer)
		fail(chain, &err);
	else if (is_metadata)
		event_timer_set(&chain->timeout, OSS_METADATA_TIMEOUT_MS);
}

/* --- The chain --------------------------------------------------------------------------------------- */

/* One round. Finds the source anew: files and variables that name a token may have changed. */
static void begin(struct oss_chain *chain)
{
	struct oss_source *source = &chain->source;

	if (!chain->is_done)
		return;
	chain->is_done = false;
	chain->error = ERROR_NONE;
	oss_source_done(source);
	if (oss_source_find(source, &chain->context, &chain->error) < 0) {
		error_prefix(&chain->error, chain->error.code, "credentials");
		finish(chain);
		return;
	}
	switch (source->kind) {
	case OSS_SOURCE_KEYS:
		oss_credentials_done(&chain->credentials);
		chain->credentials = source->keys;
		source->keys = (struct oss_credentials){ 0 };
		oss_credentials_check(&chain->credentials, &chain->error);
		finish(chain);
		return;
	case OSS_SOURCE_OIDC:
		start_step(chain, STEP_OIDC);
		return;
	case OSS_SOURCE_METADATA:
		start_step(chain, STEP_METADATA_TOKEN);
		return;
	case OSS_SOURCE_URI:
		start_step(chain, STEP_URI);
		return;
	}
}

static void on_renewal(struct event_timer *timer)
{
	begin((struct oss_chain *)((char *)timer - offsetof(struct oss_chain, renewal)));
}

static bool is_current(const struct oss_chain *chain)
{
	return chain->credentials.access_key &&
	       (chain->expires_s == 0 || (int64_t)time(NULL) < chain->expires_s);
}

static const struct retry_policy *policy_of(struct oss_chain *chain)
{
	return chain->source.kind == OSS_SOURCE_METADATA ? &chain->metadata_policy : chain->policy;
}

int oss_chain_wait(struct oss_chain *chain, struct error *err)
{
	struct event_loop *loop = chain->context.loop;
	struct error last = ERROR_NONE;
	struct retry retry;
	int r;

	if (is_current(chain))
		return 0;
	retry_begin(&retry, chain->policy, loop, chain->context.log, "get credentials");
	do {
		begin(chain);
		retry.policy = policy_of(chain);
		r = event_loop_wait(loop, &chain->is_done);
		if (r == -ECANCELED)
			return event_loop_cancelled_error(err);
		if (r < 0)
			return error_errno(err, r, "wait for credentials");
		last = chain->error;
	} while (last.code != 0 && retry_again(&retry, &last));
	if (last.code != 0 && err)
		*err = last;
	return last.code;
}

const struct oss_credentials *oss_chain_credentials(const struct oss_chain *chain)
{
	return &chain->credentials;
}

bool oss_chain_refresh(struct oss_chain *chain)
{
	if (chain->expires_s == 0)
		return false;
	/* Several requests that were under way complain. */
	if (chain->refreshed_ms != 0 && chain->error.code == 0 &&
	    clock_now_ms() - chain->refreshed_ms < RENEW_PAUSE_MS)
		return true;
	chain->refreshed_ms = clock_now_ms();
	begin(chain);
	return true;
}

int oss_chain_new(const struct store_context *context, const struct retry_policy *policy,
		  struct oss_chain **ret, struct error *err)
{
	struct oss_chain *chain = calloc(1, sizeof(*chain));
	int r;

	if (!chain)
		return error_set(err, -ENOMEM, "out of memory");
	chain->context = *context;
	chain->policy = policy;
	chain->metadata_policy = *policy;
	/* A machine without the service is no outage. */
	chain->metadata_policy.min_total_ms = 0;
	chain->metadata_policy.rounds = 2;
	chain->url = BUFFER_INIT(REQUEST_BYTES_MAX);
	chain->body = BUFFER_INIT(REQUEST_BYTES_MAX);
	chain->is_done = true;
	r = event_timer_init(&chain->timeout, context->loop, on_timeout);
	if (r == 0)
		r = event_timer_init(&chain->renewal, context->loop, on_renewal);
	if (r < 0) {
		oss_chain_free(chain);
		return error_errno(err, r, "set up credentials");
	}
	*ret = chain;
	return 0;
}

void oss_chain_free(struct oss_chain *chain)
{
	if (!chain)
		return;
	http_transfer_free(chain->transfer);
	event_timer_done(&chain->timeout);
	event_timer_done(&chain->renewal);
	drop_request(chain);
	oss_source_done(&chain->source);
	oss_credentials_done(&chain->credentials);
	free(chain);
}
