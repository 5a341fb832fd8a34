/* Uploading a regular file: parts are read from it as they are sent, several at a time. */
#pragma once

#include "executor/artifact/s3/upload.h"

/* Files up to this go in one request. */
#define S3_FILE_PART_BYTES (16 * S3_MIB)

/* How a file of `size` bytes is cut. */
struct s3_file_plan {
	uint64_t part_bytes;
	unsigned threads; /* parts on their way at the same time */
};

/* ARTIFACT_S3_UPLOAD_PART_SIZE_MIB (5 to 5120, and not more than the file) and
 * ARTIFACT_S3_UPLOAD_THREADS (4; at most S3_THREADS_MAX) rule; what cannot be used is ignored with a
 * warning. -EFBIG for a file that 10,000 parts of 5 GiB do not hold. */
#define S3_THREADS_MAX 64
int s3_file_plan(struct s3_file_plan *plan, uint64_t size, const struct log *log,
		 struct error *err);

int s3_put_file(struct s3_client *client, const char *key, const char *content_type, int fd,
		uint64_t size, struct error *err);
