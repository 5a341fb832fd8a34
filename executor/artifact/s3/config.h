/*
 * An S3 location, checked: what the template says about endpoint, bucket, key and credentials.
 * docs/stores/s3.md lists the fields.
 */
#pragma once

#include "executor/artifact/object/keys.h"
#include "executor/artifact/s3/sse.h"
#include "executor/base/error.h"
#include "executor/json/json.h"

#include <stdbool.h>
#include <stddef.h>

struct store_context;

enum s3_addressing { S3_ADDRESSING_AUTO, S3_ADDRESSING_PATH, S3_ADDRESSING_VIRTUAL };

/* What requests are signed with. */
enum s3_keys {
	S3_KEYS_STATIC, /* the location's secrets */
	S3_KEYS_SDK, /* roleARN or useSDKCreds: what AWS's SDKs find */
	S3_KEYS_IAM, /* the location says nothing: what the pod or the machine was given */
};

struct s3_config {
	char *host; /* host[:port]; the scheme's default port is left out */
	char *bucket;
	char *key; /* may be "" */
	char *region; /* "" = to be found out */
	char *ca_pem; /* NULL = the system's roots */
	size_t ca_pem_size;
	enum s3_keys keys_from;
	struct object_keys keys; /* S3_KEYS_STATIC */
	char *role_arn; /* S3_KEYS_SDK: to be assumed; "" = none */
	struct s3_sse sse;
	enum s3_addressing addressing;
	bool is_insecure; /* http, not https */
	bool want_bucket; /* create it if it is not there */
	bool want_object_locking; /* when creating it */
};

/* Fills *config from the location and the secret files; everything is copied. On failure the
 * message names the field and *config is empty. Free with s3_config_done in either case. */
int s3_config_parse(struct s3_config *config, struct json_object *location,
		    const struct store_context *context, struct error *err);
void s3_config_done(struct s3_config *config);
