#include "executor/artifact/store.h"

#include "executor/artifact/http/artifactory.h"
#include "executor/artifact/http/http.h"
#include "executor/artifact/oss/oss.h"
#include "executor/artifact/plugin/plugin.h"
#include "executor/artifact/raw.h"
#include "executor/artifact/s3/s3.h"
#include "executor/base/cleanup.h"
#include "executor/http/digest.h"

#include <errno.h>
#include <stdio.h>
#include <string.h>

const struct store_operations *store_find(const char *type)
{
	static const struct store_operations *const stores[] = {
		&s3_store_operations,          &oss_store_operations, &http_store_operations,
		&artifactory_store_operations, &raw_store_operations, &plugin_store_operations,
	};

	for (size_t i = 0; i < sizeof(stores) / sizeof(stores[0]); i++)
		if (strcmp(stores[i]->type, type) == 0)
			return stores[i];
	return NULL;
}

void store_tell_stored(const struct store_context *context, uint64_t bytes)
{
	if (context->observer.stored)
		context->observer.stored(context->observer.context, bytes);
}

void store_tell_object(const struct store_context *context, const char *etag, uint64_t size,
		       const struct store_part *parts, size_t part_count)
{
	struct store_stored *stored = context->stored;

	if (!stored)
		return;
	stored->size += size;
	stored->etag[0] = '\0';
	free(TAKE_PTR(stored->parts));
	stored->part_count = 0;
	if (++stored->objects > 1)
		return;
	snprintf(stored->etag, sizeof(stored->etag), "%s", etag);
	stored->parts = part_count > 0 ? malloc(part_count * sizeof(*parts)) : NULL;
	if (!stored->parts)
		return;
	memcpy(stored->parts, parts, part_count * sizeof(*parts));
	stored->part_count = part_count;
}

void store_stored_done(struct store_stored *stored)
{
	free(stored->parts);
	*stored = (struct store_stored){ 0 };
}

const char *store_stored_checksum(const struct store_stored *stored,
				  char buffer[STORE_CHECKSUM_MAX])
{
	_cleanup_(digest_freep) struct digest *digest = digest_new(DIGEST_SHA256);
	uint8_t hash[DIGEST_SHA256_BYTES];
	char hex[2 * DIGEST_SHA256_BYTES + 1], suffix[24] = "";
	int r = digest && stored->part_count > 0 ? 0 : -ENODATA;

	buffer[0] = '\0';
	if (stored->part_count == 1) {
		memcpy(hash, stored->parts[0].sha256, sizeof(hash));
	} else {
		for (size_t i = 0; i < stored->part_count && r == 0; i++)
			r = digest_update(digest, stored->parts[i].sha256, sizeof(hash));
		if (r == 0)
			r = digest_finish(digest, hash);
		snprintf(suffix, sizeof(suffix), "-%zu", stored->part_count);
	}
	if (r == 0)
		snprintf(buffer, STORE_CHECKSUM_MAX, "sha256:%s%s",
			 digest_hex(hash, sizeof(hash), hex), suffix);
	return buffer;
}
