#include "executor/artifact/oss/identity.h"

#include "executor/artifact/oss/source.h"
#include "executor/artifact/oss/sts.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>

#define METADATA "http://100.100.100.200/latest"
#define METADATA_ROLES METADATA "/meta-data/ram/security-credentials/"
#define METADATA_TOKEN "x-aliyun-ecs-metadata-token"
#define TOKEN_SECONDS "21600"

/* One request after the other, until one brings keys. */
enum step { STEP_OIDC, STEP_METADATA_TOKEN, STEP_METADATA_ROLE, STEP_METADATA_KEYS, STEP_URI };

struct oss_identity {
	struct chain_source source; /* first */
	struct store_context context;
	struct oss_source found;
	enum step step;
	int64_t clock_offset_s;
	char metadata_token[CHAIN_NAME_MAX]; /* "" = none */
	char role[CHAIN_NAME_MAX];
};

static int fail(const struct oss_identity *self, int r, struct error *err)
{
	const char *from = self->step == STEP_OIDC ? "AssumeRoleWithOIDC" :
			   self->step == STEP_URI  ? "ALIBABA_CLOUD_CREDENTIALS_URI" :
						     "the machine's RAM role";

	return error_prefix(err, r, "credentials from %s", from);
}

/* --- Requests -------------------------------------------------------------------------------------- */

static int ask_sts(struct oss_identity *self, struct chain_request *request, struct error *err)
{
	int r = sts_request(&self->found, &self->context, self->clock_offset_s, request, err);

	self->step = STEP_OIDC;
	return r < 0 ? fail(self, r, err) : CHAIN_ASK;
}

static int ask_uri(struct oss_identity *self, struct chain_request *request, struct error *err)
{
	self->step = STEP_URI;
	request->method = "GET";
	return buffer_append_string(&request->url, self->found.uri) < 0 ?
		       fail(self, error_set(err, -EINVAL, "the address is too long"), err) :
		       CHAIN_ASK;
}

static int ask_metadata(struct oss_identity *self, enum step step, struct chain_request *request,
			struct error *err)
{
	bool is_token = step == STEP_METADATA_TOKEN;
	int r;

	self->step = step;
	request->is_local = true;
	request->timeout_ms = OSS_METADATA_TIMEOUT_MS;
	request->method = is_token ? "PUT" : "GET";
	r = buffer_append_string(&request->url, is_token ? METADATA "/api/token" : METADATA_ROLES);
	if (r == 0 && step == STEP_METADATA_KEYS)
		r = object_url_encode(&request->url, self->role, false);
	if (r == 0 && is_token)
		r = object_request_add(&request->lines, METADATA_TOKEN "-ttl-seconds",
				       TOKEN_SECONDS);
	else if (r == 0 && *self->metadata_token)
		r = object_request_add(&request->lines, METADATA_TOKEN, self->metadata_token);
	return r < 0 ? fail(self, error_errno(err, r, "ask it"), err) : CHAIN_ASK;
}

static int begin(struct chain_source *source, struct chain_request *request,
		 struct object_keys *keys, struct error *err)
{
	struct oss_identity *self = (struct oss_identity *)source;
	struct oss_source *found = &self->found;
	int r;

	oss_source_done(found);
	self->metadata_token[0] = '\0';
	r = oss_source_find(found, &self->context, err);
	if (r < 0)
		return error_prefix(err, r, "credentials");
	switch (found->kind) {
	case OSS_SOURCE_KEYS:
		*keys = found->keys;
		found->keys = (struct object_keys){ 0 };
		return CHAIN_DONE;
	case OSS_SOURCE_OIDC:
		return ask_sts(self, request, err);
	case OSS_SOURCE_METADATA:
		return ask_metadata(self, STEP_METADATA_TOKEN, request, err);
	case OSS_SOURCE_URI:
		return ask_uri(self, request, err);
	}
	return error_set(err, -EINVAL, "credentials: no source");
}

/* --- Answers ---------------------------------------------------------------------------------------- */

/* The metadata service of old knows no tokens; whoever forbids that is refused then. */
static int after_token(struct oss_identity *self, const struct http_response *response,
		       struct chain_request *request, struct error *err)
{
	const char *is_forbidden = getenv("ALIBABA_CLOUD_IMDSV1_DISABLED");
	struct error cause = ERROR_NONE;
	int r = chain_judge(response, &cause);

	if (r == 0)
		r = chain_take_name(response, self->metadata_token, &cause);
	if (r < 0 && (error_is_retryable(&cause) ||
		      (is_forbidden && strcasecmp(is_forbidden, "true") == 0))) {
		*err = cause;
		return r;
	}
	snprintf(self->role, sizeof(self->role), "%s", self->found.role);
	return ask_metadata(self, *self->role ? STEP_METADATA_KEYS : STEP_METADATA_ROLE, request,
			    err);
}

static int take(struct oss_identity *self, const struct http_response *response,
		struct chain_request *request, struct object_keys *keys, struct error *err)
{
	int r = self->step == STEP_OIDC ?
			sts_judge(response, &self->clock_offset_s, self->source.retry, err) :
			chain_judge(response, err);

	if (r == 0 && self->step == STEP_METADATA_ROLE) {
		r = chain_take_name(response, self->role, err);
		return r < 0 ? r : ask_metadata(self, STEP_METADATA_KEYS, request, err);
	}
	if (r == 0)
		r = chain_take_json(response, "AccessKeySecret", "SecurityToken", keys, err);
	return r < 0 ? r : CHAIN_DONE;
}

static int next(struct chain_source *source, const struct http_response *response,
		const struct error *failure, struct chain_request *request,
		struct object_keys *keys, struct error *err)
{
	struct oss_identity *self = (struct oss_identity *)source;
	int r;

	if (failure)
		*err = *failure;
	r = failure                           ? failure->code :
	    self->step == STEP_METADATA_TOKEN ? after_token(self, response, request, err) :
						take(self, response, request, keys, err);
	if (r >= 0)
		return r;
	if (self->step == STEP_OIDC || self->step == STEP_URI || *self->found.uri == '\0')
		return fail(self, r, err);
	return ask_uri(self, request, err);
}

/* --- Life ----------------------------------------------------------------------------------------------- */

static void identity_free(struct chain_source *source)
{
	struct oss_identity *self = (struct oss_identity *)source;

	oss_source_done(&self->found);
	explicit_bzero(self->metadata_token, sizeof(self->metadata_token));
	free(self);
}

struct chain_source *oss_identity_new(const struct store_context *context, const void *wish)
{
	struct oss_identity *self = calloc(1, sizeof(*self));

	(void)wish;
	if (!self)
		return NULL;
	self->source = (struct chain_source){ .store = "oss",
					      .renew_s = OSS_RENEW_S,
					      .begin = begin,
					      .next = next,
					      .free = identity_free };
	self->context = *context;
	return &self->source;
}
