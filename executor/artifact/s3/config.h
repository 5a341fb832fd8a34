/*
 * An S3 location, checked: what the template says about endpoint, bucket, key and credentials.
 * docs/stores/s3.md lists the fields.
 */
#pragma once

#include "executor/base/error.h"
#include "executor/json/json.h"

#include <stdbool.h>
#include <stddef.h>

enum s3_addressing { S3_ADDRESSING_AUTO, S3_ADDRESSING_PATH, S3_ADDRESSING_VIRTUAL };

struct s3_credentials {
	char *access_key;
	char *secret_key;
	char *session_token; /* NULL = none */
};

struct s3_config {
	char *host; /* host[:port]; the scheme's default port is left out */
	char *bucket;
	char *key; /* may be "" */
	char *region; /* "" = to be found out */
	char *ca_pem; /* NULL = the system's roots */
	size_t ca_pem_size;
	struct s3_credentials credentials;
	enum s3_addressing addressing;
	bool is_insecure; /* http, not https */
	bool want_bucket; /* create it if it is not there */
	bool want_object_locking; /* when creating it */
};

/* Fills *config from the location and the secret files; everything is copied. On failure the
 * message names the field and *config is empty. Free with s3_config_done in either case. */
int s3_config_parse(struct s3_config *config, struct json_object *location,
		    const char *secret_directory, struct error *err);
void s3_config_done(struct s3_config *config);
