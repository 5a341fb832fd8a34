/* Uploading a regular file: parts are read from it as they are sent, several at a time. */
#pragma once

#include "executor/artifact/object/upload.h"

/* Files up to this go in one request. */
#define OBJECT_FILE_PART_BYTES (16 * OBJECT_MIB)

/* How a file of `size` bytes is cut. */
struct object_file_plan {
	uint64_t part_bytes;
	unsigned threads; /* parts on their way at the same time */
	unsigned parts_max;
};

/* What the protocol's variables say rules: the part size in MiB (5 to 5120, and not more than the
 * file), the number of parts at a time (4; at most OBJECT_THREADS_MAX). What cannot be used is
 * ignored with a warning. -EFBIG for a file that 10,000 parts of 5 GiB do not hold. */
#define OBJECT_THREADS_MAX 64
int object_file_plan(struct object_file_plan *plan, const struct object_protocol *protocol,
		     uint64_t size, const struct log *log, struct error *err);

/* Changes the plan to no more than OBJECT_PARTS_FEW parts; false if these do not hold the file. */
bool object_file_plan_few(struct object_file_plan *plan, uint64_t size);

int object_put_file(struct object_client *client, const char *key, const char *content_type, int fd,
		    uint64_t size, struct error *err);
