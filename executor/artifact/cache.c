#include "executor/artifact/cache.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

struct entry {
	struct entry *next;
	char *name;
	void *value;
	void (*free_value)(void *value);
};

struct store_cache {
	struct entry *entries;
};

struct store_cache *store_cache_new(void)
{
	return calloc(1, sizeof(struct store_cache));
}

void store_cache_free(struct store_cache *cache)
{
	if (!cache)
		return;
	while (cache->entries) {
		struct entry *entry = cache->entries;

		cache->entries = entry->next;
		entry->free_value(entry->value);
		free(entry->name);
		free(entry);
	}
	free(cache);
}

void *store_cache_find(const struct store_cache *cache, const char *name)
{
	for (const struct entry *entry = cache->entries; entry; entry = entry->next)
		if (strcmp(entry->name, name) == 0)
			return entry->value;
	return NULL;
}

int store_cache_add(struct store_cache *cache, const char *name, void *value,
		    void (*free_value)(void *value))
{
	struct entry *entry = calloc(1, sizeof(*entry));

	if (entry)
		entry->name = strdup(name);
	if (!entry || !entry->name) {
		free(entry);
		free_value(value);
		return -ENOMEM;
	}
	entry->value = value;
	entry->free_value = free_value;
	entry->next = cache->entries;
	cache->entries = entry;
	return 0;
}
