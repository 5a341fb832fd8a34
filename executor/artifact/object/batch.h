/*
 * Deleting objects by their names: as many as a request takes in one, else one by one, side by side.
 * https://docs.aws.amazon.com/AmazonS3/latest/API/API_DeleteObjects.html
 */
#pragma once

#include "executor/artifact/object/client.h"

/* As many as a request may name, and less if their names are long, so that several fit into a small
 * memory at a time. */
#define OBJECT_BATCH_KEYS 1000
#define OBJECT_BATCH_BYTES ((size_t)128 * 1024)

struct object_batch {
	struct object_client *client;
	/* Once for each key: err is NULL when it is gone. `owner` is what object_batch_add() was told. */
	void (*done)(void *context, size_t owner, const struct error *err);
	void *context;
	size_t width; /* so many at a time, of those that are deleted one by one */
	char **keys;
	size_t *owners;
	size_t count, bytes;
};

/* DELETE of one object, which may be missing. */
int object_batch_delete(struct object_client *client, const char *key, struct error *err);

/* Keeps a copy of the key; sends what has been kept when that is enough for a request. -ECANCELED or
 * -ENOMEM; what cannot be deleted is told to done() alone. Several sequences may add to one batch. */
int object_batch_add(struct object_batch *batch, const char *key, size_t owner, struct error *err);

/* The same, and the sending is the caller's once it is full; a key that no request can hold is deleted at
 * once. */
int object_batch_keep(struct object_batch *batch, const char *key, size_t owner, struct error *err);
bool object_batch_is_full(const struct object_batch *batch);

/* Sends what has been kept. */
int object_batch_flush(struct object_batch *batch, struct error *err);

/* Drops it. */
void object_batch_done(struct object_batch *batch);
