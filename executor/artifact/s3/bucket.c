#include "executor/artifact/s3/bucket.h"

#include <errno.h>
#include <stdio.h>
#include <string.h>

#define BODY_MAX 256
#define ENCRYPTION_MAX 4096
#define XML_NAMESPACE "http://s3.amazonaws.com/doc/2006-03-01/"

/* us-east-1 is the absence of a constraint (API reference, CreateBucket). */
static void build_body(const char *region, char body[BODY_MAX])
{
	body[0] = '\0';
	if (*region == '\0' || strcmp(region, "us-east-1") == 0)
		return;
	snprintf(body, BODY_MAX,
		 "<CreateBucketConfiguration xmlns=\"" XML_NAMESPACE "\">"
		 "<LocationConstraint>%s</LocationConstraint></CreateBucketConfiguration>",
		 region);
}

static int build_encryption(const struct s3_sse *sse, struct buffer *out)
{
	int r = buffer_append_format(
		out,
		"<ServerSideEncryptionConfiguration xmlns=\"" XML_NAMESPACE "\"><Rule>"
		"<ApplyServerSideEncryptionByDefault><SSEAlgorithm>%s</SSEAlgorithm>",
		sse->kind == S3_SSE_KMS ? "aws:kms" : "AES256");

	if (r == 0 && sse->kind == S3_SSE_KMS) {
		r = buffer_append_string(out, "<KMSMasterKeyID>");
		if (r == 0)
			r = object_xml_escape(out, sse->kms_key);
		if (r == 0)
			r = buffer_append_string(out, "</KMSMasterKeyID>");
	}
	return r < 0 ? r :
		       buffer_append_string(out, "</ApplyServerSideEncryptionByDefault></Rule>"
						 "</ServerSideEncryptionConfiguration>");
}

/* Of a bucket that is new: what is stored there by others will be encrypted like ours. */
static int set_encryption(struct s3_client *client, bool want_default_region, struct error *err)
{
	const struct object_query query[] = { { "encryption", "" }, { NULL, NULL } };
	_cleanup_buffer_ struct buffer body = BUFFER_INIT(ENCRYPTION_MAX);
	struct object_call call = {
		.operation = "set encryption of bucket",
		.method = "PUT",
		.query = query,
		.want_path_style = true,
		.want_default_region = want_default_region,
		.want_md5 = true,
		.content_type = "application/xml",
	};
	struct http_response response;
	int r = build_encryption(&client->config.sse, &body);

	if (r < 0)
		return error_errno(err, r, "set encryption of bucket");
	call.body = (struct http_body){ .data = body.data, .size = body.size };
	r = object_perform(&client->base, &call, &response, NULL, err);
	http_response_done(&response);
	return r;
}

static bool is_there_already(const struct object_failure *failure)
{
	return strcmp(failure->error.code, "BucketAlreadyOwnedByYou") == 0 ||
	       strcmp(failure->error.code, "BucketAlreadyExists") == 0;
}

static int ask_once(struct s3_client *client, struct object_failure *failure, struct error *err)
{
	struct object_call call = {
		.operation = "create bucket",
		.method = "PUT",
		.want_path_style = true,
		.want_object_lock = client->config.want_object_locking,
		.want_default_region = client->region[0] == '\0',
	};
	struct http_response response;
	char body[BODY_MAX];
	int r;

	build_body(client->region, body);
	call.body = (struct http_body){ .data = body, .size = strlen(body) };
	call.content_type = body[0] ? "application/xml" : NULL;
	r = object_perform(&client->base, &call, &response, failure, err);
	http_response_done(&response);
	return r;
}

static int create(struct s3_client *client, struct error *err)
{
	struct object_failure failure;
	int r = s3_client_take_region(client, err);

	if (r < 0)
		return r;
	r = ask_once(client, &failure, err);
	/* A server with one region only names it. */
	if (r < 0 && client->region[0] == '\0' && *client->refused_region &&
	    strcmp(failure.error.code, "AuthorizationHeaderMalformed") == 0) {
		memcpy(client->region, client->refused_region, OBJECT_REGION_MAX);
		r = ask_once(client, &failure, err);
	}
	if (r < 0 && is_there_already(&failure))
		return 0;
	if (r == 0 && client->config.sse.kind != S3_SSE_NONE)
		r = set_encryption(client, client->region[0] == '\0', err);
	return r < 0 ? error_prefix(err, r, "failed to create bucket %s", client->config.bucket) :
		       0;
}

int s3_bucket_prepare(struct object_client *base, struct error *err)
{
	struct s3_client *client = (struct s3_client *)base;
	int r;

	if (!client->config.want_bucket || client->bucket->is_made)
		return 0;
	r = create(client, err);
	client->bucket->is_made = r == 0;
	return r;
}
