/*
 * Where a request goes: host, path and query of an S3 call.
 */
#pragma once

#include "executor/artifact/object/url.h"
#include "executor/artifact/s3/config.h"

/* What is asked of s3_url_build. */
struct s3_target {
	const struct s3_config *config;
	const char *region; /* chooses the host at Amazon; "" = use the endpoint as it is */
	const char *key; /* NULL = the bucket itself */
	const struct object_query *query; /* ends with name NULL; any order */
	bool want_path_style; /* whatever the location says */
};

/* 0 or -ENOMEM (also for more than OBJECT_QUERY_MAX parameters). Free with object_url_done in either
 * case. */
int s3_url_build(struct object_url *url, const struct s3_target *target);

/* The region that an Amazon endpoint names, copied into `region`; false if it names none (also
 * every other host). Source: AWS General Reference, "Amazon S3 endpoints and quotas". */
bool s3_url_host_region(const char *host, char region[OBJECT_REGION_MAX]);

/* An S3 service of Amazon's, not a load balancer or a machine of a user there. */
bool s3_url_is_amazon(const char *host);
