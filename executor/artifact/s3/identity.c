#include "executor/artifact/s3/identity.h"

#include "executor/artifact/s3/sts.h"
#include "executor/base/text.h"

#include <errno.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>

#define METADATA "http://169.254.169.254"
#define METADATA_IPV6 "http://[fd00:ec2::254]"
#define METADATA_ROLES "/latest/meta-data/iam/security-credentials/"
#define METADATA_TOKEN "x-aws-ec2-metadata-token"
#define TOKEN_SECONDS "21600"

/* One request after the other, until one brings keys. */
enum step {
	STEP_WEB_IDENTITY,
	STEP_CONTAINER,
	STEP_METADATA_TOKEN,
	STEP_METADATA_ROLE,
	STEP_METADATA_KEYS,
	STEP_ROLE,
};

struct s3_identity {
	struct chain_source source; /* first */
	struct store_context context;
	struct s3_wish wish;
	char *role_arn, *region; /* the wish's */
	struct s3_source found;
	enum step step;
	size_t roles; /* assumed */
	int64_t clock_offset_s;
	char metadata_token[CHAIN_NAME_MAX]; /* "" = none */
	char role[CHAIN_NAME_MAX];
};

static const char *describe(const struct s3_identity *self)
{
	switch (self->step) {
	case STEP_WEB_IDENTITY:
		return "AssumeRoleWithWebIdentity";
	case STEP_CONTAINER:
		return "the container's credentials service";
	case STEP_ROLE:
		return "AssumeRole";
	default:
		return "the machine's metadata service";
	}
}

static int fail(const struct s3_identity *self, int r, struct error *err)
{
	return error_prefix(err, r, "credentials from %s", describe(self));
}

/* --- Requests -------------------------------------------------------------------------------------- */

static const char *metadata_endpoint(void)
{
	const char *endpoint = getenv("AWS_EC2_METADATA_SERVICE_ENDPOINT");
	const char *mode = getenv("AWS_EC2_METADATA_SERVICE_ENDPOINT_MODE");

	if (endpoint && *endpoint)
		return endpoint;
	return mode && strcasecmp(mode, "IPv6") == 0 ? METADATA_IPV6 : METADATA;
}

static int ask_metadata(struct s3_identity *self, enum step step, struct chain_request *request,
			struct error *err)
{
	const char *endpoint = metadata_endpoint();
	size_t size = strlen(endpoint);
	int r;

	self->step = step;
	while (size > 0 && endpoint[size - 1] == '/')
		size--;
	request->is_local = true;
	request->method = step == STEP_METADATA_TOKEN ? "PUT" : "GET";
	request->timeout_ms = step == STEP_METADATA_TOKEN ? S3_METADATA_TOKEN_TIMEOUT_MS :
							    S3_METADATA_TIMEOUT_MS;
	r = buffer_append_format(&request->url, "%.*s%s", (int)size, endpoint,
				 step == STEP_METADATA_TOKEN ? "/latest/api/token" :
							       METADATA_ROLES);
	if (r == 0 && step == STEP_METADATA_KEYS)
		r = object_url_encode(&request->url, self->role, false);
	if (r == 0 && step == STEP_METADATA_TOKEN)
		r = object_request_add(&request->lines, METADATA_TOKEN "-ttl-seconds",
				       TOKEN_SECONDS);
	else if (r == 0 && *self->metadata_token)
		r = object_request_add(&request->lines, METADATA_TOKEN, self->metadata_token);
	return r < 0 ? error_errno(err, r, "ask the metadata service") : CHAIN_ASK;
}

static int ask_container(struct s3_identity *self, struct chain_request *request, struct error *err)
{
	const char *authorization = self->found.authorization;
	int r;

	self->step = STEP_CONTAINER;
	request->method = "GET";
	request->is_local = text_has_prefix(self->found.url, "http://");
	request->timeout_ms = S3_METADATA_TIMEOUT_MS;
	if (strpbrk(authorization, "\r\n"))
		return error_set(err, -EINVAL, "its token contains a line end");
	r = buffer_append_string(&request->url, self->found.url);
	if (r == 0)
		r = object_request_add(&request->lines, "authorization",
				       *authorization ? authorization : NULL);
	return r < 0 ? error_errno(err, r, "ask it") : CHAIN_ASK;
}

/* Keys have come: they are the ones, or good for the next role. */
static int assume(struct s3_identity *self, struct chain_request *request, struct object_keys *keys,
		  struct error *err)
{
	struct object_keys before = *keys;
	int r;

	if (self->roles == self->found.role_count)
		return CHAIN_DONE;
	self->step = STEP_ROLE;
	*keys = (struct object_keys){ 0 };
	r = sts_assume_role(&self->found, &self->found.roles[self->roles++], &before,
			    self->clock_offset_s, request, err);
	object_keys_done(&before);
	return r < 0 ? fail(self, r, err) : CHAIN_ASK;
}

static int begin(struct chain_source *source, struct chain_request *request,
		 struct object_keys *keys, struct error *err)
{
	struct s3_identity *self = (struct s3_identity *)source;
	struct s3_source *found = &self->found;
	int r;

	s3_source_done(found);
	self->roles = 0;
	self->metadata_token[0] = '\0';
	r = s3_source_find(found, &self->context, &self->wish, err);
	if (r < 0)
		return error_prefix(err, r, "credentials");
	switch (found->kind) {
	case S3_SOURCE_KEYS:
		*keys = found->keys;
		found->keys = (struct object_keys){ 0 };
		return assume(self, request, keys, err);
	case S3_SOURCE_WEB_IDENTITY:
		self->step = STEP_WEB_IDENTITY;
		r = sts_assume_role_with_token(found, &self->context, request, err);
		return r < 0 ? fail(self, r, err) : CHAIN_ASK;
	case S3_SOURCE_CONTAINER:
		r = ask_container(self, request, err);
		return r < 0 ? fail(self, r, err) : r;
	case S3_SOURCE_METADATA:
		return ask_metadata(self, STEP_METADATA_TOKEN, request, err);
	}
	return error_set(err, -EINVAL, "credentials: no source");
}

/* --- Answers ---------------------------------------------------------------------------------------- */

static bool is_old_way_forbidden(void)
{
	const char *value = getenv("AWS_EC2_METADATA_V1_DISABLED");

	return value && strcasecmp(value, "true") == 0;
}

/* The older way knows no tokens, and a token's answer may be lost between machine and container, which
 * are too many hops. */
static int after_token(struct s3_identity *self, const struct http_response *response,
		       const struct error *failure, struct chain_request *request,
		       struct error *err)
{
	bool is_unknown = failure ? failure->code == -ETIMEDOUT :
				    response->status == 403 || response->status == 404 ||
					    response->status == 405;
	int r;

	if (is_unknown && !is_old_way_forbidden())
		return ask_metadata(self, STEP_METADATA_ROLE, request, err);
	r = failure ? failure->code : chain_judge(response, err);
	if (failure && err)
		*err = *failure;
	if (r == 0)
		r = chain_take_name(response, self->metadata_token, err);
	return r < 0 ? r : ask_metadata(self, STEP_METADATA_ROLE, request, err);
}

static int take(struct s3_identity *self, const struct http_response *response,
		struct chain_request *request, struct object_keys *keys, struct error *err)
{
	int r;

	switch (self->step) {
	case STEP_WEB_IDENTITY:
	case STEP_ROLE:
		r = sts_take_keys(response, keys, &self->clock_offset_s, err);
		break;
	case STEP_METADATA_ROLE:
		r = chain_judge(response, err);
		if (r == 0)
			r = chain_take_name(response, self->role, err);
		return r < 0 ? r : ask_metadata(self, STEP_METADATA_KEYS, request, err);
	default:
		r = chain_judge(response, err);
		if (r == 0)
			r = chain_take_json(response, "SecretAccessKey", "Token", keys, err);
		break;
	}
	return r < 0 ? r : CHAIN_DONE;
}

static int next(struct chain_source *source, const struct http_response *response,
		const struct error *failure, struct chain_request *request,
		struct object_keys *keys, struct error *err)
{
	struct s3_identity *self = (struct s3_identity *)source;
	int r;

	if (self->step == STEP_METADATA_TOKEN) {
		r = after_token(self, response, failure, request, err);
	} else if (failure) {
		*err = *failure;
		r = failure->code;
	} else {
		r = take(self, response, request, keys, err);
	}
	if (r < 0)
		return fail(self, r, err);
	return r == CHAIN_DONE ? assume(self, request, keys, err) : r;
}

/* --- Life ----------------------------------------------------------------------------------------------- */

static void identity_free(struct chain_source *source)
{
	struct s3_identity *self = (struct s3_identity *)source;

	s3_source_done(&self->found);
	explicit_bzero(self->metadata_token, sizeof(self->metadata_token));
	free(self->role_arn);
	free(self->region);
	free(self);
}

struct chain_source *s3_identity_new(const struct store_context *context, const void *wanted)
{
	struct s3_identity *self = calloc(1, sizeof(*self));
	const struct s3_wish *wish = wanted;

	if (!self)
		return NULL;
	self->source = (struct chain_source){ .store = "s3",
					      .renew_s = S3_RENEW_S,
					      .begin = begin,
					      .next = next,
					      .free = identity_free };
	self->context = *context;
	self->role_arn = strdup(wish->role_arn);
	self->region = strdup(wish->region);
	self->wish = (struct s3_wish){ wish->kind, self->role_arn, self->region };
	if (!self->role_arn || !self->region) {
		identity_free(&self->source);
		return NULL;
	}
	return &self->source;
}
