/*
 * Both signatures of OSS in the Authorization header: pure functions of the request.
 * Sources: OSS API reference, "Include a V1 signature in the Authorization header" and "Include a V4
 * signature in the Authorization header".
 */
#pragma once

#include "executor/artifact/object/sign.h"
#include "executor/artifact/object/url.h"
#include "executor/base/buffer.h"

#include <stddef.h>
#include <time.h>

#define OSS_UNSIGNED "UNSIGNED-PAYLOAD" /* the only x-oss-content-sha256 of version 4 */
#define OSS_DATE_SIZE 30 /* "Thu, 17 Nov 2005 18:49:58 GMT" and NUL */

struct oss_signing {
	const char *method;
	const char *bucket; /* NULL = all buckets */
	const char *key; /* NULL = the bucket itself */
	const struct object_query *query; /* ends with name NULL; NULL = none */
	/* content-md5, content-type and all that begin with x-oss-, sorted by name. Version 4 wants
	 * x-oss-content-sha256 and x-oss-date among them. */
	const struct sign_header *headers;
	size_t header_count;
	const char *access_key, *secret_key;
	const char *region; /* version 4 only */
	time_t time;
};

/* The value of the Date header, which version 1 signs. */
void oss_date(time_t time, char date[OSS_DATE_SIZE]);

/* Append the value of the Authorization header. 0 or a negative errno. */
int oss_sign_v1(const struct oss_signing *signing, struct buffer *out);
int oss_sign_v4(const struct oss_signing *signing, struct buffer *out);
