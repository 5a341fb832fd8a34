/* From a call to a signed HTTP request. */
#include "executor/artifact/object/sign.h"
#include "executor/artifact/object/sums.h"
#include "executor/artifact/s3/client.h"
#include "executor/artifact/s3/sigv4.h"
#include "executor/artifact/s3/url.h"
#include "executor/base/cleanup.h"
#include "executor/http/digest.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

/* A session token has no documented limit; a few kilobytes are seen. */
#define LINE_MAX_BYTES (32 * 1024)
#define HEADERS_SIGNED_MAX 32
#define MD5_TEXT_MAX 32

/* All but range and if-match, sorted by name. */
struct headers {
	struct sign_header list[HEADERS_SIGNED_MAX];
	size_t count;
	char md5[MD5_TEXT_MAX];
};

static void add(struct headers *headers, const char *name, const char *value)
{
	if (value && headers->count < HEADERS_SIGNED_MAX)
		headers->list[headers->count++] = (struct sign_header){ name, value };
}

/* --- What the operation is --------------------------------------------------------------------- */

/* What becomes of an object is said when it begins to be stored. */
static bool is_new_object(const struct object_call *call)
{
	if (!call->key)
		return false;
	return call->query ? strcmp(call->query[0].name, "uploads") == 0 :
			     strcmp(call->method, "PUT") == 0;
}

static bool is_data(const struct object_call *call)
{
	return call->key && call->is_object && strcmp(call->method, "PUT") == 0;
}

/* Whoever stores or reads an object with a key of one's own shows it each time; others than Amazon want
 * to see it at the end of an upload too. */
static bool is_key_shown(const struct s3_client *client, const struct object_call *call)
{
	if (!call->key || strcmp(call->method, "DELETE") == 0)
		return false;
	return !call->query || strcmp(call->query[0].name, "uploadId") != 0 ||
	       !s3_url_is_amazon(client->config.host);
}

/* --- Headers ------------------------------------------------------------------------------------ */

static int add_customer_key(struct s3_client *client, const char *object, struct headers *headers,
			    struct error *err)
{
	struct s3_derived *derived = &client->derived;
	int r;

	if (!derived->object || strcmp(derived->object, object) != 0) {
		free(TAKE_PTR(derived->object));
		r = s3_sse_derive(&client->config.sse, client->config.bucket, object, &derived->key,
				  err);
		if (r < 0)
			return r;
		derived->object = strdup(object);
		if (!derived->object)
			return error_set(err, -ENOMEM, "out of memory");
	}
	add(headers, "x-amz-server-side-encryption-customer-algorithm", "AES256");
	add(headers, "x-amz-server-side-encryption-customer-key", derived->key.key);
	add(headers, "x-amz-server-side-encryption-customer-key-md5", derived->key.md5);
	return 0;
}

static int add_encryption(struct s3_client *client, const struct object_call *call,
			  struct headers *headers, struct error *err)
{
	const struct s3_sse *sse = &client->config.sse;

	if (sse->kind == S3_SSE_CUSTOMER)
		return is_key_shown(client, call) ?
			       add_customer_key(client, call->key, headers, err) :
			       0;
	if (sse->kind == S3_SSE_NONE || !is_new_object(call))
		return 0;
	add(headers, "x-amz-server-side-encryption",
	    sse->kind == S3_SSE_KMS ? "aws:kms" : "AES256");
	if (sse->kind == S3_SSE_KMS)
		add(headers, "x-amz-server-side-encryption-aws-kms-key-id", sse->kms_key);
	add(headers, "x-amz-server-side-encryption-context", sse->kms_context);
	return 0;
}

static void add_labels(const struct s3_labels *labels, struct headers *headers)
{
	add(headers, "x-amz-tagging", labels->tagging);
	for (size_t i = 0; i < labels->metadata_count; i++)
		add(headers, labels->metadata[i].name, labels->metadata[i].value);
}

static const char *content_type_of(const struct s3_client *client, const struct object_call *call)
{
	return is_new_object(call) && client->labels.content_type ? client->labels.content_type :
								    call->content_type;
}

static int add_md5(const struct s3_client *client, const struct object_call *call,
		   struct headers *headers, struct error *err)
{
	_cleanup_buffer_ struct buffer text = BUFFER_INIT(MD5_TEXT_MAX);
	uint8_t md5[DIGEST_MD5_BYTES];
	int r;

	if (!call->want_md5 && !(is_data(call) && (client->config.want_object_locking ||
						   client->bucket->is_md5_demanded)))
		return 0;
	if (call->body.has_file)
		r = digest_of_file(DIGEST_MD5, call->body.fd, call->body.offset, call->body.size,
				   md5, err);
	else
		r = digest_of(DIGEST_MD5, call->body.data, call->body.size, md5);
	if (r == 0)
		r = digest_base64_encode(md5, sizeof(md5), &text);
	if (r < 0)
		return error_errno(err, r, "the MD5 of what is stored");
	snprintf(headers->md5, sizeof(headers->md5), "%s", text.data);
	add(headers, "content-md5", headers->md5);
	return 0;
}

static int compare(const void *a, const void *b)
{
	return strcmp(((const struct sign_header *)a)->name, ((const struct sign_header *)b)->name);
}

static int collect(struct s3_client *client, const struct object_call *call,
		   struct headers *headers, struct error *err)
{
	int r = add_md5(client, call, headers, err);

	if (r == 0)
		r = add_encryption(client, call, headers, err);
	if (r < 0)
		return r;
	add(headers, "content-type", content_type_of(client, call));
	if (call->want_object_lock)
		add(headers, "x-amz-bucket-object-lock-enabled", "true");
	if (is_new_object(call))
		add_labels(&client->labels, headers);
	return 0;
}

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

static int sign(const struct s3_client *client, const struct object_call *call,
		struct object_request *request, const char *hash, struct headers *headers)
{
	const struct object_keys *keys = s3_client_keys(client);
	_cleanup_buffer_ struct buffer authorization = BUFFER_INIT(LINE_MAX_BYTES);
	time_t now = time(NULL) + (time_t)client->base.clock_offset_s;
	char date[SIGN_DATE_SIZE];
	int r;

	sign_date(now, date);
	add(headers, "host", request->url.host.data);
	add(headers, "x-amz-content-sha256", hash);
	add(headers, "x-amz-date", date);
	add(headers, "x-amz-security-token", keys->token);
	qsort(headers->list, headers->count, sizeof(headers->list[0]), compare);
	r = sigv4_authorization(
		&(struct sigv4_request){
			.method = call->method,
			.path = request->url.path.data,
			.query = buffer_string(&request->url.query),
			.headers = headers->list,
			.header_count = headers->count,
			.payload_hash = hash,
			.access_key = keys->access_key,
			.secret_key = keys->secret_key,
			.region = call->want_default_region ? "us-east-1" : client->region,
			.service = "s3",
			.time = now,
		},
		&authorization);
	/* The HTTP client derives Host from the URL; it is the same string. */
	for (size_t i = 0; i < headers->count && r == 0; i++)
		if (strcmp(headers->list[i].name, "host") != 0)
			r = object_request_add(request, headers->list[i].name,
					       headers->list[i].value);
	return r < 0 ? r : object_request_add(request, "authorization", authorization.data);
}

int s3_request_prepare(struct object_client *base, const struct object_call *call,
		       struct object_request *request, struct error *err)
{
	struct s3_client *client = (struct s3_client *)base;
	const struct s3_config *config = &client->config;
	struct headers headers = { 0 };
	char hash[SIGN_HEX_SIZE];
	int r;

	*request = (struct object_request){ 0 };
	r = hash_payload(client, call, hash, err);
	if (r == 0)
		r = collect(client, call, &headers, err);
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
		r = sign(client, call, request, hash, &headers);
	if (r == 0)
		r = object_request_add(request, "range", call->range);
	if (r == 0)
		r = object_request_add(request, "if-match", call->if_match);
	if (r < 0)
		return error_errno(err, r, "sign the request");
	object_request_finish(request, call);
	request->http.has_cookies = true;
	request->http.tls.ca_pem = config->ca_pem;
	request->http.tls.ca_pem_size = config->ca_pem_size;
	return 0;
}
