/* PUT: always with a Content-Length, which pre-signed URLs insist on, and never with a Content-Type,
 * which would not be the one that they were signed for. */
#include "executor/artifact/budget.h"
#include "executor/artifact/http/client.h"

#include "executor/base/cleanup.h"
#include "executor/base/fd.h"
#include "executor/http/digest.h"

#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <stdlib.h>
#include <string.h>

/* A stream that is no longer than this needs no disk. */
#define MEMORY_BYTES_MAX ((size_t)1024 * 1024)

struct web_writer {
	struct writer writer;
	struct web_client *client;
	char *name;
	struct buffer data; /* of a short stream */
	int spool_fd; /* of a longer one; -1 = none */
	uint64_t size;
};

/* What is about to be sent, read once for it; the loop is served meanwhile. */
static int hash(const struct web_client *client, const char *what, const struct http_body *body,
		uint8_t sha256[DIGEST_SHA256_BYTES], struct error *err)
{
	_cleanup_(digest_freep) struct digest *digest = digest_new(DIGEST_SHA256);
	_cleanup_free_ char *chunk = body->has_file ? malloc(STREAM_CHUNK_BYTES) : NULL;
	int r = digest ? 0 : -ENOMEM;

	if (r == 0 && !body->has_file)
		r = digest_update(digest, body->data, (size_t)body->size);
	else if (!chunk)
		r = -ENOMEM;
	for (uint64_t done = 0; r == 0 && body->has_file && done < body->size;) {
		ssize_t n = pread(body->fd, chunk, STREAM_CHUNK_BYTES, (off_t)done);

		/* One that became shorter is found when it is sent. */
		if (n <= 0 && !(n < 0 && errno == EINTR)) {
			r = n < 0 ? -errno : 0;
			break;
		}
		if (n > 0)
			r = digest_update(digest, chunk, (size_t)n);
		done += n > 0 ? (uint64_t)n : 0;
		if (r == 0 && event_loop_give_turn(client->context.loop) == -ECANCELED)
			return event_loop_cancelled_error(err);
	}
	if (r == 0)
		r = digest_finish(digest, sha256);
	return r < 0 ? error_errno(err, r, "%s: checksum", what) : 0;
}

/* *part is what is sent. */
static int attempt(struct web_client *client, const char *what, const struct http_body *body,
		   const struct store_part *part, struct retry *retry, struct error *err)
{
	struct web_request request = { 0 };
	struct http_response response = { 0 };
	struct transfer_claim claim = { 0 };
	char etag[STORE_ETAG_MAX];
	int r = web_request_init(&request, client, "PUT", NULL, err);

	if (r == 0)
		r = budget_wait(&claim, client->context.budget, client, 1, 0, client->context.loop,
				err);
	if (r < 0) {
		web_request_done(&request);
		return r;
	}
	request.http.body = *body;
	request.http.retry = retry;
	r = http_perform(client->context.http, &request.http, &response, err);
	r = r < 0 ? error_prefix(err, r, "%s", what) :
		    web_client_judge(client, what, false, &response, retry, err);
	if (r == 0)
		store_tell_object(&client->context,
				  http_response_header(&response, "etag", etag, sizeof(etag)) ?: "",
				  body->size, part, 1);
	http_response_done(&response);
	budget_return(&claim);
	web_request_done(&request);
	return r;
}

static int put(struct web_client *client, const char *name, const struct http_body *body,
	       struct error *err)
{
	_cleanup_free_ char *what = NULL;
	struct store_part part = { .size = body->size };
	struct error last = ERROR_NONE;
	struct retry retry;
	int r;

	if (asprintf(&what, "saving file %s to %s", name, client->shown) < 0) {
		what = NULL;
		return error_set(err, -ENOMEM, "out of memory");
	}
	r = hash(client, what, body, part.sha256, err);
	if (r < 0)
		return r;
	retry_begin(&retry, &client->policy, client->context.loop, client->context.log, what);
	do {
		r = attempt(client, what, body, &part, &retry, &last);
		if (r == 0) {
			store_tell_stored(&client->context, body->size);
			return 0;
		}
	} while (retry_again(&retry, &last));
	if (err)
		*err = last;
	return r;
}

int web_put_file(struct store *store, const char *relative, int fd, uint64_t size, const char *name,
		 struct error *err)
{
	if (*relative)
		return web_put_directory(store, relative, err);
	return put((struct web_client *)store, name,
		   &(struct http_body){ .fd = fd, .size = size, .has_file = true }, err);
}

int web_put_directory(struct store *store, const char *relative, struct error *err)
{
	const struct web_client *client = (struct web_client *)store;

	(void)relative;
	return error_set(err, -EISDIR,
			 "saving to %s: is a directory, and one URL holds one file: archive it",
			 client->shown);
}

/* --- streams ------------------------------------------------------------------------------ */

/* A file without a name. Not every file system can make one that never had any. */
static int open_spool(struct error *err)
{
	const char *directory = getenv("TMPDIR");
	_cleanup_free_ char *path = NULL;
	int fd;

	if (!directory || !*directory)
		directory = "/tmp";
	fd = open(directory, O_TMPFILE | O_RDWR | O_CLOEXEC, 0600);
	if (fd >= 0)
		return fd;
	if (asprintf(&path, "%s/upload.XXXXXX", directory) < 0) {
		path = NULL;
		return error_set(err, -ENOMEM, "out of memory");
	}
	fd = mkostemp(path, O_CLOEXEC);
	if (fd < 0)
		return error_errno(err, -errno, "make a temporary file in %s", directory);
	unlink(path);
	return fd;
}

static int spool(struct web_writer *self, const void *data, size_t size, struct error *err)
{
	int r = fd_write_all(self->spool_fd, data, size);

	return r < 0 ? error_errno(err, r,
				   "keep %s until its length is known: write after %" PRIu64
				   " bytes",
				   self->name, self->size) :
		       0;
}

static int begin_spool(struct web_writer *self, struct error *err)
{
	int r;

	self->spool_fd = open_spool(err);
	if (self->spool_fd < 0) {
		/* Wherever it was to be, the artifact is there. */
		if (err)
			err->class = ERROR_PERMANENT;
		return err ? err->code : -EIO;
	}
	if (self->client->context.log)
		log_info(self->client->context.log,
			 "Keeping an upload in a temporary file: HTTP wants its length first",
			 log_string("file", self->name), log_string("url", self->client->shown));
	r = spool(self, self->data.data, self->data.size, err);
	buffer_done(&self->data);
	return r;
}

static int writer_write(struct writer *base, const void *data, size_t size, struct error *err)
{
	struct web_writer *self = (struct web_writer *)base;
	int r = 0;

	if (self->spool_fd < 0 && self->size + size > MEMORY_BYTES_MAX)
		r = begin_spool(self, err);
	if (r < 0)
		return r;
	if (self->spool_fd >= 0)
		r = spool(self, data, size, err);
	else if ((r = buffer_append(&self->data, data, size)) < 0)
		error_errno(err, r, "keep %zu bytes", size);
	self->size += size;
	return r;
}

static int writer_finish(struct writer *base, struct error *err)
{
	struct web_writer *self = (struct web_writer *)base;
	struct http_body body = { .fd = self->spool_fd, .size = self->size };

	if (self->spool_fd >= 0)
		body.has_file = true;
	else
		body.data = buffer_string(&self->data);
	return put(self->client, self->name, &body, err);
}

void web_put_stream_done(struct store *store, struct writer *writer)
{
	struct web_writer *self = (struct web_writer *)writer;

	(void)store;
	if (!self)
		return;
	if (self->spool_fd >= 0)
		close(self->spool_fd);
	buffer_done(&self->data);
	free(self->name);
	free(self);
}

int web_put_stream(struct store *store, const char *name, struct writer **ret, struct error *err)
{
	struct web_writer *self = calloc(1, sizeof(*self));

	if (!self)
		return error_set(err, -ENOMEM, "out of memory");
	self->writer.write = writer_write;
	self->writer.finish = writer_finish;
	self->client = (struct web_client *)store;
	self->data = BUFFER_INIT(MEMORY_BYTES_MAX);
	self->spool_fd = -1;
	self->name = strdup(name);
	if (!self->name) {
		web_put_stream_done(store, &self->writer);
		return error_set(err, -ENOMEM, "out of memory");
	}
	*ret = &self->writer;
	return 0;
}
