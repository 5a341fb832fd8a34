/*
 * GET, resumed where it was cut off. If the server names the version (a strong ETag), the rest of it is
 * asked for; if not, all of it is read once more, and what was handed out already is compared by its
 * SHA-256 and dropped.
 */
#include "executor/archive/gzip.h"
#include "executor/artifact/budget.h"
#include "executor/artifact/http/client.h"
#include "executor/base/cleanup.h"
#include "executor/base/text.h"
#include "executor/http/digest.h"

#include <errno.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define READ_AHEAD_BYTES ((size_t)512 * 1024)
/* What comes after a pause: libcurl's own buffers, and a window of HTTP/2. */
#define BUFFER_BYTES_MAX (16 * READ_AHEAD_BYTES)
#define ETAG_MAX 256

/* The content as the server stores or encodes it. */
struct web_body {
	struct reader reader;
	struct web_client *client;
	char *what; /* "loading content from <url>" */
	struct web_request request;
	struct http_transfer *transfer;
	struct transfer_claim claim; /* for it, and for what is kept */
	struct retry retry;
	char range[64], match[ETAG_MAX + 16];

	struct buffer data; /* received */
	size_t consumed; /* of it, already read */
	uint64_t position; /* received in all, each byte once */
	uint64_t failed_at; /* position at the last failure: progress starts the retries anew */
	int64_t size; /* of the content; -1 = not said */
	char etag[ETAG_MAX]; /* "" = none that can be matched */

	uint64_t skip; /* still to be compared and dropped */
	struct digest *sum; /* of all that this attempt brought; NULL = the ETag answers for it */
	struct digest *skipped; /* of what it brought that was there before */
	uint8_t before[DIGEST_SHA256_BYTES]; /* what that must be */

	bool is_known; /* an answer was accepted: size and etag are the content's */
	bool is_encoded; /* by gzip, on the way */
	bool is_checked; /* the headers of the running transfer */
	bool is_complete;
	bool is_awake; /* something happened */
	struct error error; /* of the transfer that ended; code 0 = none */
};

/* What is handed out. */
struct web_reader {
	struct reader reader;
	struct web_body body;
	struct gzip_reader gzip;
	bool has_gzip;
};

static size_t unread(const struct web_body *self)
{
	return self->data.size - self->consumed;
}

/* --- an answer's headers ------------------------------------------------------------------ */

/* A strong one (RFC 9110, 8.8.3), or "". */
static const char *strong_etag(const struct http_response *response, char buffer[ETAG_MAX])
{
	const char *etag = http_response_header(response, "etag", buffer, ETAG_MAX);

	return !etag || *etag != '"' || strlen(etag) == ETAG_MAX - 1 ? "" : etag;
}

static bool is_gzip(const struct http_response *response)
{
	char buffer[32];
	const char *encoding =
		http_response_header(response, "content-encoding", buffer, sizeof(buffer));

	return encoding && strcasecmp(encoding, "gzip") == 0;
}

static int learn(struct web_body *self, const struct http_response *response, struct error *err)
{
	char buffer[ETAG_MAX];

	self->is_known = true;
	self->size = response->content_length;
	self->is_encoded = is_gzip(response) && !self->client->has_own_encoding;
	if (!self->client->has_own_range)
		snprintf(self->etag, sizeof(self->etag), "%s", strong_etag(response, buffer));
	if (self->etag[0])
		return 0;
	self->sum = digest_new(DIGEST_SHA256);
	self->skipped = digest_new(DIGEST_SHA256);
	return self->sum && self->skipped ? 0 : error_set(err, -ENOMEM, "out of memory");
}

/* Content-Range: bytes FIRST-LAST/TOTAL (RFC 9110, 14.4). */
static bool is_range_expected(const struct web_body *self, const struct http_response *response)
{
	char header[96], expected[96];
	const char *value = http_response_header(response, "content-range", header, sizeof(header));

	if (!value)
		return false;
	snprintf(expected, sizeof(expected), "bytes %" PRIu64 "-", self->position);
	if (self->size >= 0)
		snprintf(expected, sizeof(expected), "bytes %" PRIu64 "-%" PRIi64 "/%" PRIi64,
			 self->position, self->size - 1, self->size);
	return text_has_prefix(value, expected) &&
	       (self->size < 0 || strlen(value) == strlen(expected));
}

static int check_headers(struct web_body *self, const struct http_response *response,
			 struct error *err)
{
	char buffer[ETAG_MAX];

	self->is_checked = true;
	if (!self->is_known)
		return learn(self, response, err);
	if (self->request.http.headers && self->range[0] && response->status == 206) {
		if (is_range_expected(self, response))
			return 0;
		return error_set(err, -EPROTO,
				 "%s: cut off after %" PRIu64
				 " bytes, and the server sends another "
				 "range than was asked for",
				 self->what, self->position);
	}
	/* All of it once more. */
	if (strcmp(strong_etag(response, buffer), self->etag) != 0 ||
	    response->content_length != self->size ||
	    (is_gzip(response) && !self->client->has_own_encoding) != self->is_encoded)
		return error_set(err, -ESTALE, "%s: the file was replaced while it was read",
				 self->what);
	self->skip = self->position;
	return 0;
}

/* --- content ------------------------------------------------------------------------------ */

/* Compares what there is already. Returns how much of `size` that was. */
static ssize_t drop_known(struct web_body *self, const char *data, size_t size, struct error *err)
{
	size_t known = size < self->skip ? size : (size_t)self->skip;
	uint8_t sum[DIGEST_SHA256_BYTES];
	int r = 0;

	if (self->skipped && known > 0)
		r = digest_update(self->skipped, data, known);
	self->skip -= known;
	if (r == 0 && self->skipped && known > 0 && self->skip == 0) {
		r = digest_finish(self->skipped, sum);
		if (r == 0 && memcmp(sum, self->before, sizeof(sum)) != 0)
			return error_set(err, -ESTALE,
					 "%s: the file was replaced while it was read", self->what);
	}
	return r < 0 ? error_errno(err, r, "%s: checksum", self->what) : (ssize_t)known;
}

static int on_data(void *context, const char *data, size_t size, struct error *err)
{
	struct web_body *self = context;
	ssize_t known;
	int r = 0;

	if (!self->is_checked)
		r = check_headers(self, http_transfer_response(self->transfer), err);
	if (r < 0)
		return r;
	if (self->sum && digest_update(self->sum, data, size) < 0)
		return error_set(err, -ENOMEM, "%s: checksum", self->what);
	known = drop_known(self, data, size, err);
	if (known < 0)
		return (int)known;
	data += known;
	size -= (size_t)known;
	if (self->consumed >= READ_AHEAD_BYTES / 2) {
		buffer_consume(&self->data, self->consumed);
		self->consumed = 0;
	}
	r = buffer_append(&self->data, data, size);
	if (r < 0)
		return error_errno(err, r, "%s: keep %zu bytes", self->what, size);
	self->position += size;
	if (unread(self) >= READ_AHEAD_BYTES)
		http_transfer_pause(self->transfer);
	self->is_awake = true;
	return 0;
}

/* --- the end of a transfer ---------------------------------------------------------------- */

static int judge_end(struct web_body *self, const struct http_response *response, struct error *err)
{
	int status = response->status;
	int r = web_client_judge(self->client, self->what, true, response, &self->retry, err);

	if (r < 0 && self->is_known && (status == 404 || status == 410 || status == 412))
		return error_set(err, -ESTALE, "%s: the file was %s while it was read", self->what,
				 status == 412 ? "replaced" : "deleted");
	if (r == 0 && !self->is_checked)
		r = check_headers(self, response, err);
	if (r < 0)
		return r;
	if (self->skip > 0)
		return error_set(err, -ESTALE, "%s: the file was replaced while it was read",
				 self->what);
	if (self->size >= 0 && self->position != (uint64_t)self->size)
		return error_set_class(err, -EIO, ERROR_TRANSIENT,
				       "%s: unexpected EOF after %" PRIu64 " of %" PRIi64 " bytes",
				       self->what, self->position, self->size);
	self->is_complete = true;
	return 0;
}

static void stop(struct web_body *self)
{
	http_transfer_free(TAKE_PTR(self->transfer));
	web_request_done(&self->request);
}

static void on_end(struct http_transfer *transfer, const struct http_response *response,
		   const struct error *error, void *context)
{
	struct web_body *self = context;

	(void)transfer;
	if (error->code != 0) {
		self->error = *error;
		if (!text_has_prefix(error->message, self->what))
			error_prefix(&self->error, error->code, "%s", self->what);
	} else {
		judge_end(self, response, &self->error);
	}
	self->is_awake = true;
	stop(self);
}

/* --- attempts ----------------------------------------------------------------------------- */

static int start(struct web_body *self, struct error *err)
{
	const char *extra[4] = { NULL };
	size_t count = 0;
	int r;

	self->range[0] = '\0';
	if (self->position > 0 && self->etag[0]) {
		snprintf(self->range, sizeof(self->range), "Range: bytes=%" PRIu64 "-",
			 self->position);
		snprintf(self->match, sizeof(self->match), "If-Match: %s", self->etag);
		extra[count++] = self->range;
		extra[count++] = self->match;
	}
	/* The same form again, or the one that saves most. */
	if (!self->client->has_own_encoding && (!self->is_known || self->is_encoded))
		extra[count++] = "Accept-Encoding: gzip";
	self->is_checked = false;
	self->skip = 0;
	self->error = ERROR_NONE;
	/* Before the claim: who holds one waits for nobody else's. */
	r = web_request_init(&self->request, self->client, "GET", extra, err);
	if (r == 0)
		r = budget_wait(&self->claim, self->client->context.budget, self->client, 1,
				READ_AHEAD_BYTES, self->client->context.loop, err);
	if (r < 0)
		return r;
	self->request.http.retry = &self->retry;
	self->request.http.on_data = on_data;
	self->request.http.context = self;
	self->transfer =
		http_start(self->client->context.http, &self->request.http, on_end, self, err);
	return self->transfer ? 0 : err->code;
}

/* The sum of all that was received so far, unless this attempt did not get as far as that. */
static int keep_sum(struct web_body *self, struct error *err)
{
	int r = 0;

	if (!self->sum)
		return 0;
	if (self->is_checked && self->skip == 0)
		r = digest_finish(self->sum, self->before);
	if (r == 0)
		r = digest_reset(self->sum);
	if (r == 0)
		r = digest_reset(self->skipped);
	return r < 0 ? error_errno(err, r, "%s: checksum", self->what) : 0;
}

static int restart(struct web_body *self, struct error *err)
{
	int r = keep_sum(self, err);

	if (r < 0)
		return r;
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
static int advance(struct web_body *self, struct error *err)
{
	int r;

	if (self->error.code != 0)
		return restart(self, err);
	self->is_awake = false;
	r = event_loop_wait(self->client->context.loop, &self->is_awake);
	if (r == -ECANCELED)
		return event_loop_cancelled_error(err);
	return r < 0 ? error_errno(err, r, "%s", self->what) : 0;
}

static ssize_t body_read(struct reader *base, void *data, size_t size, struct error *err)
{
	struct web_body *self = (struct web_body *)base;
	struct error own = ERROR_NONE;
	size_t n;

	while (unread(self) == 0 && !self->is_complete) {
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
	if (self->transfer && unread(self) < READ_AHEAD_BYTES / 2)
		http_transfer_resume(self->transfer);
	return (ssize_t)n;
}

static int body_open(struct web_body *self, struct web_client *client, struct error *err)
{
	struct error own = ERROR_NONE;
	int r;

	self->reader.read = body_read;
	self->client = client;
	self->size = -1;
	self->data = BUFFER_INIT(BUFFER_BYTES_MAX);
	if (asprintf(&self->what, "loading content from %s", client->shown) < 0) {
		self->what = NULL;
		return error_set(err, -ENOMEM, "out of memory");
	}
	retry_begin(&self->retry, &client->policy, client->context.loop, client->context.log,
		    self->what);
	r = start(self, &own);
	while (r == 0 && !self->is_known)
		r = advance(self, &own);
	if (r < 0 && err)
		*err = own;
	return r;
}

static void body_done(struct web_body *self)
{
	stop(self);
	budget_return(&self->claim);
	buffer_done(&self->data);
	digest_free(self->sum);
	digest_free(self->skipped);
	free(self->what);
}

/* --- what is handed out ------------------------------------------------------------------- */

static ssize_t reader_read(struct reader *base, void *data, size_t size, struct error *err)
{
	struct web_reader *self = (struct web_reader *)base;
	struct reader *source = self->has_gzip ? &self->gzip.reader : &self->body.reader;

	return source->read(source, data, size, err);
}

void web_get_done(struct store *store, struct reader *reader)
{
	struct web_reader *self = (struct web_reader *)reader;

	(void)store;
	if (!self)
		return;
	if (self->has_gzip)
		gzip_reader_done(&self->gzip);
	body_done(&self->body);
	free(self);
}

int web_get(struct store *store, struct reader **ret, int64_t *ret_size, struct error *err)
{
	struct web_reader *self = calloc(1, sizeof(*self));
	int r;

	if (!self)
		return error_set(err, -ENOMEM, "out of memory");
	self->reader.read = reader_read;
	r = body_open(&self->body, (struct web_client *)store, err);
	if (r == 0 && self->body.is_encoded) {
		r = gzip_reader_init(&self->gzip, &self->body.reader, err);
		self->has_gzip = r == 0;
	}
	if (r < 0) {
		web_get_done(store, &self->reader);
		return r;
	}
	*ret_size = self->has_gzip ? -1 : self->body.size;
	*ret = &self->reader;
	return 0;
}
