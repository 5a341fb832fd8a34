/*
 * Uploads: one PUT for small objects, a multipart upload for others. Nothing of a multipart upload
 * is visible before it is completed; whoever drops one aborts it.
 * Source: Amazon S3 user guide, "Uploading and copying objects using multipart upload".
 */
#pragma once

#include "executor/artifact/budget.h"
#include "executor/artifact/object/client.h"
#include "executor/artifact/object/sums.h"

#include <stdint.h>

#define OBJECT_MIB ((uint64_t)1024 * 1024)
#define OBJECT_PARTS_MAX 10000
/* As many as some servers take that are like Amazon's but for this. */
#define OBJECT_PARTS_FEW 1000
#define OBJECT_PART_BYTES_MIN (5 * OBJECT_MIB)
#define OBJECT_PART_BYTES_MAX (5 * 1024 * OBJECT_MIB)
/* Longest ETag kept; Amazon's have 34 characters. */
#define OBJECT_ETAG_MAX STORE_ETAG_MAX

/* Stores an object with one request. */
int object_put_object(struct object_client *client, const char *key, const char *content_type,
		      const struct http_body *body, struct error *err);

struct object_upload {
	struct object_client *client;
	const char *key; /* borrowed */
	/* The server may have begun others for us and not have been able to say so, or said it to a
	 * process that has died: between these times. 0 = it has not. */
	int64_t doubtful_from_s, doubtful_to_s;
	char *id; /* NULL = not begun, completed or aborted */
	struct object_stored {
		char etag[OBJECT_ETAG_MAX]; /* "" = not stored yet */
		struct object_sums sums;
		uint64_t size;
	} * parts; /* [number - 1] */
	unsigned count; /* highest part number */
	unsigned capacity;
	uint64_t bytes; /* of all parts stored */
	char etag[OBJECT_ETAG_MAX]; /* of the object, once completed */
};

/* Forgets what was stored of part `number` and those after it, which will be sent anew. */
void object_upload_drop(struct object_upload *upload, unsigned number);

int object_upload_begin(struct object_upload *upload, struct object_client *client, const char *key,
			const char *content_type, struct error *err);

/* True if an answer's code may mean that numbers up to this one are too many for the server. */
bool object_upload_is_beyond_few(unsigned number, const char *code);

/* The object exists if this returns 0. Otherwise *ret_is_gone says that the server does not know
 * the upload or one of its parts (any more), or takes fewer parts: it can only be started over. */
int object_upload_complete(struct object_upload *upload, bool *ret_is_gone, struct error *err);

/* Aborts it unless it was completed, with one attempt of at most OBJECT_ABORT_MS, cancelled or not, and
 * frees what it holds. Harmless on zeroed memory. */
#define OBJECT_ABORT_MS 5000
void object_upload_done(struct object_upload *upload);

/* One part on its way, with its own retries. Embedded by the owner; no two carry the same number. */
struct object_part {
	struct object_upload *upload;
	void (*callback)(struct object_part *part); /* it is stored, or error.code says why not */
	void *context; /* the owner's */
	bool is_busy;
	struct error error;
	/* Ends, instead of trying again, with the connection cut so often: a smaller one may get
	 * through. 0 = never. */
	unsigned cuts_max;
	unsigned cuts;
	bool is_beyond_few; /* the server refuses parts with numbers above OBJECT_PARTS_FEW */

	unsigned number;
	char number_text[16];
	char description[OBJECT_OPERATION_MAX];
	char operation[40];
	struct object_query query[3];
	struct object_call call;
	struct object_sums sums;
	struct pool_job summing; /* computes them, before each attempt */
	bool is_summed;
	struct object_request request;
	struct http_transfer *transfer;
	struct transfer_claim claim; /* for an attempt's connection */
	struct retry retry;
	struct event_timer timer; /* the pause before another attempt; its turn has come */
};

int object_part_init(struct object_part *part, void (*callback)(struct object_part *part),
		     void *context, struct event_loop *loop, struct error *err);
/* Sends part `number`; the body stays until the callback, which never comes before this has
 * returned. */
void object_part_start(struct object_part *part, struct object_upload *upload, unsigned number,
		       const struct http_body *body);
/* It has ended because of cuts_max. */
bool object_part_is_cut(const struct object_part *part);
/* Stops it if it is busy; no further callback. Harmless on zeroed memory. */
void object_part_done(struct object_part *part);
