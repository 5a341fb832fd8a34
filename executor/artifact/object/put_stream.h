/*
 * Uploading a stream of unknown length. One part is filled while those before it are sent, as many as
 * the process's budget has memory for, and OBJECT_STREAM_FLIGHTS at most; a short stream goes in one
 * request from the first buffer.
 *
 * Parts grow with their number so that OBJECT_PARTS_MAX of them hold OBJECT_STREAM_BYTES_MAX:
 *	1 to 1000	5 MiB
 *	1001 to 2000	8 MiB
 *	2001 to 4000	16 MiB
 *	4001 to 10000	32 MiB, sent before the next is filled: one buffer only
 * A budget that has no room for two of them keeps them at what it has room for; the largest stream is
 * smaller accordingly.
 */
#pragma once

#include "executor/artifact/object/upload.h"
#include "executor/base/stream.h"

/* About 231 GiB. */
#define OBJECT_STREAM_BYTES_MAX \
	((1000 * 5 + 1000 * 8 + 2000 * 16 + 6000 * (uint64_t)32) * OBJECT_MIB)

/* Parts on their way at the same time. */
#define OBJECT_STREAM_FLIGHTS 4

/* Bytes of part `number` (from 1) of a stream, where so many bytes may be claimed at a time
 * (budget_bytes_max()). */
uint64_t object_stream_part_bytes(unsigned number, uint64_t budget);

/* `content_type` is static; the key is copied. Free with object_put_stream_done, which aborts what was
 * not finished. */
int object_put_stream(struct object_client *client, const char *key, const char *content_type,
		      struct writer **ret, struct error *err);
void object_put_stream_done(struct writer *writer);
