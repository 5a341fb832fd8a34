#include "executor/artifact/store.h"

#include "executor/artifact/http/artifactory.h"
#include "executor/artifact/http/http.h"
#include "executor/artifact/oss/oss.h"
#include "executor/artifact/plugin/plugin.h"
#include "executor/artifact/raw.h"
#include "executor/artifact/s3/s3.h"

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
