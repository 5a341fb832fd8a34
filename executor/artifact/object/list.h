/* Listing what lies below a prefix. */
#pragma once

#include "executor/artifact/object/client.h"

/* The prefix of an artifact's directory: the lexically clean key and a slash, "" for the whole
 * bucket. Caller frees; NULL = no memory. */
char *object_list_prefix(const char *key);

/* As store_operations.list, for one prefix. Holds one page (at most 1000 keys) at a time. */
int object_list(struct object_client *client, const char *prefix,
		int (*visit)(void *context, const char *relative, int64_t size, struct error *err),
		void *context, struct error *err);

/* The same with every key as it is: markers, that of the prefix too (relative is "" then), and names that
 * no file can have. */
int object_list_all(struct object_client *client, const char *prefix,
		    int (*visit)(void *context, const char *relative, int64_t size,
				 struct error *err),
		    void *context, struct error *err);

/* True for a relative name of a file that stays below where it is put: no empty component, none
 * that is "..", and not "." at the end. */
bool object_list_is_safe(const char *relative);
