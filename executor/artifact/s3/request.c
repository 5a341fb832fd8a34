/* From a call to a signed HTTP request. */
#include "executor/artifact/s3/client.h"
#include "executor/artifact/s3/sigv4.h"
#include "executor/http/digest.h"

#include <errno.h>
#include <stdio.h>
#include <string.h>
#include <time.h>

/* A session token has no documented limit; a few kilobytes are seen. */
#define LINE_MAX_BYTES (32 * 1024)
#define HEADERS_SIGNED_MAX 8
#define HEX_SIZE (2 * DIGEST_SHA256_BYTES + 1)

void s3_request_done(struct s3_request *request)
{
	for (size_t i = 0; i < request->line_count; i++) {
		explicit_bzero(request->lines[i], strlen(request->lines[i]));
		free(request->lines[i]);
	}
	s3_url_done(&request->url);
	*request = (struct s3_request){ 0 };
}

static int hash_payload(const struct s3_client *client, const struct s3_call *call,
			char hex[HEX_SIZE], struct error *err)
{
	uint8_t hash[DIGEST_SHA256_BYTES];
	int r;

	if (call->body.size == 0) {
		snprintf(hex, HEX_SIZE, "%s", SIGV4_EMPTY_HASH);
		return 0;
	}
	if (call->is_object && !client->config.is_insecure) {
		snprintf(hex, HEX_SIZE, "%s", SIGV4_UNSIGNED);
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

/* Takes over `line`, which is NULL when memory is out. */
static int add_line(struct s3_request *request, char *line)
{
	if (!line)
		return -ENOMEM;
	request->lines[request->line_count++] = line;
	return 0;
}

static int add_header(struct s3_request *request, const char *name, const char *value)
{
	struct buffer line = BUFFER_INIT(LINE_MAX_BYTES);

	if (!value)
		return 0;
	if (buffer_append_format(&line, "%s: %s", name, value) < 0)
		buffer_done(&line);
	return add_line(request, buffer_take(&line));
}

static int sign(struct s3_client *client, const struct s3_call *call, struct s3_request *request,
		const char *hash)
{
	const struct s3_credentials *credentials = &client->config.credentials;
	struct sigv4_header headers[HEADERS_SIGNED_MAX];
	_cleanup_buffer_ struct buffer authorization = BUFFER_INIT(LINE_MAX_BYTES);
	time_t now = time(NULL) + (time_t)client->clock_offset_s;
	char date[SIGV4_DATE_SIZE];
	size_t count = 0;
	int r = 0;

	sigv4_date(now, date);
	if (call->content_type)
		headers[count++] = (struct sigv4_header){ "content-type", call->content_type };
	headers[count++] = (struct sigv4_header){ "host", request->url.host.data };
	if (call->want_object_lock)
		headers[count++] =
			(struct sigv4_header){ "x-amz-bucket-object-lock-enabled", "true" };
	headers[count++] = (struct sigv4_header){ "x-amz-content-sha256", hash };
	headers[count++] = (struct sigv4_header){ "x-amz-date", date };
	if (credentials->session_token)
		headers[count++] =
			(struct sigv4_header){ "x-amz-security-token", credentials->session_token };
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
			r = add_header(request, headers[i].name, headers[i].value);
	return r < 0 ? r : add_header(request, "authorization", authorization.data);
}

int s3_request_prepare(struct s3_client *client, const struct s3_call *call,
		       struct s3_request *request, struct error *err)
{
	const struct s3_config *config = &client->config;
	char hash[HEX_SIZE];
	int r;

	*request = (struct s3_request){ 0 };
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
		r = add_header(request, "range", call->range);
	if (r == 0)
		r = add_header(request, "if-match", call->if_match);
	if (r < 0)
		return error_errno(err, r, "sign the request");
	request->http = (struct http_request){
		.method = call->method,
		.url = request->url.url.data,
		.headers = (const char *const *)request->lines,
		.body = call->body,
		.tls.ca_pem = config->ca_pem,
		.tls.ca_pem_size = config->ca_pem_size,
		.body_max = call->body_max,
	};
	return 0;
}
