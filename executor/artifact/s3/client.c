#include "executor/artifact/s3/client.h"

#include "executor/artifact/s3/classify.h"
#include "executor/base/text.h"

#include <errno.h>
#include <stdio.h>
#include <string.h>
#include <time.h>

#define DEFAULT_REGION "us-east-1"
/* What a date in an answer must differ from ours to be the cause of a refused signature: Amazon
 * accepts 15 minutes; less than this is the age of the answer itself. */
#define CLOCK_TOLERANCE_S 60

const char *s3_describe(const struct s3_client *client, const struct s3_call *call,
			char buffer[S3_OPERATION_MAX])
{
	snprintf(buffer, S3_OPERATION_MAX, "%s %s%s%s", call->operation, client->config.bucket,
		 call->key ? "/" : "", call->key ? call->key : "");
	return buffer;
}

/* --- Judging an answer ------------------------------------------------------------------------ */

/* True if the answer names another region than the one in use; it is taken from now on. */
static bool correct_region(struct s3_client *client, const struct http_response *response,
			   const struct s3_xml_error *error)
{
	char header[S3_REGION_MAX];
	const char *region = error->region;

	if (*region == '\0')
		region = http_response_header(response, "x-amz-bucket-region", header,
					      sizeof(header));
	if (!region || !s3_url_is_region(region) || strcmp(region, client->region) == 0)
		return false;
	snprintf(client->region, sizeof(client->region), "%s", region);
	return true;
}

/* True if the server's clock explains the refusal and is followed from now on. */
static bool correct_clock(struct s3_client *client, const struct http_response *response)
{
	char header[64];
	const char *date = http_response_header(response, "date", header, sizeof(header));
	const char *end;
	struct tm tm = { 0 };
	int64_t offset, change;

	if (!date)
		return false;
	end = strptime(date, "%a, %d %b %Y %H:%M:%S GMT", &tm);
	if (!end || *end)
		return false;
	offset = (int64_t)timegm(&tm) - (int64_t)time(NULL);
	change = offset - client->clock_offset_s;
	if (change > -CLOCK_TOLERANCE_S && change < CLOCK_TOLERANCE_S)
		return false;
	client->clock_offset_s = offset;
	return true;
}

/* Requests that were under way together complain one after the other. The first has the cause
 * corrected; the others find it so, and may try again once too. */
static bool is_corrected(bool is_changed, const struct retry *retry, enum error_class class)
{
	return is_changed || (retry && retry->count[class] == 0);
}

static enum error_class judge_class(struct s3_client *client, const struct s3_call *call,
				    const struct http_response *response, const struct retry *retry,
				    const struct s3_failure *failure)
{
	const char *code = failure->error.code;
	bool is_read = call->key && call->method[0] != 'P'; /* GET or HEAD, not PUT or POST */
	enum error_class class =
		s3_classify(failure->status, code, failure->error.message, is_read);

	/* The lookup of the region reads the answer itself. */
	if (call->want_default_region && class == ERROR_WRONG_REGION)
		return ERROR_PERMANENT;
	if ((strcmp(code, "AccessDenied") == 0 || failure->status == 301) &&
	    !call->want_default_region && correct_region(client, response, &failure->error))
		return ERROR_WRONG_REGION;
	switch (class) {
	case ERROR_WRONG_REGION:
		return is_corrected(correct_region(client, response, &failure->error), retry,
				    class) ?
			       class :
			       ERROR_PERMANENT;
	case ERROR_CLOCK_SKEW:
		return is_corrected(correct_clock(client, response), retry, class) ?
			       class :
			       ERROR_PERMANENT;
	case ERROR_NOT_FOUND:
		return is_read ? class : ERROR_PERMANENT;
	default:
		return class;
	}
}

static int fail(struct s3_client *client, const struct s3_call *call,
		const struct http_response *response, struct retry *retry,
		struct s3_failure *failure, struct error *err)
{
	enum error_class class = judge_class(client, call, response, retry, failure);
	const char *code = failure->error.code;
	const char *message = failure->error.message;
	char description[S3_OPERATION_MAX], header[64];

	if (retry && http_response_header(response, "retry-after", header, sizeof(header)))
		retry->retry_after_ms = retry_parse_after(header);
	if (class == ERROR_NOT_FOUND)
		return error_set_class(err, -ENOENT, class, "%s",
				       *message ? message : "The specified key does not exist.");
	error_set_class(err, failure->status == 403 ? -EACCES : -EIO, class,
			"%s: %s%s(%s%sstatus %d, %s)", s3_describe(client, call, description),
			message, *message ? " " : "", code, *code ? ", " : "", failure->status,
			error_class_name(class));
	if (failure->status == 403 && call->key && strcmp(call->method, "GET") == 0 &&
	    (*code == '\0' || strcmp(code, "AccessDenied") == 0))
		error_append(err, "; without the permission s3:ListBucket this is also the answer "
				  "for an object that does not exist");
	return err ? err->code : -EIO;
}

int s3_check(struct s3_client *client, const struct s3_call *call,
	     const struct http_response *response, struct retry *retry, struct s3_failure *failure,
	     struct error *err)
{
	char description[S3_OPERATION_MAX];
	struct s3_failure own;
	int r;

	if (!failure)
		failure = &own;
	*failure = (struct s3_failure){ .status = response->status };
	if (response->status < 200 || response->status > 299) {
		s3_xml_parse_error(buffer_string(&response->body), response->body.size,
				   &failure->error);
		return fail(client, call, response, retry, failure, err);
	}
	r = call->judge ? call->judge(call, response, failure, err) : 0;
	if (r < 0 && failure->error.code[0])
		return fail(client, call, response, retry, failure, err);
	return r < 0 ? error_prefix(err, r, "%s", s3_describe(client, call, description)) : 0;
}

/* --- Sending ------------------------------------------------------------------------------------ */

static int attempt(struct s3_client *client, const struct s3_call *call,
		   struct http_response *response, struct error *err)
{
	struct s3_request request;
	char description[S3_OPERATION_MAX];
	int r = s3_request_prepare(client, call, &request, err);

	if (r == 0)
		r = http_perform(client->context.http, &request.http, response, err);
	s3_request_done(&request);
	return r < 0 ? error_prefix(err, r, "%s", s3_describe(client, call, description)) : 0;
}

int s3_perform(struct s3_client *client, const struct s3_call *call, struct http_response *response,
	       struct s3_failure *failure, struct error *err)
{
	char description[S3_OPERATION_MAX];
	struct s3_failure own;
	struct retry retry;
	struct error last = ERROR_NONE;
	int r;

	if (!failure)
		failure = &own;
	retry_begin(&retry, &client->policy, client->context.loop, client->context.log,
		    s3_describe(client, call, description));
	do {
		*response = (struct http_response){ 0 };
		*failure = (struct s3_failure){ 0 };
		r = attempt(client, call, response, &last);
		if (r == 0)
			r = s3_check(client, call, response, &retry, failure, &last);
		if (r == 0)
			return 0;
		http_response_done(response);
	} while (retry_again(&retry, &last));
	failure->attempts = retry.attempts;
	*response = (struct http_response){ 0 };
	if (err)
		*err = last;
	return r;
}

/* --- Region ------------------------------------------------------------------------------------- */

/* A refused question may carry the answer; a server that does not know the question has no regions,
 * and every signature with the default one is good there. */
static bool region_of_refusal(const struct s3_failure *failure, char region[S3_REGION_MAX])
{
	static const char *const codes[] = { "AccessDenied", "AuthorizationHeaderMalformed",
					     "InvalidRegion", "NotImplemented" };

	for (size_t i = 0; i < sizeof(codes) / sizeof(codes[0]); i++) {
		if (strcmp(failure->error.code, codes[i]) == 0) {
			snprintf(region, S3_REGION_MAX, "%s",
				 *failure->error.region ? failure->error.region : DEFAULT_REGION);
			return true;
		}
	}
	return false;
}

static int judge_location(const struct s3_call *call, const struct http_response *response,
			  struct s3_failure *failure, struct error *err)
{
	struct s3_client *client = call->context;

	(void)failure;
	return s3_xml_parse_location(buffer_string(&response->body), response->body.size,
				     client->region, err);
}

int s3_client_take_region(struct s3_client *client, struct error *err)
{
	if (client->region[0] == '\0' && client->config.region[0]) {
		if (!s3_url_is_region(client->config.region))
			return error_set(err, -EINVAL, "s3: region '%s' is not a region name",
					 client->config.region);
		snprintf(client->region, sizeof(client->region), "%s", client->config.region);
	}
	if (client->region[0] == '\0')
		s3_url_host_region(client->config.host, client->region);
	return 0;
}

int s3_client_find_region(struct s3_client *client, struct error *err)
{
	const struct s3_query query[] = { { "location", "" }, { NULL, NULL } };
	const struct s3_call call = {
		.operation = "find region of bucket",
		.method = "GET",
		.query = query,
		.want_default_region = true,
		.judge = judge_location,
		.context = client,
	};
	struct http_response response;
	struct s3_failure failure;
	int r;

	r = s3_client_take_region(client, err);
	if (r < 0 || client->region[0])
		return r;
	r = s3_perform(client, &call, &response, &failure, err);
	http_response_done(&response);
	if (r < 0 && region_of_refusal(&failure, client->region))
		return 0;
	return r;
}
