/*
 * AWS Signature Version 4 in the Authorization header: a pure function of the request.
 * Source: Amazon S3 API reference, "Signature Calculations for the Authorization Header".
 */
#pragma once

#include "executor/artifact/object/sign.h"
#include "executor/base/buffer.h"

#include <stddef.h>
#include <time.h>

/* SHA-256 of nothing, and the word for "the body is not part of the signature" (https only). */
#define SIGV4_EMPTY_HASH "e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855"
#define SIGV4_UNSIGNED "UNSIGNED-PAYLOAD"

struct sigv4_request {
	const char *method;
	const char *path; /* as sent */
	const char *query; /* as sent: encoded, sorted */
	const struct sign_header *headers; /* all that are signed, sorted by name */
	size_t header_count;
	const char *payload_hash; /* the value of x-amz-content-sha256 */
	const char *access_key, *secret_key;
	const char *region;
	const char *service; /* "s3" */
	time_t time;
};

/* Appends the value of the Authorization header. 0 or a negative errno. */
int sigv4_authorization(const struct sigv4_request *request, struct buffer *out);
