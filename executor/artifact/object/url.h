/*
 * Path and query of a request in the one encoding that is both sent and signed: everything but
 * A-Z a-z 0-9 - . _ ~ becomes %XX, and nothing is normalised (Amazon S3 API reference,
 * "Authenticating Requests (AWS Signature Version 4)"; Alibaba Cloud OSS, "Include a V4 signature in
 * the Authorization header").
 */
#pragma once

#include "executor/base/buffer.h"

#include <stdbool.h>
#include <stddef.h>

/* Longest region name taken from a user or a server. */
#define OBJECT_REGION_MAX 64

/* The longest key, of Amazon ("Object key naming guidelines") and of Alibaba Cloud ("Object naming
 * conventions"; 1023 there). */
#define OBJECT_KEY_BYTES_MAX 1024

#define OBJECT_HOST_MAX 512

#define OBJECT_QUERY_MAX 8
struct object_query {
	const char *name;
	const char *value;
};

struct object_url {
	struct buffer host; /* as in the Host header */
	struct buffer path; /* encoded, starts with a slash */
	struct buffer query; /* encoded and sorted, "" = none */
	struct buffer url; /* all of it, with the scheme */
};

/* Empty buffers with their limits. */
void object_url_init(struct object_url *url);
void object_url_done(struct object_url *url);
/* Puts host, path and query together as url->url. 0 or a negative errno. */
int object_url_join(struct object_url *url, bool is_http);

/* Appends `s` percent-encoded; slashes stay if keep_slash. 0 or a negative errno. */
int object_url_encode(struct buffer *out, const char *s, bool keep_slash);

/* Appends parameters (in any order; the last has name NULL; `query` may be NULL) encoded and sorted.
 * With is_bare an empty value leaves the name alone, without "=". 0 or a negative errno: -ENOMEM
 * also for more than OBJECT_QUERY_MAX. */
int object_url_append_query(struct buffer *out, const struct object_query *query, bool is_bare);

/* Decodes %XX and '+' in place, as list answers with encoding-type=url have it; the new size, or
 * -EINVAL for a malformed sequence or an encoded zero byte. */
int object_url_decode(char *s);

/* True for letters, digits, '-' and '_': fit for host names and signatures. */
bool object_url_is_region(const char *s);
