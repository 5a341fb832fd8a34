#include "executor/artifact/object/get.h"

#include "executor/artifact/budget.h"
#include "executor/artifact/object/checksum.h"
#include "executor/artifact/object/crc64.h"
#include "executor/base/cleanup.h"
#include "executor/base/text.h"

#include <errno.h>
#include <inttypes.h>
#include <stdio.h>
#include <string.h>

/* libcurl hands over at most 64 KiB after the pause; HTTP/2 may have a window's worth in hand. */
#define BUFFER_BYTES_MAX (16 * OBJECT_READ_AHEAD_BYTES)
#define ETAG_MAX 256

struct object_reader {
	struct reader reader;
	struct object_client *client;
	char *key;
	char description[OBJECT_OPERATION_MAX];
	char range[48];
	char etag[ETAG_MAX]; /* "" = the server gave none that can be matched */
	struct object_call call;
	struct object_request request;
	struct http_transfer *transfer;
	struct transfer_claim claim; /* for it, and for what is kept */
	struct retry retry;

	struct buffer data; /* received */
	size_t consumed; /* of it, already read */
	uint64_t position; /* received in all */
	uint64_t failed_at; /* position at the last failure: progress starts the retries anew */
	int64_t size; /* of the object; -1 = not said */

	uint64_t crc; /* of what was received */
	uint64_t checksum; /* what it should be */
	bool has_checksum;
	bool is_held; /* small enough to be verified before the first byte is given out */

	bool is_known; /* headers of some answer were accepted: size and etag are the object's */
	bool is_checked; /* those of the running transfer */
	bool is_complete;
	bool is_awake; /* something happened */
	struct error error; /* of the transfer that ended; code 0 = none */
};

static size_t unread(const struct object_reader *self)
{
	return self->data.size - self->consumed;
}

/* Content-Range: bytes FIRST-LAST/TOTAL (RFC 9110, 14.4). */
static bool is_range_expected(const struct object_reader *self,
			      const struct http_response *response)
{
	char header[96], expected[96];
	const char *value = http_response_header(response, "content-range", header, sizeof(header));

	if (!value)
		return false;
	if (self->size < 0) {
		snprintf(expected, sizeof(expected), "bytes %" PRIu64 "-", self->position);
		return text_has_prefix(value, expected);
	}
	snprintf(expected, sizeof(expected), "bytes %" PRIu64 "-%" PRIi64 "/%" PRIi64,
		 self->position, self->size - 1, self->size);
	return strcmp(value, expected) == 0;
}

static int check_headers(struct object_reader *self, const struct http_response *response,
			 struct error *err)
{
	const char *etag;

	self->is_checked = true;
	if (self->position > 0) {
		if (response->status == 206 && is_range_expected(self, response))
			return 0;
		return error_set(err, -EPROTO,
				 "%s: cut off after %" PRIu64 " bytes, and the server does not "
				 "continue there (status %d)",
				 self->description, self->position, response->status);
	}
	if (response->status != 200)
		return error_set(err, -EPROTO, "%s: unexpected status %d", self->description,
				 response->status);
	if (self->is_known && response->content_length != self->size)
		return error_set(err, -EPROTO, "%s: the object changed while it was read",
				 self->description);
	self->is_known = true;
	self->size = response->content_length;
	self->has_checksum = object_checksum_of(self->client, response, &self->checksum);
	self->is_held = self->has_checksum && self->size >= 0 &&
			self->size < OBJECT_READ_AHEAD_BYTES;
	etag = http_response_header(response, "etag", self->etag, sizeof(self->etag));
	/* If-Match wants a strong one (RFC 9110, 13.1.1), and one that was cut is none. */
	if (!etag || text_has_prefix(etag, "W/") || strlen(etag) == sizeof(self->etag) - 1)
		self->etag[0] = '\0';
	return 0;
}

static int on_data(void *context, const char *data, size_t size, struct error *err)
{
	struct object_reader *self = context;
	int r;

	if (!self->is_checked) {
		r = check_headers(self, http_transfer_response(self->transfer), err);
		if (r < 0)
			return r;
	}
	/* Moves what is left at most once for as many bytes read. */
	if (self->consumed >= OBJECT_READ_AHEAD_BYTES / 2) {
		buffer_consume(&self->data, self->consumed);
		self->consumed = 0;
	}
	r = buffer_append(&self->data, data, size);
	if (r < 0)
		return error_errno(err, r, "%s: keep %zu bytes", self->description, size);
	self->position += size;
	if (self->has_checksum)
		self->crc = crc64_update(self->client->crc, self->crc, data, size);
	if (unread(self) >= OBJECT_READ_AHEAD_BYTES)
		http_transfer_pause(self->transfer);
	self->is_awake = true;
	return 0;
}

/* What an answer to "the rest of that object" means if that object is gone. */
static int judge_resumed(struct object_reader *self, int status, struct error *err)
{
	if (self->is_known && (status == 412 || status == 404))
		return error_set(err, -ESTALE, "%s: the object was %s while it was read",
				 self->description, status == 412 ? "replaced" : "deleted");
	return err->code;
}

/* What was not given out yet can be fetched once more. */
static int check_content(struct object_reader *self, struct error *err)
{
	int r;

	if (!self->has_checksum)
		return 0;
	r = object_checksum_compare(self->client, self->checksum, self->crc, err);
	if (r == 0)
		return 0;
	if (!self->is_held && err)
		err->class = ERROR_PERMANENT;
	buffer_reset(&self->data);
	self->consumed = 0;
	self->position = 0;
	self->failed_at = 0;
	self->crc = 0;
	return error_prefix(err, r, "%s", self->description);
}

static int judge_end(struct object_reader *self, const struct http_response *response,
		     struct error *err)
{
	int r = object_check(self->client, &self->call, response, &self->retry, NULL, err);

	if (r < 0)
		return judge_resumed(self, response->status, err);
	if (!self->is_checked) {
		r = check_headers(self, response, err);
		if (r < 0)
			return r;
	}
	if (self->size >= 0 && self->position != (uint64_t)self->size)
		return error_set_class(err, -EIO, ERROR_TRANSIENT,
				       "%s: unexpected EOF after %" PRIu64 " of %" PRIi64 " bytes",
				       self->description, self->position, self->size);
	r = check_content(self, err);
	self->is_complete = r == 0;
	return r;
}

static void stop(struct object_reader *self)
{
	http_transfer_free(TAKE_PTR(self->transfer));
	object_request_done(&self->request);
}

static void on_end(struct http_transfer *transfer, const struct http_response *response,
		   const struct error *error, void *context)
{
	struct object_reader *self = context;

	(void)transfer;
	if (error->code != 0) {
		self->error = *error;
		if (!text_has_prefix(error->message, self->description))
			error_prefix(&self->error, error->code, "%s", self->description);
	} else {
		judge_end(self, response, &self->error);
	}
	self->is_awake = true;
	stop(self);
}

static int start(struct object_reader *self, struct error *err)
{
	int r;

	if (self->position > 0 && self->etag[0] == '\0')
		return error_set(err, -EPROTO,
				 "%s: cut off after %" PRIu64 " bytes, and the server gave no ETag "
				 "to continue by",
				 self->description, self->position);
	snprintf(self->range, sizeof(self->range), "bytes=%" PRIu64 "-", self->position);
	self->call.range = self->position > 0 ? self->range : NULL;
	self->call.if_match = self->is_known && self->etag[0] ? self->etag : NULL;
	self->is_checked = false;
	self->error = ERROR_NONE;
	r = budget_wait(&self->claim, self->client->context.budget, self->client, 1,
			OBJECT_READ_AHEAD_BYTES, self->client->context.loop, err);
	if (r == 0)
		r = self->client->protocol->prepare(self->client, &self->call, &self->request, err);
	if (r < 0)
		return r;
	self->request.http.retry = &self->retry;
	self->request.http.on_data = on_data;
	self->request.http.context = self;
	self->transfer =
		http_start(self->client->context.http, &self->request.http, on_end, self, err);
	return self->transfer ? 0 : err->code;
}

static int restart(struct object_reader *self, struct error *err)
{
	if (self->position > self->failed_at)
		retry_progress(&self->retry);
	self->failed_at = self->position;
	budget_return(&self->claim);
	if (!retry_again(&self->retry, &self->error)) {
		*err = self->error;
		return err->code;
	}
	return start(self, err);
}

/* Lets the loop run until there are bytes, the end, or a final failure. */
static int advance(struct object_reader *self, struct error *err)
{
	int r;

	if (self->error.code != 0)
		return restart(self, err);
	self->is_awake = false;
	r = event_loop_wait(self->client->context.loop, &self->is_awake);
	if (r == -ECANCELED)
		return event_loop_cancelled_error(err);
	return r < 0 ? error_errno(err, r, "%s", self->description) : 0;
}

static ssize_t reader_read(struct reader *base, void *data, size_t size, struct error *err)
{
	struct object_reader *self = (struct object_reader *)base;
	struct error own = ERROR_NONE;
	size_t n;

	while ((unread(self) == 0 || self->is_held) && !self->is_complete) {
		int r = advance(self, &own);

		if (r < 0) {
			if (err)
				*err = own;
			return r;
		}
	}
	n = unread(self) < size ? unread(self) : size;
	if (n > 0)
		memcpy(data, self->data.data + self->consumed, n);
	self->consumed += n;
	if (self->transfer && unread(self) < OBJECT_READ_AHEAD_BYTES / 2)
		http_transfer_resume(self->transfer);
	return (ssize_t)n;
}

void object_get_done(struct reader *reader)
{
	struct object_reader *self = (struct object_reader *)reader;

	if (!self)
		return;
	stop(self);
	budget_return(&self->claim);
	buffer_done(&self->data);
	free(self->key);
	free(self);
}

int object_get(struct object_client *client, const char *key, struct reader **ret,
	       int64_t *ret_size, struct error *err)
{
	struct object_reader *self;
	struct error own = ERROR_NONE;
	int r = object_client_make_ready(client, false, err);

	if (r < 0)
		return r;
	self = calloc(1, sizeof(*self));
	if (!self)
		return error_set(err, -ENOMEM, "out of memory");
	self->reader.read = reader_read;
	self->client = client;
	self->size = -1;
	self->data = BUFFER_INIT(BUFFER_BYTES_MAX);
	self->key = strdup(key);
	self->call = (struct object_call){ .operation = "get object",
					   .method = "GET",
					   .key = self->key };
	if (!self->key) {
		object_get_done(&self->reader);
		return error_set(err, -ENOMEM, "out of memory");
	}
	object_describe(client, &self->call, self->description);
	object_retry_begin(client, &self->call, &self->retry);
	r = start(self, &own);
	while (r == 0 && !self->is_known)
		r = advance(self, &own);
	if (r < 0) {
		object_get_done(&self->reader);
		if (err)
			*err = own;
		return r;
	}
	*ret_size = self->size;
	*ret = &self->reader;
	return 0;
}
