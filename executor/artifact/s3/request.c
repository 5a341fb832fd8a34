/* From a call to a signed HTTP request. */
#include "executor/artifact/object/sign.h"
#include "executor/artifact/object/sums.h"
#include "executor/artifact/s3/client.h"
#include "executor/artifact/s3/sigv4.h"
#include "executor/artifact/s3/url.h"
#include "executor/http/digest.h"

#include <errno.h>
#include <stdio.h>
#include <string.h>
#include <time.h>

/* A session token has no documented limit; a few kilobytes are seen. */
#define LINE_MAX_BYTES (32 * 1024)
#define HEADERS_SIGNED_MAX 8

static int hash_payload(const struct s3_client *client, const struct object_call *call,
			char hex[SIGN_HEX_SIZE], struct error *err)
{
	uint8_t hash[DIGEST_SHA256_BYTES];
	int r;

	if (call->body.size == 0) {
		snprintf(hex, SIGN_HEX_SIZE, "%s", SIGV4_EMPTY_HASH);
		return 0;
	}
	if (call->is_object && !client->config.is_insecure) {
		snprintf(hex, SIGN_HEX_SIZE, "%s", SIGV4_UNSIGNED);
		return 0;
	}
	if (call->sums) {
		snprintf(hex, SIGN_HEX_SIZE, "%s", call->sums->hex);
		return 0;
	}
	if (call->body.data) {
		r = digest_of(DIGEST_SHA256, call->body.data, call->body.size, hash);
		if (r < 0)
			return error_errno(err, r, "sign the request");
	} else {
		r = digest_of_file(DIGEST_SHA256, call->body.fd, call->body.offset, call->body.size,
				   hash, err);
		if (r < 0)
			return error_prefix(err, r, "the file to upload");
	}
	digest_hex(hash, sizeof(hash), hex);
	return 0;
}

static int sign(struct s3_client *client, const struct object_call *call,
		struct object_request *request, const char *hash)
{
	const struct s3_credentials *credentials = &client->config.credentials;
	struct sign_header headers[HEADERS_SIGNED_MAX];
	_cleanup_buffer_ struct buffer authorization = BUFFER_INIT(LINE_MAX_BYTES);
	time_t now = time(NULL) + (time_t)client->base.clock_offset_s;
	char date[SIGN_DATE_SIZE];
	size_t count = 0;
	int r = 0;

	sign_date(now, date);
	if (call->content_type)
		headers[count++] = (struct sign_header){ "content-type", call->content_type };
	headers[count++] = (struct sign_header){ "host", request->url.host.data };
	if (call->want_object_lock)
		headers[count++] =
			(struct sign_header){ "x-amz-bucket-object-lock-enabled", "true" };
	headers[count++] = (struct sign_header){ "x-amz-content-sha256", hash };
	headers[count++] = (struct sign_header){ "x-amz-date", date };
	if (credentials->session_token)
		headers[count++] =
			(struct sign_header){ "x-amz-security-token", credentials->session_token };
	r = sigv4_authorization(
		&(struct sigv4_request){
			.method = call->method,
			.path = request->url.path.data,
			.query = buffer_string(&request->url.query),
			.headers = headers,
			.header_count = count,
			.payload_hash = hash,
			.access_key = credentials->access_key,
			.secret_key = credentials->secret_key,
			.region = call->want_default_region ? "us-east-1" : client->region,
			.service = "s3",
			.time = now,
		},
		&authorization);
	/* The HTTP client derives Host from the URL; it is the same string. */
	for (size_t i = 0; i < count && r == 0; i++)
		if (strcmp(headers[i].name, "host") != 0)
			r = object_request_add(request, headers[i].name, headers[i].value);
	return r < 0 ? r : object_request_add(request, "authorization", authorization.data);
}

int s3_request_prepare(struct object_client *base, const struct object_call *call,
		       struct object_request *request, struct error *err)
{
	struct s3_client *client = (struct s3_client *)base;
	const struct s3_config *config = &client->config;
	char hash[SIGN_HEX_SIZE];
	int r;

	*request = (struct object_request){ 0 };
	r = hash_payload(client, call, hash, err);
	if (r < 0)
		return r;
	r = s3_url_build(&request->url,
			 &(struct s3_target){
				 .config = config,
				 .region = call->want_default_region ? "" : client->region,
				 .key = call->key,
				 .query = call->query,
				 .want_path_style = call->want_path_style,
			 });
	if (r == 0)
		r = sign(client, call, request, hash);
	if (r == 0)
		r = object_request_add(request, "range", call->range);
	if (r == 0)
		r = object_request_add(request, "if-match", call->if_match);
	if (r < 0)
		return error_errno(err, r, "sign the request");
	object_request_finish(request, call);
	request->http.tls.ca_pem = config->ca_pem;
	request->http.tls.ca_pem_size = config->ca_pem_size;
	return 0;
}
