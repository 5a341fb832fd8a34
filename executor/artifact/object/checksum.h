/* Comparing the checksum that a server gives (object_protocol.checksum_header) with our own. */
#pragma once

#include "executor/artifact/object/client.h"

/* How often one client sends or fetches again what did not arrive as it left. */
#define OBJECT_CHECKSUM_REPEATS 3

/* True if the answer carries a checksum that can be compared. */
bool object_checksum_of(const struct object_client *client, const struct http_response *response,
			uint64_t *ret);

/* A difference is -EBADMSG: class TRANSIENT, after OBJECT_CHECKSUM_REPEATS of them PERMANENT. */
int object_checksum_compare(struct object_client *client, uint64_t theirs, uint64_t ours,
			    struct error *err);
/* The same with the answer's, if it carries one. */
int object_checksum_check(struct object_client *client, const struct http_response *response,
			  uint64_t ours, struct error *err);
