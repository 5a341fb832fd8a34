#include "executor/artifact/oss/bucket.h"

#include "executor/artifact/object/xml_bucket.h"
#include "executor/base/cleanup.h"

#include <string.h>

static const char standard[] = "<CreateBucketConfiguration><StorageClass>Standard</StorageClass>"
			       "</CreateBucketConfiguration>";

static int judge_list(const struct object_call *call, const struct http_response *response,
		      struct object_failure *failure, struct error *err)
{
	(void)failure;
	return object_xml_parse_first_bucket(buffer_string(&response->body), response->body.size,
					     call->context, err);
}

/* The first of those that begin with the name is the name itself, if there is such a bucket. */
static int find(struct oss_client *client, bool *ret_exists, struct error *err)
{
	_cleanup_free_ char *first = NULL;
	const struct object_query query[] = { { "prefix", client->config.bucket },
					      { "max-keys", "1" },
					      { NULL, NULL } };
	const struct object_call call = {
		.operation = "look for bucket",
		.method = "GET",
		.query = query,
		.is_service = true,
		.judge = judge_list,
		.context = &first,
	};
	struct http_response response;
	int r = object_perform(&client->base, &call, &response, NULL, err);

	http_response_done(&response);
	*ret_exists = r == 0 && strcmp(first, client->config.bucket) == 0;
	return r;
}

int oss_bucket_create(struct oss_client *client, struct error *err)
{
	const struct object_call call = {
		.operation = "create bucket",
		.method = "PUT",
		.content_type = "application/xml",
		.body = { .data = standard, .size = sizeof(standard) - 1 },
	};
	struct object_failure failure;
	struct http_response response;
	bool exists;
	int r = find(client, &exists, err);

	if (r < 0 || exists)
		return r;
	r = object_perform(&client->base, &call, &response, &failure, err);
	http_response_done(&response);
	if (r < 0 && strcmp(failure.error.code, "BucketAlreadyExists") == 0)
		return 0;
	return r < 0 ? error_prefix(err, r, "failed to create bucket %s", client->config.bucket) :
		       0;
}
