/* The operations of a store that every object_protocol shares, for its struct store_operations. */
#pragma once

#include "executor/artifact/object/client.h"

/* Embedded first by the store of a protocol, which opens and closes it. */
struct object_store {
	struct store store;
	struct object_client *client; /* of the same allocation */
};

int object_store_get(struct store *store, struct reader **ret, int64_t *ret_size,
		     struct error *err);
void object_store_get_done(struct store *store, struct reader *reader);
int object_store_list(struct store *store,
		      int (*visit)(void *context, const char *relative, int64_t size,
				   struct error *err),
		      void *context, struct error *err);
int object_store_get_below(struct store *store, const char *relative, struct reader **ret,
			   int64_t *ret_size, struct error *err);
int object_store_put_file(struct store *store, const char *relative, int fd, uint64_t size,
			  const char *name, struct error *err);
/* An empty object with a slash at the end of its key, as some tools leave for directories. */
int object_store_put_directory(struct store *store, const char *relative, struct error *err);
int object_store_put_stream(struct store *store, const char *name, struct writer **ret,
			    struct error *err);
void object_store_put_stream_done(struct store *store, struct writer *writer);
int object_store_remove(struct store *store, const char *relative, struct error *err);
int object_store_remove_all(struct store *base, const struct store_removal *removal,
			    struct error *err);
int object_store_sweep(struct store *store, bool is_below_too, struct error *err);
