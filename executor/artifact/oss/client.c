#include "executor/artifact/oss/client.h"

#include "executor/artifact/oss/bucket.h"
#include "executor/artifact/oss/classify.h"
#include "executor/artifact/oss/go_text.h"
#include "executor/artifact/oss/lifecycle.h"
#include "executor/http/digest.h"

#include <string.h>

#define ERROR_HEADER_MAX 4096

int oss_client_make_ready(struct object_client *base, struct error *err)
{
	struct oss_client *client = (struct oss_client *)base;

	return client->chain ? object_chain_wait(client->chain, &base->context.observer, err) : 0;
}

const struct object_keys *oss_client_keys(const struct oss_client *client)
{
	return client->chain ? object_chain_keys(client->chain) : &client->config.keys;
}

int oss_prepare_put(struct object_client *base, struct error *err)
{
	struct oss_client *client = (struct oss_client *)base;
	int r = oss_client_make_ready(base, err);

	if (r == 0 && client->config.want_bucket)
		r = oss_bucket_create(client, err);
	if (r == 0 && (client->config.access_days > 0 || client->config.deletion_days > 0))
		r = oss_lifecycle_set(client, err);
	return r;
}

/* Servers that do not know version 4, or are in another region than we think, refuse the format, or
 * find another signature. Version 1 has no region. An endpoint of Alibaba Cloud knows version 4, so
 * there a wrong signature is a wrong secret. */
static bool change_signature(struct oss_client *client, const struct object_failure *failure)
{
	const char *code = failure->error.code;

	if (client->is_v1 || client->base.is_accepted)
		return false;
	if (strcmp(code, "InvalidArgument") != 0 &&
	    (client->config.is_region_named || strcmp(code, "SignatureDoesNotMatch") != 0))
		return false;
	client->is_v1 = true;
	return true;
}

static enum error_class judge(struct object_client *base, const struct object_call *call,
			      const struct http_response *response, const struct retry *retry,
			      const struct object_failure *failure)
{
	struct oss_client *client = (struct oss_client *)base;
	bool is_read = call->key && call->method[0] != 'P'; /* GET or HEAD, not PUT or POST */
	enum error_class class =
		oss_classify(failure->status, failure->error.code, failure->error.message, is_read);

	switch (class) {
	case ERROR_CLOCK_SKEW:
		return object_is_corrected(object_correct_clock(base, response), retry, class) ?
			       class :
			       ERROR_PERMANENT;
	case ERROR_EXPIRED_CREDENTIALS:
		return client->chain && object_chain_refresh(client->chain) ? class :
									      ERROR_PERMANENT;
	case ERROR_NOT_FOUND:
		return is_read ? class : ERROR_PERMANENT;
	case ERROR_PERMANENT:
		return change_signature(client, failure) ? ERROR_WRONG_REGION : class;
	default:
		return class;
	}
}

static void explain(const struct object_client *base, const struct object_call *call,
		    const struct http_response *response, const struct object_failure *failure,
		    struct error *err)
{
	const struct oss_client *client = (const struct oss_client *)base;
	const struct object_xml_error *error = &failure->error;
	char header[OBJECT_CODE_MAX];
	const char *id = *error->request_id ? error->request_id :
					      http_response_header(response, "x-oss-request-id",
								   header, sizeof(header));

	(void)call;
	if (id)
		error_append(err, "; request id %s%s%s", id, *error->ec ? ", cause " : "",
			     error->ec);
	if (*error->endpoint)
		error_append(err, "; the bucket's endpoint is %s", error->endpoint);
	/* Accounts and buckets of today know version 4 only. */
	if (client->config.region[0] == '\0' && !base->is_accepted &&
	    (failure->status == 400 || failure->status == 403))
		error_append(err, "; signed with version 1, because the endpoint names no region: "
				  "OSS_REGION would");
}

/* The document that HEAD has no room for stands in a header (OSS API reference, HeadObject). */
static void read_failure(const struct http_response *response, struct object_xml_error *error)
{
	_cleanup_buffer_ struct buffer document = BUFFER_INIT(ERROR_HEADER_MAX);
	char header[ERROR_HEADER_MAX];
	const char *value = http_response_header(response, "x-oss-err", header, sizeof(header));

	if (value && digest_base64_decode(value, strlen(value), &document) == 0)
		object_xml_parse_error(buffer_string(&document), document.size, error);
}

const struct object_protocol oss_protocol = {
	.type = "oss",
	.make_ready = oss_client_make_ready,
	.wait_for_keys = oss_client_make_ready,
	.prepare_put = oss_prepare_put,
	.prepare = oss_request_prepare,
	.judge = judge,
	.explain = explain,
	.put_as_go = oss_put_as_go,
	.read_failure = read_failure,
	.has_markers = true,
	.checksum_header = "x-oss-hash-crc64ecma",
};
