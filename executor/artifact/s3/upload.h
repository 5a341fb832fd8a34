/*
 * Uploads: one PUT for small objects, a multipart upload for others. Nothing of a multipart upload
 * is visible before it is completed; whoever drops one aborts it.
 * Source: Amazon S3 user guide, "Uploading and copying objects using multipart upload".
 */
#pragma once

#include "executor/artifact/s3/client.h"

#include <stdint.h>

#define S3_MIB ((uint64_t)1024 * 1024)
#define S3_PARTS_MAX 10000
#define S3_PART_BYTES_MIN (5 * S3_MIB)
#define S3_PART_BYTES_MAX (5 * 1024 * S3_MIB)
/* Longest ETag kept; Amazon's have 34 characters. */
#define S3_ETAG_MAX 128

/* Stores an object with one request. */
int s3_put_object(struct s3_client *client, const char *key, const char *content_type,
		  const struct http_body *body, struct error *err);

struct s3_upload {
	struct s3_client *client;
	const char *key; /* borrowed */
	char *id; /* NULL = not begun, completed or aborted */
	char (*etags)[S3_ETAG_MAX]; /* [number - 1], "" = not stored yet */
	unsigned count; /* highest part number */
	unsigned capacity;
	uint64_t bytes; /* of all parts stored */
};

int s3_upload_begin(struct s3_upload *upload, struct s3_client *client, const char *key,
		    const char *content_type, struct error *err);

/* The object exists if this returns 0. Otherwise *ret_is_gone says that the server does not know
 * the upload or one of its parts (any more): it can only be started over. */
int s3_upload_complete(struct s3_upload *upload, bool *ret_is_gone, struct error *err);

/* Aborts it unless it was completed, with one attempt of at most S3_ABORT_MS, cancelled or not, and
 * frees what it holds. Harmless on zeroed memory. */
#define S3_ABORT_MS 5000
void s3_upload_done(struct s3_upload *upload);

/* One part on its way, with its own retries. Embedded by the owner; no two carry the same number. */
struct s3_part {
	struct s3_upload *upload;
	void (*callback)(struct s3_part *part); /* it is stored, or error.code says why not */
	void *context; /* the owner's */
	bool is_busy;
	struct error error;

	unsigned number;
	char number_text[16];
	char description[S3_OPERATION_MAX];
	char operation[40];
	struct s3_query query[3];
	struct s3_call call;
	struct s3_request request;
	struct http_transfer *transfer;
	struct retry retry;
	struct event_timer timer; /* the pause before another attempt */
};

int s3_part_init(struct s3_part *part, void (*callback)(struct s3_part *part), void *context,
		 struct event_loop *loop, struct error *err);
/* Sends part `number`; the body stays until the callback, which never comes before this has
 * returned. */
void s3_part_start(struct s3_part *part, struct s3_upload *upload, unsigned number,
		   const struct http_body *body);
/* Stops it if it is busy; no further callback. Harmless on zeroed memory. */
void s3_part_done(struct s3_part *part);
