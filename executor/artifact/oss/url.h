/*
 * Where a request goes: the bucket is part of the host name, unless the endpoint is an address.
 */
#pragma once

#include "executor/artifact/oss/config.h"

/* What is asked of oss_url_build. */
struct oss_target {
	const struct oss_config *config;
	const char *bucket; /* NULL = all buckets */
	const char *key; /* NULL = the bucket itself */
	const struct object_query *query; /* ends with name NULL; any order */
};

/* 0 or -ENOMEM (also for more than OBJECT_QUERY_MAX parameters). Free with object_url_done in either
 * case. */
int oss_url_build(struct object_url *url, const struct oss_target *target);

/* True for an IPv4 or a bracketed IPv6 address, with a port or without. */
bool oss_url_is_address(const char *host);

/* The region that an endpoint of Alibaba Cloud names, copied into `region`; false if it names none
 * (acceleration endpoints, every other host). Source: OSS user guide, "Regions and endpoints". */
bool oss_url_host_region(const char *host, char region[OBJECT_REGION_MAX]);
