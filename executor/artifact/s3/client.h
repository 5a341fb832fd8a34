/*
 * What makes an object_client an S3 client: keys, region, signature, and the meaning of refusals.
 */
#pragma once

#include "executor/artifact/object/chain.h"
#include "executor/artifact/object/client.h"
#include "executor/artifact/s3/config.h"
#include "executor/artifact/s3/labels.h"

/* What all clients of a bucket share. */
struct s3_bucket {
	char region[OBJECT_REGION_MAX]; /* "" = nobody knows yet */
	bool is_free; /* nobody is asking for it, or creating the bucket */
	bool is_made; /* createBucketIfNotPresent was done */
	bool is_list_v1;
	bool is_md5_demanded; /* the server stores nothing without it */
};

/* The object whose key was derived last: its parts follow each other. */
struct s3_derived {
	char *object; /* NULL = none */
	struct s3_sse_key key;
};

struct s3_client {
	struct object_client base; /* first */
	struct s3_config config;
	struct s3_labels labels;
	struct s3_bucket *bucket; /* lent by the cache */
	struct object_chain *chain; /* lent by the cache; NULL = static keys */
	struct s3_derived derived;
	char region
		[OBJECT_REGION_MAX]; /* "" until it is known; corrected by the server's answers */
	char refused_region[OBJECT_REGION_MAX]; /* named by a refusal of the question for it */
};

extern const struct object_protocol s3_protocol;

/* Finds or makes what the cache lends, once the configuration is there. 0 or a negative errno. */
int s3_client_share(struct s3_client *client, struct error *err);
void s3_client_done(struct s3_client *client);

const struct object_keys *s3_client_keys(const struct s3_client *client);

/* Takes the region from location, endpoint or another client, if one of them knows it. */
int s3_client_take_region(struct s3_client *client, struct error *err);

/* object_protocol.prepare: signs for this moment. Reads the body once for its hash where TLS does
 * not protect it. */
int s3_request_prepare(struct object_client *base, const struct object_call *call,
		       struct object_request *request, struct error *err);
