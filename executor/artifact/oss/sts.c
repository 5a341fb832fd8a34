#include "executor/artifact/oss/sts.h"

#include "executor/artifact/oss/classify.h"
#include "executor/artifact/secret.h"
#include "executor/base/clock.h"
#include "executor/base/text.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>
#include <time.h>

#define TOKEN_BYTES_MAX (64 * 1024)

static int append_url(struct buffer *url, int64_t clock_offset_s)
{
	const char *region = getenv("ALIBABA_CLOUD_STS_REGION");
	const char *is_vpc = getenv("ALIBABA_CLOUD_VPC_ENDPOINT_ENABLED");
	char stamp[CLOCK_RFC3339_MAX];
	struct timespec now;
	int r = buffer_append_string(url, "https://sts");

	if (r == 0 && region && object_url_is_region(region))
		r = buffer_append_format(url, "%s.%s",
					 is_vpc && strcasecmp(is_vpc, "true") == 0 ? "-vpc" : "",
					 region);
	if (r == 0)
		r = buffer_append_string(url, ".aliyuncs.com/?Action=AssumeRoleWithOIDC&Format=JSON"
					      "&Version=2015-04-01&Timestamp=");
	clock_gettime(CLOCK_REALTIME, &now);
	now.tv_sec += (time_t)clock_offset_s;
	return r < 0 ? r : object_url_encode(url, clock_format_rfc3339(&now, 0, stamp), false);
}

static int append_form(struct buffer *form, const struct oss_source *source, const char *token)
{
	const struct {
		const char *name, *value;
	} fields[] = {
		{ "RoleArn", source->role },   { "OIDCProviderArn", source->provider },
		{ "OIDCToken", token },        { "RoleSessionName", source->session },
		{ "DurationSeconds", "3600" },
	};
	int r = 0;

	for (size_t i = 0; i < sizeof(fields) / sizeof(fields[0]) && r == 0; i++) {
		r = buffer_append_format(form, "%s%s=", i > 0 ? "&" : "", fields[i].name);
		if (r == 0)
			r = object_url_encode(form, fields[i].value, false);
	}
	return r;
}

int sts_request(const struct oss_source *source, const struct store_context *context,
		int64_t clock_offset_s, struct chain_request *request, struct error *err)
{
	_cleanup_buffer_ struct buffer token = BUFFER_SECRET(TOKEN_BYTES_MAX);
	int r = secret_read_file(context, source->token_file, &token, err);

	if (r < 0) {
		/* Not *not found*: an object would be thought missing. */
		if (err)
			err->class = ERROR_PERMANENT;
		return r;
	}
	request->method = "POST";
	r = append_url(&request->url, clock_offset_s);
	if (r == 0)
		r = append_form(&request->body, source, buffer_string(&token));
	if (r == 0)
		r = object_request_add(&request->lines, "content-type",
				       "application/x-www-form-urlencoded");
	return r < 0 ? error_errno(err, r, "ask STS") : 0;
}

int sts_judge(const struct http_response *response, int64_t *clock_offset_s, struct retry *retry,
	      struct error *err)
{
	_cleanup_json_ struct json_object *answer = NULL;
	const char *code, *message;
	enum error_class class;

	if (response->status >= 200 && response->status <= 299)
		return 0;
	/* The document of all Alibaba Cloud APIs. */
	json_parse(buffer_string(&response->body), response->body.size, "the answer", &answer,
		   NULL);
	code = json_get_string(answer, "Code", "");
	message = json_get_string(answer, "Message", "");
	snprintf(retry->code, sizeof(retry->code), "%s", code);
	snprintf(retry->request_id, sizeof(retry->request_id), "%s",
		 json_get_string(answer, "RequestId", ""));
	class = oss_classify(response->status, code, message, false);
	if (text_has_prefix(code, "InvalidTimeStamp"))
		class = object_follow_clock(clock_offset_s, response) ? ERROR_TRANSIENT :
									ERROR_PERMANENT;
	else if (text_has_prefix(code, "Throttling"))
		class = ERROR_THROTTLED;
	else if (class != ERROR_TRANSIENT && class != ERROR_THROTTLED)
		class = ERROR_PERMANENT;
	return error_set_class(err, -EACCES, class, "%.300s (%.64s%sstatus %d, request id %.64s)",
			       message, code, *code ? ", " : "", response->status,
			       json_get_string(answer, "RequestId", "?"));
}
