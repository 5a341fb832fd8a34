#include "executor/artifact/s3/bucket.h"

#include <errno.h>
#include <stdio.h>
#include <string.h>

#define BODY_MAX 256

/* us-east-1 is the absence of a constraint (API reference, CreateBucket). */
static void build_body(const char *region, char body[BODY_MAX])
{
	body[0] = '\0';
	if (*region == '\0' || strcmp(region, "us-east-1") == 0)
		return;
	snprintf(body, BODY_MAX,
		 "<CreateBucketConfiguration xmlns=\"http://s3.amazonaws.com/doc/2006-03-01/\">"
		 "<LocationConstraint>%s</LocationConstraint></CreateBucketConfiguration>",
		 region);
}

static int create(struct s3_client *client, struct error *err)
{
	struct object_call call = {
		.operation = "create bucket",
		.method = "PUT",
		.want_path_style = true,
		.want_object_lock = client->config.want_object_locking,
	};
	struct http_response response;
	struct object_failure failure;
	char body[BODY_MAX];
	int r = s3_client_take_region(client, err);

	if (r < 0)
		return r;
	build_body(client->region, body);
	call.want_default_region = client->region[0] == '\0';
	call.body = (struct http_body){ .data = body, .size = strlen(body) };
	call.content_type = body[0] ? "application/xml" : NULL;
	r = object_perform(&client->base, &call, &response, &failure, err);
	http_response_done(&response);
	if (r < 0 && (strcmp(failure.error.code, "BucketAlreadyOwnedByYou") == 0 ||
		      strcmp(failure.error.code, "BucketAlreadyExists") == 0))
		return 0;
	return r < 0 ? error_prefix(err, r, "failed to create bucket %s", client->config.bucket) :
		       0;
}

int s3_bucket_prepare(struct object_client *base, struct error *err)
{
	struct s3_client *client = (struct s3_client *)base;

	return client->config.want_bucket ? create(client, err) : 0;
}
