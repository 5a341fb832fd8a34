/*
 * Uploading a stream of unknown length. One part is filled while the one before is sent, so two
 * part buffers are what it needs; a short stream goes in one request from the first buffer.
 *
 * Parts grow with their number so that OBJECT_PARTS_MAX of them hold OBJECT_STREAM_BYTES_MAX:
 *	1 to 1000	8 MiB
 *	1001 to 4000	16 MiB
 *	4001 to 10000	32 MiB, sent before the next is filled: one buffer only
 */
#pragma once

#include "executor/artifact/object/upload.h"
#include "executor/base/stream.h"

/* About 242 GiB. */
#define OBJECT_STREAM_BYTES_MAX ((1000 * 8 + 3000 * 16 + 6000 * (uint64_t)32) * OBJECT_MIB)

/* Bytes of part `number` (from 1) of a stream. */
uint64_t object_stream_part_bytes(unsigned number);

/* `content_type` is static; the key is copied. Free with object_put_stream_done, which aborts what was
 * not finished. */
int object_put_stream(struct object_client *client, const char *key, const char *content_type,
		      struct writer **ret, struct error *err);
void object_put_stream_done(struct writer *writer);
