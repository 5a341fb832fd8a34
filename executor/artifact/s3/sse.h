/*
 * Encryption at rest that a location asks for (encryptionOptions). Source: Amazon S3 user guide,
 * "Protecting data with server-side encryption".
 */
#pragma once

#include "executor/artifact/object/sign.h"
#include "executor/base/error.h"
#include "executor/json/json.h"

#include <stdbool.h>
#include <stdint.h>

struct store_context;

enum s3_sse_kind { S3_SSE_NONE, S3_SSE_S3, S3_SSE_KMS, S3_SSE_CUSTOMER };

#define S3_SSE_KEY_BYTES 32
/* Base64 and NUL. */
#define S3_SSE_KEY_TEXT 45
#define S3_SSE_MD5_TEXT 25

struct s3_sse {
	enum s3_sse_kind kind;
	char *kms_key; /* KMS */
	char *kms_context; /* KMS: base64 of compact JSON; NULL = none */
	char *password; /* CUSTOMER */
	size_t password_size;
};

/* Checks `options` (may be NULL) and reads the secret. Free with s3_sse_done in either case. */
int s3_sse_parse(struct s3_sse *sse, struct json_object *options, bool is_insecure,
		 const struct store_context *context, struct error *err);
void s3_sse_done(struct s3_sse *sse);

/* The key of one object, and its MD5, both as headers want them. */
struct s3_sse_key {
	char key[S3_SSE_KEY_TEXT];
	char md5[S3_SSE_MD5_TEXT];
};

/* Derives it as Argo 4.1 and MinIO do: Argon2id (RFC 9106) of the password with bucket and key as salt, one
 * pass over 64 MiB in 4 lanes; that is the memory it needs meanwhile. */
int s3_sse_derive(const struct s3_sse *sse, const char *bucket, const char *key,
		  struct s3_sse_key *ret, struct error *err);
