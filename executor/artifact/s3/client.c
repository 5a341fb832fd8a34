#include "executor/artifact/s3/client.h"

#include "executor/artifact/cache.h"
#include "executor/artifact/object/xml_bucket.h"
#include "executor/artifact/s3/bucket.h"
#include "executor/artifact/s3/classify.h"
#include "executor/artifact/s3/go_text.h"
#include "executor/artifact/s3/identity.h"
#include "executor/artifact/s3/url.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define DEFAULT_REGION "us-east-1"

/* --- Judging an answer ------------------------------------------------------------------------ */

static void set_region(struct s3_client *client, const char *region)
{
	snprintf(client->region, sizeof(client->region), "%s", region);
	snprintf(client->bucket->region, sizeof(client->bucket->region), "%s", region);
}

/* A redirect may name the bucket's own host instead of the region. */
static bool region_of_endpoint(const struct s3_client *client, const char *endpoint,
			       char region[OBJECT_REGION_MAX])
{
	size_t size = strlen(client->config.bucket);

	if (strncmp(endpoint, client->config.bucket, size) == 0 && endpoint[size] == '.')
		endpoint += size + 1;
	return s3_url_host_region(endpoint, region);
}

/* True if the answer names another region than the one in use; it is taken from now on. */
static bool correct_region(struct s3_client *client, const struct http_response *response,
			   const struct object_xml_error *error)
{
	char header[OBJECT_REGION_MAX];
	const char *region = error->region;

	if (*region == '\0')
		region = http_response_header(response, "x-amz-bucket-region", header,
					      sizeof(header));
	if (!region && region_of_endpoint(client, error->endpoint, header))
		region = header;
	if (!region || !object_url_is_region(region) || strcmp(region, client->region) == 0)
		return false;
	set_region(client, region);
	return true;
}

/* Buckets with object locking take nothing whose content is not vouched for. */
static bool is_md5_missing(struct s3_client *client, const struct object_xml_error *error)
{
	if (client->bucket->is_md5_demanded || (strcmp(error->code, "MissingContentMD5") != 0 &&
						(strcmp(error->code, "InvalidRequest") != 0 ||
						 !strstr(error->message, "Content-MD5"))))
		return false;
	client->bucket->is_md5_demanded = true;
	return true;
}

static bool is_redirect(const struct object_failure *failure)
{
	return failure->status == 301 || failure->status == 307 ||
	       strcmp(failure->error.code, "AccessDenied") == 0;
}

/* Before the region is known nothing can be wrong with it; but the refusal may tell it. */
static enum error_class judge_early(struct s3_client *client, const struct http_response *response,
				    const struct object_xml_error *error, enum error_class class)
{
	char header[OBJECT_REGION_MAX];

	if (class != ERROR_PERMANENT && class != ERROR_WRONG_REGION)
		return class;
	if (strcmp(error->code, "NotImplemented") == 0 &&
	    http_response_header(response, "server", header, sizeof(header)) &&
	    strcmp(header, "AmazonSnowball") == 0) {
		client->base.is_list_v1 = client->bucket->is_list_v1 = true;
		snprintf(client->refused_region, OBJECT_REGION_MAX, "snowball");
	} else if (object_url_is_region(error->region)) {
		snprintf(client->refused_region, OBJECT_REGION_MAX, "%s", error->region);
	} else if (http_response_header(response, "x-amz-bucket-region", header, sizeof(header)) &&
		   object_url_is_region(header)) {
		snprintf(client->refused_region, OBJECT_REGION_MAX, "%s", header);
	}
	return ERROR_PERMANENT;
}

static enum error_class judge(struct object_client *base, const struct object_call *call,
			      const struct http_response *response, const struct retry *retry,
			      const struct object_failure *failure)
{
	struct s3_client *client = (struct s3_client *)base;
	bool is_read = call->key && (call->method[0] == 'G' || call->method[0] == 'H');
	enum error_class class =
		s3_classify(failure->status, failure->error.code, failure->error.message, is_read);

	if (call->want_default_region)
		return judge_early(client, response, &failure->error, class);
	if (is_redirect(failure) && correct_region(client, response, &failure->error))
		return ERROR_WRONG_REGION;
	if (is_md5_missing(client, &failure->error))
		return ERROR_TRANSIENT;
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
	case ERROR_EXPIRED_CREDENTIALS:
		return client->chain && object_chain_refresh(client->chain) ? class :
									      ERROR_PERMANENT;
	case ERROR_NOT_FOUND:
		return is_read ? class : ERROR_PERMANENT;
	default:
		return class;
	}
}

/* MinIO tells in headers what has no document. */
static void read_failure(const struct http_response *response, struct object_xml_error *error)
{
	http_response_header(response, "x-minio-error-code", error->code, sizeof(error->code));
	http_response_header(response, "x-minio-error-desc", error->message,
			     sizeof(error->message));
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

/* A refused question may carry the answer; a server that does not know the question has no regions, and
 * every signature with the default one is good there. */
static bool region_of_refusal(struct s3_client *client, const struct object_failure *failure)
{
	static const char *const codes[] = { "AccessDenied", "AuthorizationHeaderMalformed",
					     "InvalidRegion", "NotImplemented" };

	for (size_t i = 0; i < sizeof(codes) / sizeof(codes[0]); i++) {
		if (strcmp(failure->error.code, codes[i]) != 0)
			continue;
		snprintf(client->region, sizeof(client->region), "%s",
			 *client->refused_region ? client->refused_region : DEFAULT_REGION);
		return true;
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
		snprintf(client->region, sizeof(client->region), "%s", client->bucket->region);
	if (client->region[0] == '\0')
		s3_url_host_region(client->config.host, client->region);
	client->base.is_list_v1 |= client->bucket->is_list_v1;
	return 0;
}

static int ask_region(struct s3_client *client, struct error *err)
{
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
	int r = object_perform(&client->base, &call, &response, &failure, err);

	http_response_done(&response);
	if (r < 0 && !region_of_refusal(client, &failure))
		return r;
	memcpy(client->bucket->region, client->region, OBJECT_REGION_MAX);
	return 0;
}

static int find_region(struct s3_client *client, struct error *err)
{
	struct s3_bucket *bucket = client->bucket;
	int r = s3_client_take_region(client, err);

	while (r == 0 && client->region[0] == '\0' && !bucket->is_free) {
		r = event_loop_wait(client->base.context.loop, &bucket->is_free);
		if (r == -ECANCELED)
			return event_loop_cancelled_error(err);
		if (r < 0)
			return error_errno(err, r, "wait for the region of the bucket");
		r = s3_client_take_region(client, err);
	}
	if (r < 0 || client->region[0])
		return r;
	bucket->is_free = false;
	r = ask_region(client, err);
	bucket->is_free = true;
	return r;
}

/* --- Life ---------------------------------------------------------------------------------------- */

const struct object_keys *s3_client_keys(const struct s3_client *client)
{
	return client->chain ? object_chain_keys(client->chain) : &client->config.keys;
}

static int wait_for_keys(struct object_client *base, struct error *err)
{
	struct s3_client *client = (struct s3_client *)base;

	return client->chain ? object_chain_wait(client->chain, &base->context.observer, err) : 0;
}

static int make_ready(struct object_client *base, struct error *err)
{
	int r = wait_for_keys(base, err);

	return r < 0 ? r : find_region((struct s3_client *)base, err);
}

static int prepare_put(struct object_client *base, struct error *err)
{
	struct s3_client *client = (struct s3_client *)base;
	int r = client->config.want_bucket && !client->bucket->is_made ? wait_for_keys(base, err) :
									 0;

	return r < 0 ? r : s3_bucket_prepare(base, err);
}

static int share_chain(struct s3_client *client, struct error *err)
{
	const struct s3_config *config = &client->config;
	const struct s3_wish wish = {
		.kind = config->keys_from == S3_KEYS_SDK ? S3_CHAIN_SDK : S3_CHAIN_IAM,
		.role_arn = config->role_arn,
		.region = object_url_is_region(config->region) ? config->region : "",
	};
	_cleanup_free_ char *name = NULL;

	if (asprintf(&name, "s3 keys %d %s %s", wish.kind, wish.region, wish.role_arn) < 0)
		return error_set(err, -ENOMEM, "out of memory");
	return object_chain_share(&client->base.context, name, s3_identity_new, &wish,
				  &client->chain, err);
}

int s3_client_share(struct s3_client *client, struct error *err)
{
	const struct s3_config *config = &client->config;
	struct store_cache *cache = client->base.context.cache;
	_cleanup_free_ char *name = NULL;

	if (asprintf(&name, "s3 bucket %s %s", config->host, config->bucket) < 0)
		return error_set(err, -ENOMEM, "out of memory");
	client->bucket = store_cache_find(cache, name);
	if (!client->bucket) {
		client->bucket = calloc(1, sizeof(*client->bucket));
		if (!client->bucket || store_cache_add(cache, name, client->bucket, free) < 0) {
			client->bucket = NULL;
			return error_set(err, -ENOMEM, "out of memory");
		}
		client->bucket->is_free = true;
	}
	return config->keys_from == S3_KEYS_STATIC ? 0 : share_chain(client, err);
}

void s3_client_done(struct s3_client *client)
{
	object_client_done(&client->base);
	s3_labels_done(&client->labels);
	explicit_bzero(&client->derived.key, sizeof(client->derived.key));
	free(client->derived.object);
	s3_config_done(&client->config);
}

const struct object_protocol s3_protocol = {
	.type = "s3",
	.make_ready = make_ready,
	.wait_for_keys = wait_for_keys,
	.prepare_put = prepare_put,
	.prepare = s3_request_prepare,
	.judge = judge,
	.explain = explain,
	.put_as_go = s3_put_as_go,
	.read_failure = read_failure,
	.has_batch = true,
	.xml_namespace = "http://s3.amazonaws.com/doc/2006-03-01/",
	.part_size_variable = "ARTIFACT_S3_UPLOAD_PART_SIZE_MIB",
	.threads_variable = "ARTIFACT_S3_UPLOAD_THREADS",
};
