#include "executor/artifact/object/put_stream.h"

#include "executor/base/cleanup.h"

#include <errno.h>
#include <inttypes.h>
#include <string.h>

#define OVERLAP_BYTES_MAX (16 * OBJECT_MIB)

struct object_writer {
	struct writer writer;
	struct object_client *client;
	char *key;
	const char *content_type;
	struct object_upload upload; /* begun with the second part */
	struct object_part part; /* the one being sent */
	char *sending; /* its buffer, kept for the next */
	size_t sending_capacity;
	char *filling;
	size_t capacity;
	size_t used;
	unsigned number; /* of the part being filled */
	bool is_awake;
};

uint64_t object_stream_part_bytes(unsigned number)
{
	return (number <= 1000 ? 8 : number <= 4000 ? 16 : 32) * OBJECT_MIB;
}

static void on_part(struct object_part *part)
{
	((struct object_writer *)part->context)->is_awake = true;
}

/* Waits until the part under way, if any, is stored. */
static int settle(struct object_writer *self, struct error *err)
{
	struct event_loop *loop = self->client->context.loop;
	int r = 0;

	while (r == 0 && self->part.is_busy) {
		self->is_awake = false;
		r = event_loop_wait(loop, &self->is_awake);
	}
	if (r == -ECANCELED)
		return event_loop_cancelled_error(err);
	if (r < 0)
		return error_errno(err, r, "wait for an upload");
	if (self->part.error.code != 0 && err)
		*err = self->part.error;
	return self->part.error.code;
}

/* Sends what was filled and takes the other buffer for the next part. */
static int flush(struct object_writer *self, struct error *err)
{
	struct http_body body;
	char *other = self->sending;
	size_t other_capacity = self->sending_capacity;
	int r = 0;

	if (!self->upload.id)
		r = object_upload_begin(&self->upload, self->client, self->key, self->content_type,
					err);
	if (r == 0)
		r = settle(self, err);
	if (r < 0)
		return r;
	self->sending = self->filling;
	self->sending_capacity = self->capacity;
	self->filling = other;
	self->capacity = other_capacity;
	body = (struct http_body){ .data = self->sending, .size = self->used };
	self->used = 0;
	object_part_start(&self->part, &self->upload, self->number++, &body);
	return body.size > OVERLAP_BYTES_MAX ? settle(self, err) : 0;
}

/* A buffer for the part at hand. */
static int make_room(struct object_writer *self, struct error *err)
{
	size_t wanted = (size_t)object_stream_part_bytes(self->number);

	if (self->capacity >= wanted)
		return 0;
	/* Empty: free and allocate is cheaper than to let realloc copy. */
	free(TAKE_PTR(self->filling));
	self->capacity = 0;
	if (wanted > OVERLAP_BYTES_MAX && !self->part.is_busy) {
		free(TAKE_PTR(self->sending));
		self->sending_capacity = 0;
	}
	self->filling = malloc(wanted);
	if (!self->filling)
		return error_set(err, -ENOMEM, "out of memory");
	self->capacity = wanted;
	return 0;
}

static int writer_write(struct writer *base, const void *data, size_t size, struct error *err)
{
	struct object_writer *self = (struct object_writer *)base;
	const char *p = data;

	while (size > 0) {
		size_t part_bytes = (size_t)object_stream_part_bytes(self->number);
		size_t n;
		int r = 0;

		if (self->used == part_bytes)
			r = flush(self, err);
		if (r == 0 && self->number > OBJECT_PARTS_MAX)
			return error_set(err, -EFBIG,
					 "put object %s/%s: a stream of more than %" PRIu64 " GiB",
					 self->client->bucket, self->key,
					 OBJECT_STREAM_BYTES_MAX / OBJECT_MIB / 1024);
		if (r == 0 && self->used == 0)
			r = make_room(self, err);
		if (r < 0)
			return r;
		n = (size_t)object_stream_part_bytes(self->number) - self->used;
		if (n > size)
			n = size;
		memcpy(self->filling + self->used, p, n);
		self->used += n;
		p += n;
		size -= n;
	}
	/* Keeps the part before going while its successor is being made. */
	if (self->part.is_busy && event_loop_poll(self->client->context.loop) == -ECANCELED)
		return event_loop_cancelled_error(err);
	return 0;
}

static int writer_finish(struct writer *base, struct error *err)
{
	struct object_writer *self = (struct object_writer *)base;
	bool is_gone;
	int r;

	if (!self->upload.id)
		return object_put_object(self->client, self->key, self->content_type,
					 &(struct http_body){ .data = self->used ? self->filling :
										   "",
							      .size = self->used },
					 err);
	r = flush(self, err);
	if (r == 0)
		r = settle(self, err);
	return r < 0 ? r : object_upload_complete(&self->upload, &is_gone, err);
}

void object_put_stream_done(struct writer *writer)
{
	struct object_writer *self = (struct object_writer *)writer;

	if (!self)
		return;
	object_part_done(&self->part);
	object_upload_done(&self->upload);
	free(self->sending);
	free(self->filling);
	free(self->key);
	free(self);
}

int object_put_stream(struct object_client *client, const char *key, const char *content_type,
		      struct writer **ret, struct error *err)
{
	struct object_writer *self = calloc(1, sizeof(*self));
	int r;

	if (!self)
		return error_set(err, -ENOMEM, "out of memory");
	self->writer.write = writer_write;
	self->writer.finish = writer_finish;
	self->client = client;
	self->content_type = content_type;
	self->number = 1;
	self->key = strdup(key);
	r = self->key ? object_part_init(&self->part, on_part, self, client->context.loop, err) :
			error_set(err, -ENOMEM, "out of memory");
	if (r < 0) {
		object_put_stream_done(&self->writer);
		return r;
	}
	*ret = &self->writer;
	return 0;
}
