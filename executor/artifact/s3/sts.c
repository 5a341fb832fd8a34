#include "executor/artifact/s3/sts.h"

#include "executor/artifact/object/xml.h"
#include "executor/artifact/s3/classify.h"
#include "executor/artifact/s3/sigv4.h"
#include "executor/artifact/secret.h"
#include "executor/base/clock.h"
#include "executor/base/text.h"

#include <errno.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>
#include <time.h>

#define TOKEN_BYTES_MAX (64 * 1024)
#define AUTHORIZATION_MAX 4096
#define VERSION "2011-06-15"

/* --- The address ---------------------------------------------------------------------------------- */

static const char *configured_endpoint(void)
{
	const char *is_ignored = getenv("AWS_IGNORE_CONFIGURED_ENDPOINT_URLS");
	const char *endpoint = getenv("AWS_ENDPOINT_URL_STS");

	if (is_ignored && strcasecmp(is_ignored, "true") == 0)
		return NULL;
	if (!endpoint || *endpoint == '\0')
		endpoint = getenv("AWS_ENDPOINT_URL");
	return endpoint && *endpoint ? endpoint : NULL;
}

static int append_url(struct buffer *url, const char *region, struct error *err)
{
	const char *endpoint = configured_endpoint();
	int r;

	if (endpoint) {
		if (!text_has_prefix(endpoint, "https://") && !text_has_prefix(endpoint, "http://"))
			return error_set(err, -EINVAL, "the address of STS, '%s', is no URL",
					 endpoint);
		r = buffer_append_string(url, endpoint);
		if (r == 0 && !text_has_suffix(endpoint, "/"))
			r = buffer_append_string(url, "/");
	} else if (*region == '\0') {
		r = buffer_append_string(url, "https://sts.amazonaws.com/");
	} else {
		r = buffer_append_format(url, "https://sts.%s.amazonaws.com%s/", region,
					 text_has_prefix(region, "cn-") ? ".cn" : "");
	}
	return r < 0 ? error_set(err, r, "the address of STS is too long") : 0;
}

/* --- The form --------------------------------------------------------------------------------------- */

static int append_field(struct buffer *form, const char *name, const char *value)
{
	int r = buffer_append_format(form, "&%s=", name);

	return r < 0 ? r : object_url_encode(form, value, false);
}

static int append_session(struct buffer *form, const char *session)
{
	struct timespec now;
	char own[64];

	clock_gettime(CLOCK_REALTIME, &now);
	snprintf(own, sizeof(own), "argoexec-%lld%09ld", (long long)now.tv_sec, now.tv_nsec);
	return append_field(form, "RoleSessionName", *session ? session : own);
}

static int begin_form(struct chain_request *request, const char *action, const char *region,
		      struct error *err)
{
	int r;

	request->method = "POST";
	r = append_url(&request->url, region, err);
	if (r == 0 &&
	    (buffer_append_format(&request->body, "Action=%s&Version=" VERSION, action) < 0 ||
	     object_request_add(&request->lines, "content-type",
				"application/x-www-form-urlencoded") < 0))
		r = error_set(err, -ENOMEM, "out of memory");
	return r;
}

int sts_assume_role_with_token(const struct s3_source *source, const struct store_context *context,
			       struct chain_request *request, struct error *err)
{
	_cleanup_buffer_ struct buffer token = BUFFER_SECRET(TOKEN_BYTES_MAX);
	struct buffer *form = &request->body;
	int r = secret_read_file(context, source->token_file, &token, err);

	if (r < 0) {
		/* Not *not found*: an object would be thought missing. */
		if (err)
			err->class = ERROR_PERMANENT;
		return r;
	}
	while (token.size > 0 && strchr(" \r\n", token.data[token.size - 1]))
		token.data[--token.size] = '\0';
	r = begin_form(request, "AssumeRoleWithWebIdentity", source->region, err);
	if (r < 0)
		return r;
	if (*source->role) {
		r = append_field(form, "RoleArn", source->role);
		if (r == 0)
			r = append_session(form, source->session);
	}
	if (r == 0)
		r = append_field(form, "WebIdentityToken", buffer_string(&token));
	return r < 0 ? error_errno(err, r, "ask STS") : 0;
}

/* --- The signature ---------------------------------------------------------------------------------- */

static int add_signature(struct chain_request *request, const char *region,
			 const struct object_keys *keys, time_t now)
{
	const char *host = strstr(buffer_string(&request->url), "://") + 3;
	size_t host_size = strcspn(host, "/?");
	char date[SIGN_DATE_SIZE], hash[SIGN_HEX_SIZE];
	_cleanup_free_ char *name = strndup(host, host_size);
	_cleanup_buffer_ struct buffer authorization = BUFFER_INIT(AUTHORIZATION_MAX);
	struct sign_header headers[4];
	size_t count = 0;
	int r = name ? sign_hash(request->body.data, request->body.size, hash) : -ENOMEM;

	sign_date(now, date);
	headers[count++] =
		(struct sign_header){ "content-type", "application/x-www-form-urlencoded" };
	headers[count++] = (struct sign_header){ "host", name };
	headers[count++] = (struct sign_header){ "x-amz-date", date };
	if (keys->token)
		headers[count++] = (struct sign_header){ "x-amz-security-token", keys->token };
	if (r == 0)
		r = sigv4_authorization(
			&(struct sigv4_request){
				.method = "POST",
				.path = host + host_size,
				.query = "",
				.headers = headers,
				.header_count = count,
				.payload_hash = hash,
				.access_key = keys->access_key,
				.secret_key = keys->secret_key,
				.region = *region ? region : "us-east-1",
				.service = "sts",
				.time = now,
			},
			&authorization);
	if (r == 0)
		r = object_request_add(&request->lines, "x-amz-date", date);
	if (r == 0)
		r = object_request_add(&request->lines, "x-amz-security-token", keys->token);
	return r < 0 ? r : object_request_add(&request->lines, "authorization", authorization.data);
}

int sts_assume_role(const struct s3_source *source, const struct s3_role *role,
		    const struct object_keys *keys, int64_t clock_offset_s,
		    struct chain_request *request, struct error *err)
{
	struct buffer *form = &request->body;
	int r = begin_form(request, "AssumeRole", source->region, err);

	if (r < 0)
		return r;
	r = append_field(form, "RoleArn", role->arn);
	if (r == 0)
		r = append_session(form, role->session);
	if (r == 0)
		r = buffer_append_format(form, "&DurationSeconds=%" PRIi64, role->duration_s);
	if (r == 0 && *role->external_id)
		r = append_field(form, "ExternalId", role->external_id);
	if (r == 0)
		r = add_signature(request, source->region, keys,
				  time(NULL) + (time_t)clock_offset_s);
	return r < 0 ? error_errno(err, r, "ask STS") : 0;
}

/* --- The answer -------------------------------------------------------------------------------------- */

static int judge(const struct http_response *response, int64_t *clock_offset_s, struct error *err)
{
	struct object_xml_error error;
	enum error_class class;

	object_xml_parse_error(buffer_string(&response->body), response->body.size, &error);
	class = s3_classify(response->status, error.code, error.message, false);
	/* STS has no code of its own for it (IAM user guide, "Troubleshoot AWS STS"). */
	if (class == ERROR_CLOCK_SKEW || text_has_prefix(error.message, "Signature expired") ||
	    text_has_prefix(error.message, "Signature not yet current"))
		class = object_follow_clock(clock_offset_s, response) ? ERROR_TRANSIENT :
									ERROR_PERMANENT;
	/* The next attempt reads the token again. */
	else if (class == ERROR_EXPIRED_CREDENTIALS)
		class = ERROR_TRANSIENT;
	else if (class == ERROR_WRONG_REGION)
		class = ERROR_PERMANENT;
	return error_set_class(err, response->status == 403 ? -EACCES : -EIO, class,
			       "%s%s(%s%sstatus %d)", error.message, *error.message ? " " : "",
			       error.code, *error.code ? ", " : "", response->status);
}

int sts_take_keys(const struct http_response *response, struct object_keys *keys,
		  int64_t *ret_clock_offset_s, struct error *err)
{
	if (response->status < 200 || response->status > 299)
		return judge(response, ret_clock_offset_s, err);
	return object_xml_parse_keys(buffer_string(&response->body), response->body.size, keys,
				     err);
}
