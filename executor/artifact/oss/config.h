/*
 * An OSS location, checked: what the template says about endpoint, bucket, key and credentials.
 * docs/stores/oss.md lists the fields.
 */
#pragma once

#include "executor/artifact/object/keys.h"
#include "executor/artifact/object/url.h"
#include "executor/base/error.h"
#include "executor/json/json.h"

#include <stdbool.h>
#include <stdint.h>

struct store_context;

struct oss_config {
	char *host; /* host[:port] */
	char *bucket;
	char *key; /* may be "" */
	char region[OBJECT_REGION_MAX]; /* "" = not known: signatures of version 1 */
	bool is_region_named; /* by the endpoint, not by OSS_REGION */
	struct object_keys keys; /* empty with want_chain */
	int64_t access_days; /* lifecycleRule; 0 = none */
	int64_t deletion_days;
	bool is_http;
	bool is_address; /* the host is no name: the bucket goes into the path */
	bool want_chain; /* useSDKCreds */
	bool want_bucket; /* create it if it is not there */
};

/* Fills *config from the location, the secret files and OSS_REGION; everything is copied. On failure
 * the message names the field and *config is empty. Free with oss_config_done in either case. */
int oss_config_parse(struct oss_config *config, struct json_object *location,
		     const struct store_context *context, struct error *err);
void oss_config_done(struct oss_config *config);
