#include "executor/artifact/object/put_stream.h"

#include "executor/base/cleanup.h"

#include <errno.h>
#include <inttypes.h>
#include <stddef.h>
#include <string.h>

/* Two of these do not fit into a process that shall need no more than 48 MB. */
#define OVERLAP_BYTES_MAX (16 * OBJECT_MIB)

/* A part's worth of memory, claimed for as long as it is allocated. */
struct chunk {
	char *data; /* NULL = none */
	size_t capacity;
	struct transfer_claim claim;
};

struct flight {
	struct object_part part;
	struct chunk chunk; /* what it sends; empty behind it */
};

struct object_writer {
	struct writer writer;
	struct object_client *client;
	char *key;
	const char *content_type;
	struct object_upload upload; /* begun with the second part */
	struct flight flights[OBJECT_STREAM_FLIGHTS];
	unsigned flight_count; /* set up */
	struct chunk filling;
	size_t used; /* of it */
	unsigned number; /* of the part being filled */
	struct error error; /* of the first part that failed */
	bool is_awake; /* a part has ended, a claim was granted */
};

uint64_t object_stream_part_bytes(unsigned number, uint64_t budget)
{
	uint64_t mib = number <= 1000 ? 5 : number <= 2000 ? 8 : number <= 4000 ? 16 : 32;

	/* One part at a time may have more than there is. */
	if (budget / 2 < mib * OBJECT_MIB && budget < BUDGET_BYTES)
		return OBJECT_PART_BYTES_MIN;
	return mib * OBJECT_MIB;
}

static uint64_t part_bytes(const struct object_writer *self)
{
	return object_stream_part_bytes(self->number,
					budget_bytes_max(self->client->context.budget));
}

/* --- memory ------------------------------------------------------------------------------- */

static void chunk_done(struct chunk *chunk)
{
	free(TAKE_PTR(chunk->data));
	chunk->capacity = 0;
	budget_return(&chunk->claim);
}

static void on_granted(struct transfer_claim *claim)
{
	struct chunk *filling = (struct chunk *)((char *)claim - offsetof(struct chunk, claim));

	((struct object_writer *)((char *)filling - offsetof(struct object_writer, filling)))
		->is_awake = true;
}

/* Lets the loop run until something has happened. */
static int rest(struct object_writer *self, struct error *err)
{
	int r = event_loop_wait(self->client->context.loop, &self->is_awake);

	self->is_awake = false;
	if (r == -ECANCELED)
		return event_loop_cancelled_error(err);
	return r < 0 ? error_errno(err, r, "wait for an upload") : 0;
}

static unsigned count_busy(const struct object_writer *self)
{
	unsigned count = 0;

	for (unsigned i = 0; i < self->flight_count; i++)
		count += self->flights[i].part.is_busy;
	return count;
}

/* Waits until no more than `most` parts are on their way. */
static int settle(struct object_writer *self, unsigned most, struct error *err)
{
	int r = 0;

	while (r == 0 && self->error.code == 0 && count_busy(self) > most)
		r = rest(self, err);
	if (r == 0 && self->error.code != 0) {
		if (err)
			*err = self->error;
		r = self->error.code;
	}
	return r;
}

/* A buffer for the part at hand. */
static int make_room(struct object_writer *self, struct error *err)
{
	struct chunk *filling = &self->filling;
	uint64_t wanted = part_bytes(self);
	int r = wanted > OVERLAP_BYTES_MAX ? settle(self, 0, err) : 0;

	if (r < 0 || filling->data)
		return r;
	filling->claim.on_granted = on_granted;
	budget_claim(&filling->claim, self->client->context.budget, self->client, 0, wanted);
	while (r == 0 && self->error.code == 0 && !filling->claim.is_granted)
		r = rest(self, err);
	if (r == 0)
		r = settle(self, OBJECT_STREAM_FLIGHTS, err);
	if (r < 0)
		return r;
	filling->data = malloc(wanted);
	if (!filling->data)
		return error_set(err, -ENOMEM, "out of memory");
	filling->capacity = (size_t)wanted;
	return 0;
}

/* --- parts -------------------------------------------------------------------------------- */

static void on_part(struct object_part *part)
{
	struct object_writer *self = part->context;
	struct flight *flight = (struct flight *)part;

	chunk_done(&flight->chunk);
	if (part->error.code != 0 && self->error.code == 0)
		self->error = part->error;
	self->is_awake = true;
}

static struct flight *find_idle(struct object_writer *self)
{
	for (unsigned i = 0; i < self->flight_count; i++)
		if (!self->flights[i].part.is_busy)
			return &self->flights[i];
	return NULL;
}

/* The claim moves with the memory. */
static void hand_over(struct object_writer *self, struct chunk *to)
{
	struct chunk *from = &self->filling;

	to->data = TAKE_PTR(from->data);
	to->capacity = from->capacity;
	budget_move(&to->claim, &from->claim);
}

/* Sends what was filled. */
static int flush(struct object_writer *self, struct error *err)
{
	struct flight *flight;
	int r = 0;

	if (!self->upload.id)
		r = object_upload_begin(&self->upload, self->client, self->key, self->content_type,
					err);
	if (r == 0)
		r = settle(self, OBJECT_STREAM_FLIGHTS - 1, err);
	if (r < 0)
		return r;
	flight = find_idle(self);
	hand_over(self, &flight->chunk);
	object_part_start(&flight->part, &self->upload, self->number++,
			  &(struct http_body){ .data = flight->chunk.data, .size = self->used });
	self->used = 0;
	return 0;
}

/* --- the writer --------------------------------------------------------------------------- */

static int too_long(const struct object_writer *self, struct error *err)
{
	return error_set(err, -EFBIG,
			 "put object %s/%s: a stream of more than %" PRIu64 " GiB, which %d parts "
			 "cannot hold",
			 self->client->bucket, self->key,
			 (part_bytes(self) == OBJECT_PART_BYTES_MIN ?
				  OBJECT_PARTS_MAX * OBJECT_PART_BYTES_MIN :
				  OBJECT_STREAM_BYTES_MAX) /
				 OBJECT_MIB / 1024,
			 OBJECT_PARTS_MAX);
}

static int writer_write(struct writer *base, const void *data, size_t size, struct error *err)
{
	struct object_writer *self = (struct object_writer *)base;
	const char *p = data;

	while (size > 0) {
		size_t n;
		int r = 0;

		if (self->filling.data && self->used == self->filling.capacity)
			r = flush(self, err);
		if (r == 0 && self->number > OBJECT_PARTS_MAX)
			return too_long(self, err);
		if (r == 0 && !self->filling.data)
			r = make_room(self, err);
		if (r < 0)
			return r;
		n = self->filling.capacity - self->used;
		if (n > size)
			n = size;
		memcpy(self->filling.data + self->used, p, n);
		self->used += n;
		p += n;
		size -= n;
	}
	/* Keeps the parts before going while their successor is being made. */
	if (count_busy(self) > 0 && event_loop_give_turn(self->client->context.loop) == -ECANCELED)
		return event_loop_cancelled_error(err);
	return 0;
}

static int writer_finish(struct writer *base, struct error *err)
{
	struct object_writer *self = (struct object_writer *)base;
	struct http_body body = { .data = self->used > 0 ? self->filling.data : "",
				  .size = self->used };
	bool is_gone;
	int r;

	if (!self->upload.id)
		return object_put_object(self->client, self->key, self->content_type, &body, err);
	r = flush(self, err);
	if (r == 0)
		r = settle(self, 0, err);
	return r < 0 ? r : object_upload_complete(&self->upload, &is_gone, err);
}

void object_put_stream_done(struct writer *writer)
{
	struct object_writer *self = (struct object_writer *)writer;

	if (!self)
		return;
	for (unsigned i = 0; i < self->flight_count; i++) {
		object_part_done(&self->flights[i].part);
		chunk_done(&self->flights[i].chunk);
	}
	object_upload_done(&self->upload);
	chunk_done(&self->filling);
	free(self->key);
	free(self);
}

int object_put_stream(struct object_client *client, const char *key, const char *content_type,
		      struct writer **ret, struct error *err)
{
	struct object_writer *self = calloc(1, sizeof(*self));
	int r = 0;

	if (!self)
		return error_set(err, -ENOMEM, "out of memory");
	self->writer.write = writer_write;
	self->writer.finish = writer_finish;
	self->client = client;
	self->content_type = content_type;
	self->number = 1;
	self->key = strdup(key);
	if (!self->key)
		r = error_set(err, -ENOMEM, "out of memory");
	while (r == 0 && self->flight_count < OBJECT_STREAM_FLIGHTS)
		r = object_part_init(&self->flights[self->flight_count++].part, on_part, self,
				     client->context.loop, err);
	if (r < 0) {
		object_put_stream_done(&self->writer);
		return r;
	}
	*ret = &self->writer;
	return 0;
}
