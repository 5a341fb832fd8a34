#include "executor/artifact/object/sums.h"

#include "executor/artifact/object/crc64.h"
#include "executor/base/cleanup.h"

#include <errno.h>
#include <inttypes.h>
#include <stdlib.h>
#include <unistd.h>

#define CHUNK_BYTES ((size_t)64 * 1024)

static int add(const struct object_client *client, struct digest *digest, struct object_sums *sums,
	       const void *data, size_t size, struct error *err)
{
	int r = digest_update(digest, data, size);

	if (client->crc)
		sums->crc = crc64_update(client->crc, sums->crc, data, size);
	return r < 0 ? error_errno(err, r, "compute a checksum") : 0;
}

static int add_file(const struct object_client *client, struct digest *digest,
		    struct object_sums *sums, const struct http_body *body, struct error *err)
{
	_cleanup_free_ char *chunk = malloc(CHUNK_BYTES);
	uint64_t done = 0;
	int r = chunk ? 0 : error_set(err, -ENOMEM, "out of memory");

	while (r == 0 && done < body->size) {
		uint64_t left = body->size - done;
		ssize_t n = pread(body->fd, chunk, left < CHUNK_BYTES ? (size_t)left : CHUNK_BYTES,
				  (off_t)(body->offset + done));

		if (n < 0 && errno == EINTR)
			continue;
		if (n < 0)
			return error_errno(err, -errno, "the file to upload: read");
		if (n == 0)
			return error_set(err, -ESTALE,
					 "the file to upload: the file became shorter: it has "
					 "%" PRIu64 " of %" PRIu64 " bytes",
					 done, body->size);
		r = add(client, digest, sums, chunk, (size_t)n, err);
		done += (uint64_t)n;
	}
	return r;
}

int object_sums_of(const struct object_client *client, const struct http_body *body,
		   struct object_sums *ret, struct error *err)
{
	_cleanup_(digest_freep) struct digest *digest = digest_new(DIGEST_SHA256);
	int r = digest ? 0 : error_errno(err, -errno, "compute a checksum");

	*ret = (struct object_sums){ 0 };
	if (r == 0 && body->data)
		r = add(client, digest, ret, body->data, (size_t)body->size, err);
	else if (r == 0 && body->has_file)
		r = add_file(client, digest, ret, body, err);
	if (r < 0)
		return r;
	r = digest_finish(digest, ret->sha256);
	if (r < 0)
		return error_errno(err, r, "compute a checksum");
	digest_hex(ret->sha256, sizeof(ret->sha256), ret->hex);
	return 0;
}
