/*
 * Where the default chain of Alibaba Cloud's SDKs finds credentials (useSDKCreds), as far as that
 * can be told without a network. Source: Alibaba Cloud SDK guide, "Manage access credentials",
 * default credential provider chain.
 */
#pragma once

#include "executor/artifact/object/keys.h"
#include "executor/artifact/store.h"

enum oss_source_kind {
	OSS_SOURCE_KEYS, /* the environment, or a file, has them */
	OSS_SOURCE_OIDC, /* a token that STS exchanges */
	OSS_SOURCE_METADATA, /* the role of the machine, then `uri` if there is one */
	OSS_SOURCE_URI,
};

struct oss_source {
	enum oss_source_kind kind;
	struct object_keys keys;
	char *role; /* OIDC: the ARN; METADATA: the name, "" = ask */
	char *provider; /* OIDC: the ARN */
	char *token_file;
	char *session;
	char *uri; /* "" = none */
};

/* The first of: the environment's keys, its OIDC token, the file of the command line tool, the
 * credentials file, the machine's role, the environment's URI. A source that is there but cannot be
 * used is an error: nobody wants to act under another role by mistake. Free with oss_source_done in
 * either case. */
int oss_source_find(struct oss_source *source, const struct store_context *context,
		    struct error *err);
void oss_source_done(struct oss_source *source);
