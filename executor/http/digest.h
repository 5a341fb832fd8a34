/*
 * Checksums and their spellings: SHA-256, MD5 and HMAC-SHA1 (only where a protocol demands it),
 * HMAC-SHA256, hexadecimal and base64 (RFC 4648, 4). Functions return 0 or a negative errno: -ENOMEM, or
 * -ENOTSUP where the cryptographic library refuses the algorithm.
 */
#pragma once

#include "executor/base/buffer.h"
#include "executor/base/error.h"

#include <stddef.h>
#include <stdint.h>

enum digest_kind { DIGEST_SHA256, DIGEST_MD5 };

#define DIGEST_SHA256_BYTES 32
#define DIGEST_MD5_BYTES 16
#define DIGEST_SHA1_BYTES 20
#define DIGEST_BYTES_MAX DIGEST_SHA256_BYTES

/* Of a block of memory; `out` has room for the kind's size. */
int digest_of(enum digest_kind kind, const void *data, size_t size, uint8_t *out);

/* Of `size` bytes of the descriptor from `offset`, read with pread: its offset stays and the
 * memory needed does not depend on the size. -ESTALE when the file ends earlier. The caller names
 * the file in err. */
int digest_of_file(enum digest_kind kind, int fd, uint64_t offset, uint64_t size, uint8_t *out,
		   struct error *err);

/* Piece by piece. digest_finish gives the result once; digest_reset starts over. */
struct digest;
struct digest *digest_new(enum digest_kind kind); /* NULL: as above, in errno */
void digest_free(struct digest *digest);
static inline void digest_freep(struct digest **digest)
{
	digest_free(*digest);
}
int digest_update(struct digest *digest, const void *data, size_t size);
int digest_finish(struct digest *digest, uint8_t *out);
int digest_reset(struct digest *digest);

int digest_hmac_sha256(const void *key, size_t key_size, const void *data, size_t size,
		       uint8_t out[DIGEST_SHA256_BYTES]);

int digest_hmac_sha1(const void *key, size_t key_size, const void *data, size_t size,
		     uint8_t out[DIGEST_SHA1_BYTES]);

/* Lower-case digits and a NUL: 2 * size + 1 bytes; returns out. */
const char *digest_hex(const uint8_t *data, size_t size, char *out);

/* Padded, on one line, appended to out: 0, -ENOMEM, -EMSGSIZE. */
int digest_base64_encode(const void *data, size_t size, struct buffer *out);

/* Appends the decoded bytes. White space is skipped, padding is required; -EINVAL for anything
 * else that is not base64, with `out` unchanged. */
int digest_base64_decode(const char *text, size_t size, struct buffer *out);
