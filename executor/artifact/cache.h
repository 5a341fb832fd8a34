/*
 * What the stores of one process have found out and share, so that a second artifact asks nothing that the
 * first one has asked: regions, access keys. One per process, beside the HTTP client and freed before it.
 */
#pragma once

#include "executor/base/error.h"

struct store_cache;

struct store_cache *store_cache_new(void); /* NULL = no memory */
/* Frees what is in it, latest first. NULL is fine. */
void store_cache_free(struct store_cache *cache);

/* Lent until the cache is freed; NULL = there is none of that name. */
void *store_cache_find(const struct store_cache *cache, const char *name);
/* Takes the value, also on failure: free_value(value) then. 0 or -ENOMEM. */
int store_cache_add(struct store_cache *cache, const char *name, void *value,
		    void (*free_value)(void *value));
