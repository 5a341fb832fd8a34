/*
 * Reading one object. A large one that comes slower than it is read is fetched over several
 * connections: the first goes on, and ranges ahead of it are asked for, as many as the process's budget
 * has room for, until the first reaches them. What is read is in order. They begin behind all that the
 * server may send over the first one unasked, and one shows that it comes in time before others follow:
 * one range at most comes in vain.
 */
#pragma once

#include "executor/artifact/object/client.h"
#include "executor/base/stream.h"

/* Smaller objects come over one connection, and so does what comes faster: more of them would only
 * share what the machine has. */
#define OBJECT_SPREAD_BYTES_MIN ((int64_t)32 * 1024 * 1024)
#define OBJECT_SPREAD_BYTES_PER_S ((int64_t)100 * 1000 * 1000)

/* Ranges ahead of the one that is read. */
#define OBJECT_RANGES_AHEAD 5

/* Opens the object: returns once the server has said that it is there. The reader resumes where it
 * was cut off, as long as the object is the same one (ETag). *ret_size is -1 if unknown. `client`
 * outlives the reader, which object_get_done frees. */
int object_get(struct object_client *client, const char *key, struct reader **ret,
	       int64_t *ret_size, struct error *err);
void object_get_done(struct reader *reader);
