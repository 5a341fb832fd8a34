#include "executor/artifact/object/range.h"

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

size_t object_range_unread(const struct object_range *range)
{
	return range->data.size - range->consumed;
}

static bool is_to_the_end(const struct object_range *self)
{
	return self->end == OBJECT_TO_THE_END ||
	       (self->source->size >= 0 && self->end == (uint64_t)self->source->size);
}

/* --- the answer's headers ----------------------------------------------------------------- */

/* Content-Range: bytes FIRST-LAST/TOTAL (RFC 9110, 14.4). */
static bool is_range_expected(const struct object_range *self, const struct http_response *response)
{
	int64_t size = self->source->size;
	char header[96], expected[96];
	const char *value = http_response_header(response, "content-range", header, sizeof(header));

	if (!value)
		return false;
	if (size < 0) {
		snprintf(expected, sizeof(expected), "bytes %" PRIu64 "-", self->position);
		return text_has_prefix(value, expected);
	}
	/* What was asked for: `end` may have moved since then. */
	if (text_has_suffix(self->text, "-"))
		snprintf(expected, sizeof(expected), "bytes %s%" PRIi64 "/%" PRIi64,
			 self->text + strlen("bytes="), size - 1, size);
	else
		snprintf(expected, sizeof(expected), "bytes %s/%" PRIi64,
			 self->text + strlen("bytes="), size);
	return strcmp(value, expected) == 0;
}

/* A server that does not know If-Match may still say what it sends. */
static bool is_other_object(const struct object_range *self, const struct http_response *response)
{
	char etag[STORE_ETAG_MAX];

	return http_response_header(response, "etag", etag, sizeof(etag)) &&
	       self->source->etag[0] && strcmp(etag, self->source->etag) != 0;
}

static int check_part(const struct object_range *self, const struct http_response *response,
		      struct error *err)
{
	const struct object_source *source = self->source;

	if (response->status != 206 || !is_range_expected(self, response))
		return error_set(err, -EPROTO,
				 "%s: cut off after %" PRIu64 " bytes, and the server does not "
				 "continue there (status %d)",
				 source->description, self->position, response->status);
	if (is_other_object(self, response))
		return error_set(err, -ESTALE, "%s: the object was replaced while it was read",
				 source->description);
	return 0;
}

static int check_whole(struct object_source *source, const struct http_response *response,
		       struct error *err)
{
	const char *etag;

	if (response->status != 200)
		return error_set(err, -EPROTO, "%s: unexpected status %d", source->description,
				 response->status);
	if (source->is_known && response->content_length != source->size)
		return error_set(err, -EPROTO, "%s: the object changed while it was read",
				 source->description);
	source->is_known = true;
	source->size = response->content_length;
	source->has_checksum = object_checksum_of(source->client, response, &source->checksum);
	source->is_held = source->has_checksum && source->size >= 0 &&
			  source->size < (int64_t)OBJECT_READ_AHEAD_BYTES;
	etag = http_response_header(response, "etag", source->etag, sizeof(source->etag));
	/* If-Match wants a strong one (RFC 9110, 13.1.1), and one that was cut is none. */
	if (!etag || text_has_prefix(etag, "W/") || strlen(etag) == sizeof(source->etag) - 1)
		source->etag[0] = '\0';
	return 0;
}

static int check_headers(struct object_range *self, const struct http_response *response,
			 struct error *err)
{
	int r;

	self->is_checked = true;
	r = self->position > 0 ? check_part(self, response, err) :
				 check_whole(self->source, response, err);
	self->is_confirmed |= r == 0;
	return r;
}

/* --- the data ----------------------------------------------------------------------------- */

static int append(struct object_range *self, const char *data, size_t size, struct error *err)
{
	struct object_source *source = self->source;
	int r;

	/* Moves what is left at most once for as many bytes read. */
	if (self->consumed >= OBJECT_READ_AHEAD_BYTES / 2) {
		buffer_consume(&self->data, self->consumed);
		self->consumed = 0;
	}
	r = buffer_append(&self->data, data, size);
	if (r < 0)
		return error_errno(err, r, "%s: keep %zu bytes", source->description, size);
	self->position += size;
	if (source->has_checksum)
		self->crc = crc64_update(source->client->crc, self->crc, data, size);
	source->is_awake = true;
	return 0;
}

/* A server that was asked for more is not told: it has to run out of leave to send. */
static void end_at(struct object_range *self, uint64_t end)
{
	self->end = end;
	if (self->window > 0 && end < self->asked && end - self->position <= self->window) {
		http_transfer_shut_window(self->transfer);
		self->window = 0;
	}
}

static int on_data(void *context, const char *data, size_t size, struct error *err)
{
	struct object_range *self = context;
	const struct object_range *next = self->next;
	int r = 0;

	if (!self->is_checked)
		r = check_headers(self, http_transfer_response(self->transfer), err);
	if (r < 0)
		return r;
	/* The next one is really there: it need not be sent twice. */
	if (next && next->is_confirmed && self->position <= next->begin)
		end_at(self, next->begin);
	if (size > self->end - self->position)
		size = (size_t)(self->end - self->position);
	r = append(self, data, size, err);
	if (r < 0)
		return r;
	/* What comes to its end by itself leaves a connection that can be used again. */
	if (self->position == self->end && self->end < self->asked) {
		self->is_complete = true;
		return error_set(err, -ECANCELED, "enough");
	}
	if (self->unread_max > 0 && object_range_unread(self) >= self->unread_max)
		http_transfer_pause(self->transfer);
	return 0;
}

size_t object_range_take(struct object_range *range, void *data, size_t size)
{
	size_t n = object_range_unread(range);

	if (n > size)
		n = size;
	if (n > 0)
		memcpy(data, range->data.data + range->consumed, n);
	range->consumed += n;
	if (range->transfer && object_range_unread(range) <= range->unread_max / 2)
		http_transfer_resume(range->transfer);
	return n;
}

/* --- the end ------------------------------------------------------------------------------ */

/* What an answer to "the rest of that object" means if that object is gone. */
static int judge_resumed(const struct object_range *self, int status, struct error *err)
{
	if (self->source->is_known && (status == 412 || status == 404))
		return error_set(err, -ESTALE, "%s: the object was %s while it was read",
				 self->source->description, status == 412 ? "replaced" : "deleted");
	return err->code;
}

/* What was not given out yet can be fetched once more. */
static int check_content(struct object_range *self, struct error *err)
{
	struct object_source *source = self->source;
	int r;

	if (!source->is_held)
		return 0;
	r = object_checksum_compare(source->client, source->checksum, self->crc, err);
	if (r == 0)
		return 0;
	buffer_reset(&self->data);
	self->consumed = 0;
	self->position = 0;
	self->failed_at = 0;
	self->crc = 0;
	return error_prefix(err, r, "%s", source->description);
}

static int judge_end(struct object_range *self, const struct http_response *response,
		     struct error *err)
{
	const struct object_source *source = self->source;
	int r = object_check(source->client, &self->call, response, &self->retry, NULL, err);

	if (r < 0)
		return judge_resumed(self, response->status, err);
	if (!self->is_checked) {
		r = check_headers(self, response, err);
		if (r < 0)
			return r;
	}
	if (self->end == OBJECT_TO_THE_END && source->size >= 0)
		self->end = (uint64_t)source->size;
	if (self->end != OBJECT_TO_THE_END && self->position != self->end)
		return error_set_class(err, -EIO, ERROR_TRANSIENT,
				       "%s: unexpected EOF after %" PRIu64 " of %" PRIi64 " bytes",
				       source->description, self->position, source->size);
	r = check_content(self, err);
	self->is_complete = r == 0;
	return r;
}

static void stop(struct object_range *self)
{
	http_transfer_free(TAKE_PTR(self->transfer));
	object_request_done(&self->request);
	budget_return(&self->connection);
}

static void on_end(struct http_transfer *transfer, const struct http_response *response,
		   const struct error *error, void *context)
{
	struct object_range *self = context;

	(void)transfer;
	if (error->code != 0 && !self->is_complete) {
		self->error = *error;
		if (!text_has_prefix(error->message, self->source->description))
			error_prefix(&self->error, error->code, "%s", self->source->description);
	} else if (!self->is_complete) {
		judge_end(self, response, &self->error);
	}
	self->source->is_awake = true;
	stop(self);
}

/* --- its life ----------------------------------------------------------------------------- */

static void set_range(struct object_range *self)
{
	self->asked = self->end;
	snprintf(self->text, sizeof(self->text), "bytes=%" PRIu64 "-", self->position);
	if (!is_to_the_end(self))
		snprintf(self->text, sizeof(self->text), "bytes=%" PRIu64 "-%" PRIu64,
			 self->position, self->end - 1);
	self->call.range = self->position > 0 ? self->text : NULL;
	self->call.if_match = self->source->is_known && self->source->etag[0] ? self->source->etag :
										NULL;
}

int object_range_start(struct object_range *range, struct error *err)
{
	struct object_source *source = range->source;
	struct object_client *client = source->client;
	int r;

	if (range->position > 0 && source->etag[0] == '\0')
		return error_set(err, -EPROTO,
				 "%s: cut off after %" PRIu64 " bytes, and the server gave no ETag "
				 "to continue by",
				 source->description, range->position);
	set_range(range);
	range->is_checked = false;
	range->error = ERROR_NONE;
	if (!range->connection.is_granted) {
		r = budget_wait(&range->connection, client->context.budget, client, 1, 0,
				client->context.loop, err);
		if (r < 0)
			return r;
	}
	r = client->protocol->prepare(client, &range->call, &range->request, err);
	if (r < 0)
		return r;
	range->request.http.on_data = on_data;
	range->request.http.context = range;
	range->request.http.retry = &range->retry;
	range->transfer =
		http_start(client->context.http, &range->request.http, on_end, range, err);
	return range->transfer ? 0 : err->code;
}

int object_range_restart(struct object_range *range, struct error *err)
{
	if (range->position > range->failed_at)
		retry_progress(&range->retry);
	range->failed_at = range->position;
	if (!retry_again(&range->retry, &range->error)) {
		*err = range->error;
		return err->code;
	}
	return object_range_start(range, err);
}

void object_range_init(struct object_range *range, struct object_source *source, uint64_t begin,
		       uint64_t end)
{
	*range = (struct object_range){
		.source = source,
		.begin = begin,
		.end = end,
		.position = begin,
		.failed_at = begin,
		.data = BUFFER_INIT(BUFFER_BYTES_MAX),
		.call = { .operation = "get object", .method = "GET", .key = source->key },
	};
	object_retry_begin(source->client, &range->call, &range->retry);
}

void object_range_done(struct object_range *range)
{
	stop(range);
	buffer_done(&range->data);
	budget_return(&range->memory);
}
