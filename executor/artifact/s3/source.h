/*
 * Where temporary and other keys for S3 come from, as far as that can be told without a network. Sources:
 * AWS SDKs and Tools reference guide, "Standardized credential providers"; for S3_CHAIN_IAM what Argo
 * 4.1 does when a location names no credentials.
 */
#pragma once

#include "executor/artifact/object/keys.h"
#include "executor/artifact/object/url.h"
#include "executor/artifact/store.h"

enum s3_source_kind {
	S3_SOURCE_KEYS, /* the environment, or a file, has them */
	S3_SOURCE_WEB_IDENTITY, /* a token that STS exchanges */
	S3_SOURCE_CONTAINER, /* a service beside the container: ECS, EKS Pod Identity */
	S3_SOURCE_METADATA, /* the role of the machine */
};

enum s3_chain_kind { S3_CHAIN_SDK, S3_CHAIN_IAM };

/* Assumed with the keys that came before it. */
struct s3_role {
	char *arn;
	char *session; /* "" = ours */
	char *external_id; /* "" = none */
	int64_t duration_s;
};
#define S3_ROLES_MAX 8
#define S3_ROLE_SECONDS 3600 /* of a role chained after another, no more is possible */
#define S3_ROLE_SECONDS_DEFAULT 900

struct s3_source {
	enum s3_source_kind kind;
	struct object_keys keys;
	char *role; /* WEB_IDENTITY: the ARN; "" = the server's choice */
	char *session; /* "" = ours */
	char *token_file;
	char *url; /* CONTAINER */
	char *authorization; /* CONTAINER: what to show, "" = nothing; the file's content if there is one */
	struct s3_role roles[S3_ROLES_MAX];
	size_t role_count;
	char region[OBJECT_REGION_MAX]; /* STS's; "" = none is named */
};

struct s3_wish {
	enum s3_chain_kind kind;
	const char *role_arn; /* roleARN; "" = none */
	const char *region; /* the location's; "" = none */
};

/* A source that is there but cannot be used is an error: nobody wants to act under another role by mistake.
 * Free with s3_source_done in either case. */
int s3_source_find(struct s3_source *source, const struct store_context *context,
		   const struct s3_wish *wish, struct error *err);
void s3_source_done(struct s3_source *source);
