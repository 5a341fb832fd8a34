#include "executor/artifact/s3/client.h"

#include "executor/artifact/s3/bucket.h"
#include "executor/artifact/s3/classify.h"
#include "executor/artifact/s3/go_text.h"
#include "executor/artifact/s3/url.h"

#include <errno.h>
#include <stdio.h>
#include <string.h>

#define DEFAULT_REGION "us-east-1"

/* --- Judging an answer ------------------------------------------------------------------------ */

/* True if the answer names another region than the one in use; it is taken from now on. */
static bool correct_region(struct s3_client *client, const struct http_response *response,
			   const struct object_xml_error *error)
{
	char header[OBJECT_REGION_MAX];
	const char *region = error->region;

	if (*region == '\0')
		region = http_response_header(response, "x-amz-bucket-region", header,
					      sizeof(header));
	if (!region || !object_url_is_region(region) || strcmp(region, client->region) == 0)
		return false;
	snprintf(client->region, sizeof(client->region), "%s", region);
	return true;
}

static enum error_class judge(struct object_client *base, const struct object_call *call,
			      const struct http_response *response, const struct retry *retry,
			      const struct object_failure *failure)
{
	struct s3_client *client = (struct s3_client *)base;
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
		return object_is_corrected(correct_region(client, response, &failure->error), retry,
					   class) ?
			       class :
			       ERROR_PERMANENT;
	case ERROR_CLOCK_SKEW:
		return object_is_corrected(object_correct_clock(base, response), retry, class) ?
			       class :
			       ERROR_PERMANENT;
	case ERROR_NOT_FOUND:
		return is_read ? class : ERROR_PERMANENT;
	default:
		return class;
	}
}

static void explain(const struct object_client *client, const struct object_call *call,
		    const struct http_response *response, const struct object_failure *failure,
		    struct error *err)
{
	const char *code = failure->error.code;

	(void)client;
	(void)response;
	if (failure->status == 403 && call->key && strcmp(call->method, "GET") == 0 &&
	    (*code == '\0' || strcmp(code, "AccessDenied") == 0))
		error_append(err, "; without the permission s3:ListBucket this is also the answer "
				  "for an object that does not exist");
}

/* --- Region ------------------------------------------------------------------------------------- */

/* A refused question may carry the answer; a server that does not know the question has no regions,
 * and every signature with the default one is good there. */
static bool region_of_refusal(const struct object_failure *failure, char region[OBJECT_REGION_MAX])
{
	static const char *const codes[] = { "AccessDenied", "AuthorizationHeaderMalformed",
					     "InvalidRegion", "NotImplemented" };

	for (size_t i = 0; i < sizeof(codes) / sizeof(codes[0]); i++) {
		if (strcmp(failure->error.code, codes[i]) == 0) {
			snprintf(region, OBJECT_REGION_MAX, "%s",
				 *failure->error.region ? failure->error.region : DEFAULT_REGION);
			return true;
		}
	}
	return false;
}

static int judge_location(const struct object_call *call, const struct http_response *response,
			  struct object_failure *failure, struct error *err)
{
	struct s3_client *client = call->context;

	(void)failure;
	return object_xml_parse_location(buffer_string(&response->body), response->body.size,
					 client->region, err);
}

int s3_client_take_region(struct s3_client *client, struct error *err)
{
	if (client->region[0] == '\0' && client->config.region[0]) {
		if (!object_url_is_region(client->config.region))
			return error_set(err, -EINVAL, "s3: region '%s' is not a region name",
					 client->config.region);
		snprintf(client->region, sizeof(client->region), "%s", client->config.region);
	}
	if (client->region[0] == '\0')
		s3_url_host_region(client->config.host, client->region);
	return 0;
}

int s3_client_find_region(struct object_client *base, struct error *err)
{
	struct s3_client *client = (struct s3_client *)base;
	const struct object_query query[] = { { "location", "" }, { NULL, NULL } };
	const struct object_call call = {
		.operation = "find region of bucket",
		.method = "GET",
		.query = query,
		.want_default_region = true,
		.judge = judge_location,
		.context = client,
	};
	struct http_response response;
	struct object_failure failure;
	int r;

	r = s3_client_take_region(client, err);
	if (r < 0 || client->region[0])
		return r;
	r = object_perform(base, &call, &response, &failure, err);
	http_response_done(&response);
	if (r < 0 && region_of_refusal(&failure, client->region))
		return 0;
	return r;
}

const struct object_protocol s3_protocol = {
	.type = "s3",
	.make_ready = s3_client_find_region,
	.prepare_put = s3_bucket_prepare,
	.prepare = s3_request_prepare,
	.judge = judge,
	.explain = explain,
	.put_as_go = s3_put_as_go,
	.xml_namespace = "http://s3.amazonaws.com/doc/2006-03-01/",
	.part_size_variable = "ARTIFACT_S3_UPLOAD_PART_SIZE_MIB",
	.threads_variable = "ARTIFACT_S3_UPLOAD_THREADS",
};
