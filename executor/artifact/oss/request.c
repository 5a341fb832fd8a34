/* From a call to a signed HTTP request. */
#include "executor/artifact/oss/client.h"
#include "executor/artifact/oss/signature.h"
#include "executor/artifact/oss/url.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#define HEADERS_SIGNED_MAX 4
#define AUTHORIZATION_MAX (32 * 1024)

static int sign(const struct oss_client *client, const struct object_call *call, const char *bucket,
		struct object_request *request)
{
	const struct object_keys *keys = oss_client_keys(client);
	_cleanup_buffer_ struct buffer authorization = BUFFER_INIT(AUTHORIZATION_MAX);
	time_t now = time(NULL) + (time_t)client->base.clock_offset_s;
	char date[OSS_DATE_SIZE], stamp[SIGN_DATE_SIZE];
	struct sign_header headers[HEADERS_SIGNED_MAX];
	struct oss_signing signing = {
		.method = call->method,
		.bucket = bucket,
		.key = call->key,
		.query = call->query,
		.headers = headers,
		.access_key = keys->access_key,
		.secret_key = keys->secret_key,
		.region = client->config.region,
		.time = now,
	};
	size_t count = 0;
	int r;

	oss_date(now, date);
	sign_date(now, stamp);
	if (call->content_type)
		headers[count++] = (struct sign_header){ "content-type", call->content_type };
	if (!client->is_v1) {
		headers[count++] = (struct sign_header){ "x-oss-content-sha256", OSS_UNSIGNED };
		headers[count++] = (struct sign_header){ "x-oss-date", stamp };
	}
	if (keys->token)
		headers[count++] = (struct sign_header){ "x-oss-security-token", keys->token };
	signing.header_count = count;
	r = client->is_v1 ? oss_sign_v1(&signing, &authorization) :
			    oss_sign_v4(&signing, &authorization);
	if (r == 0)
		r = object_request_add(request, "date", date);
	for (size_t i = 0; i < count && r == 0; i++)
		r = object_request_add(request, headers[i].name, headers[i].value);
	return r < 0 ? r : object_request_add(request, "authorization", authorization.data);
}

/* Argo reads one variable for all schemes, and only beside static keys. */
static const char *proxy_of(const struct oss_config *config)
{
	const char *proxy = config->want_chain ? NULL : getenv("https_proxy");

	return proxy && *proxy && config->is_http ? proxy : NULL;
}

int oss_request_prepare(struct object_client *base, const struct object_call *call,
			struct object_request *request, struct error *err)
{
	struct oss_client *client = (struct oss_client *)base;
	const char *bucket = call->is_service ? NULL : client->config.bucket;
	int r;

	*request = (struct object_request){ 0 };
	r = oss_url_build(&request->url, &(struct oss_target){ .config = &client->config,
							       .bucket = bucket,
							       .key = call->key,
							       .query = call->query });
	if (r == 0)
		r = sign(client, call, bucket, request);
	if (r == 0)
		r = object_request_add(request, "range", call->range);
	if (r == 0)
		r = object_request_add(request, "if-match", call->if_match);
	if (r < 0)
		return error_errno(err, r, "sign the request");
	object_request_finish(request, call);
	request->http.proxy = proxy_of(&client->config);
	return 0;
}
