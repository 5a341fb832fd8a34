/* Checksums of what is uploaded, known before it is sent: the SHA-256 signs it and is what we remember of
 * it, the CRC-64 is compared with the server's where the protocol has one. */
#pragma once

#include "executor/artifact/object/client.h"
#include "executor/http/digest.h"

struct object_sums {
	uint8_t sha256[DIGEST_SHA256_BYTES];
	char hex[2 * DIGEST_SHA256_BYTES + 1];
	uint64_t crc; /* 0 where the protocol has none */
};

/* Reads the body once. -ESTALE for a file that has become shorter. */
int object_sums_of(const struct object_client *client, const struct http_body *body,
		   struct object_sums *ret, struct error *err);
