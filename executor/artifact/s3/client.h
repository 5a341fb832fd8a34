/*
 * What makes an object_client an S3 client: region, signature, and the meaning of refusals.
 */
#pragma once

#include "executor/artifact/object/client.h"
#include "executor/artifact/s3/config.h"

struct s3_client {
	struct object_client base; /* first */
	struct s3_config config;
	char region
		[OBJECT_REGION_MAX]; /* "" until it is known; corrected by the server's answers */
};

extern const struct object_protocol s3_protocol;

/* Takes the region from location or endpoint, if they name one and it is not known yet. */
int s3_client_take_region(struct s3_client *client, struct error *err);
/* The same, then asks the server: object_protocol.make_ready. */
int s3_client_find_region(struct object_client *base, struct error *err);

/* object_protocol.prepare: signs for this moment. Reads the body once for its hash where TLS does
 * not protect it. */
int s3_request_prepare(struct object_client *base, const struct object_call *call,
		       struct object_request *request, struct error *err);
