/*
 * One range of an object on its way into memory, by one request at a time. It is resumed where it was
 * cut off as long as the object is the same one (ETag); when, is up to the reader (get.c), which has
 * one or several of them.
 */
#pragma once

#include "executor/artifact/budget.h"
#include "executor/artifact/object/client.h"

/* Received but not yet read; the transfer is paused while there is more. */
#define OBJECT_READ_AHEAD_BYTES ((size_t)1024 * 1024)

/* Of a range that lies ahead of what is read. */
#define OBJECT_RANGE_BYTES ((size_t)4 * 1024 * 1024)

#define OBJECT_TO_THE_END UINT64_MAX

/* What is known of the object. */
struct object_source {
	struct object_client *client;
	char *key;
	char description[OBJECT_OPERATION_MAX];
	char etag[STORE_ETAG_MAX]; /* "" = the server gave none that can be matched */
	int64_t size; /* -1 = not said */
	uint64_t checksum; /* of the whole */
	bool has_checksum;
	bool is_known; /* some answer was accepted */
	bool is_held; /* small enough to be verified before the first byte is given out */
	bool is_awake; /* something happened to one of its ranges */
};

struct object_range {
	struct object_source *source;
	struct object_range *next; /* begins where this one may end; NULL = none */
	uint64_t begin, end;
	uint64_t asked; /* where the running transfer would end */
	uint64_t position; /* received so far, in the object */
	struct buffer data; /* of it, from `consumed` on not yet read */
	size_t consumed;
	uint64_t crc; /* of all that was received */
	uint64_t failed_at; /* position at the last failure: progress starts the retries anew */
	bool is_confirmed; /* the server sends what was asked for */
	bool is_complete;
	struct error error; /* of the transfer that ended; code 0 = none */

	char text[64];
	struct object_call call;
	struct object_request request;
	struct http_transfer *transfer;
	struct transfer_claim connection, memory;
	struct retry retry;
	size_t window; /* what the server has leave to send, at most, until `next` takes over; 0 = not held */
	size_t unread_max; /* then it is paused; 0 = never */
	bool is_checked; /* the headers of the running transfer were */
};

/* A range that has not begun; the memory is claimed already, or not to be. */
void object_range_init(struct object_range *range, struct object_source *source, uint64_t begin,
		       uint64_t end);
/* Harmless on zeroed memory. */
void object_range_done(struct object_range *range);

/* Asks for what is missing. Waits for a connection. */
int object_range_start(struct object_range *range, struct error *err);
/* After range->error: the pause, and another start; or the final failure. */
int object_range_restart(struct object_range *range, struct error *err);

size_t object_range_unread(const struct object_range *range);
/* Up to `size` bytes of what is unread. */
size_t object_range_take(struct object_range *range, void *data, size_t size);
