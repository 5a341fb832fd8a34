/*
 * Where a request goes: host, path and query of an S3 call, in the one encoding that is both sent
 * and signed (API reference, "Authenticating Requests (AWS Signature Version 4)": everything but
 * A-Z a-z 0-9 - . _ ~ becomes %XX, the path is neither normalised nor encoded twice).
 */
#pragma once

#include "executor/artifact/s3/config.h"
#include "executor/base/buffer.h"
#include "executor/base/error.h"

#include <stdbool.h>
#include <stddef.h>

/* Longest region name taken from a user or a server. */
#define S3_REGION_MAX 64

#define S3_QUERY_MAX 8
struct s3_query {
	const char *name;
	const char *value;
};

struct s3_url {
	struct buffer host; /* as in the Host header */
	struct buffer path; /* encoded, starts with a slash */
	struct buffer query; /* encoded and sorted, "" = none */
	struct buffer url; /* all of it, with the scheme */
};

/* What is asked of s3_url_build. */
struct s3_target {
	const struct s3_config *config;
	const char *region; /* chooses the host at Amazon; "" = use the endpoint as it is */
	const char *key; /* NULL = the bucket itself */
	const struct s3_query *query; /* ends with name NULL; any order */
	bool want_path_style; /* whatever the location says */
};

/* 0 or -ENOMEM (also for more than S3_QUERY_MAX parameters). Free with s3_url_done in either case. */
int s3_url_build(struct s3_url *url, const struct s3_target *target);
void s3_url_done(struct s3_url *url);

/* Appends `s` percent-encoded; slashes stay if keep_slash. 0 or a negative errno. */
int s3_url_encode(struct buffer *out, const char *s, bool keep_slash);

/* Decodes %XX and '+' in place, as list answers with encoding-type=url have it; the new size, or
 * -EINVAL for a malformed sequence or an encoded zero byte. */
int s3_url_decode(char *s);

/* The region that an Amazon endpoint names, copied into `region`; false if it names none (also
 * every other host). Source: AWS General Reference, "Amazon S3 endpoints and quotas". */
bool s3_url_host_region(const char *host, char region[S3_REGION_MAX]);

/* True for letters, digits, '-' and '_': fit for host names and signatures. */
bool s3_url_is_region(const char *s);
