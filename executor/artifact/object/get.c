#include "executor/artifact/object/get.h"

#include "executor/artifact/object/checksum.h"
#include "executor/artifact/object/crc64.h"
#include "executor/artifact/object/range.h"
#include "executor/base/cleanup.h"
#include "executor/base/clock.h"

#include <errno.h>
#include <inttypes.h>
#include <string.h>

/* How often it is asked whether one connection is enough. */
#define SAMPLE_BYTES ((uint64_t)8 * 1024 * 1024)

/* By when the ranges ahead shall have begun: connecting takes a few round trips. */
#define LEAD_MS 500
#define LEAD_BYTES_MIN ((uint64_t)4 * 1024 * 1024)

struct object_reader {
	struct reader reader;
	struct object_source source;
	struct object_range *ranges[1 + OBJECT_RANGES_AHEAD]; /* in order; the first is read */
	unsigned count;
	uint64_t planned; /* the ranges reach to here */
	uint64_t crc; /* of those that were read */
	bool is_single; /* the server gives no ranges, or has failed to */
	bool is_spread;

	/* Since the last sample. */
	uint64_t sampled; /* where it began */
	int64_t sampled_ms;
	int64_t starved_ms; /* there was nothing to read */
	uint64_t lead; /* what comes in LEAD_MS */
};

/* --- the ranges --------------------------------------------------------------------------- */

static void pop(struct object_reader *self, unsigned i)
{
	struct object_range *range = self->ranges[i];

	object_range_done(range);
	free(range);
	self->count--;
	for (; i < self->count; i++)
		self->ranges[i] = self->ranges[i + 1];
}

/* The next range, not begun: NULL = no memory. */
static struct object_range *push(struct object_reader *self, uint64_t end)
{
	struct object_range *range = calloc(1, sizeof(*range));

	if (!range)
		return NULL;
	object_range_init(range, &self->source, self->planned, end);
	if (self->count > 0)
		self->ranges[self->count - 1]->next = range;
	self->ranges[self->count++] = range;
	self->planned = end;
	return range;
}

static uint64_t next_end(const struct object_reader *self)
{
	uint64_t size = (uint64_t)self->source.size;

	return size - self->planned > OBJECT_RANGE_BYTES ? self->planned + OBJECT_RANGE_BYTES :
							   size;
}

static int claim(struct object_reader *self, struct object_range *range, uint64_t bytes,
		 struct error *err)
{
	struct object_client *client = self->source.client;

	return budget_wait(&range->memory, client->context.budget, client, 0, bytes,
			   client->context.loop, err);
}

/* The first one of all, and any other that is read before anybody had room for it. */
static int begin(struct object_reader *self, uint64_t end, uint64_t bytes, struct error *err)
{
	struct object_range *range = push(self, end);
	int r = range ? claim(self, range, bytes, err) : error_set(err, -ENOMEM, "out of memory");

	if (r < 0)
		return r;
	range->unread_max = (size_t)bytes;
	return object_range_start(range, err);
}

/* One more ahead, if there is room right now. */
static bool begin_ahead(struct object_reader *self)
{
	struct object_client *client = self->source.client;
	struct transfer_budget *budget = client->context.budget;
	struct transfer_claim memory = { 0 }, connection = { 0 };
	struct object_range *range = NULL;
	struct error err;

	budget_claim(&memory, budget, client, 0, OBJECT_RANGE_BYTES);
	if (memory.is_granted)
		budget_claim(&connection, budget, client, 1, 0);
	if (connection.is_granted)
		range = push(self, next_end(self));
	if (!range) {
		budget_return(&connection);
		budget_return(&memory);
		return false;
	}
	budget_move(&range->memory, &memory);
	budget_move(&range->connection, &connection);
	/* It is told of when it is read. */
	if (object_range_start(range, &err) < 0)
		range->error = err;
	return true;
}

/* The first one goes on to the end alone. */
static void give_up_ahead(struct object_reader *self)
{
	struct object_range *first = self->ranges[0];

	while (self->count > 1)
		pop(self, self->count - 1);
	first->next = NULL;
	if (first->transfer)
		http_transfer_release_window(first->transfer);
	self->planned = first->end;
	self->is_single = true;
}

/* --- one connection or several ------------------------------------------------------------ */

/* True if it comes slowly, and slower than it is read. */
static bool is_slow(struct object_reader *self, uint64_t position)
{
	int64_t now_ms = clock_now_ms(), elapsed_ms = now_ms - self->sampled_ms;
	uint64_t bytes = position - self->sampled;
	bool is_slow = (int64_t)bytes * 1000 < OBJECT_SPREAD_BYTES_PER_S * elapsed_ms &&
		       self->starved_ms * 2 >= elapsed_ms;

	self->sampled = position;
	self->sampled_ms = now_ms;
	self->starved_ms = 0;
	if (is_slow)
		self->lead = bytes * LEAD_MS / (uint64_t)elapsed_ms;
	return is_slow;
}

/* Where the others shall take over: behind all that is on its way when they begin, since that comes
 * whether it is read or not. False if there is not enough left then, or nobody knows. */
static bool plan_ahead(struct object_reader *self)
{
	struct object_range *first = self->ranges[0];
	uint64_t lead = self->lead > LEAD_BYTES_MIN ? self->lead : LEAD_BYTES_MIN;

	first->window = http_transfer_hold_window(first->transfer);
	lead += first->position + first->window;
	if (first->window > 0 && lead + OBJECT_RANGE_BYTES < (uint64_t)self->source.size) {
		self->planned = lead;
		return true;
	}
	http_transfer_release_window(first->transfer);
	return false;
}

static bool is_worth_it(struct object_reader *self)
{
	const struct object_range *first = self->ranges[0];

	if (self->is_single || self->source.size < OBJECT_SPREAD_BYTES_MIN ||
	    self->source.etag[0] == '\0' || !first->transfer || first->error.code != 0)
		return false;
	return first->position - self->sampled >= SAMPLE_BYTES && is_slow(self, first->position) &&
	       plan_ahead(self);
}

/* What the first range still gets goes beyond where the next one should have taken over: that came too
 * late, or was refused. */
static bool is_hopeless(const struct object_range *first)
{
	const struct object_range *next = first->next;

	if (!next || first->end <= next->begin)
		return false;
	return first->position + first->window > next->begin ||
	       (next->error.code != 0 && !next->is_confirmed);
}

/* One goes ahead and shows that there are ranges, and that they come in time, before others follow. */
static bool may_follow(const struct object_range *first)
{
	const struct object_range *next = first->next;

	return !next || next->is_confirmed || first->end <= next->begin;
}

/* Sees to the ranges ahead. */
static void spread(struct object_reader *self)
{
	struct object_range *first = self->count > 0 ? self->ranges[0] : NULL;

	if (!first || (!self->is_spread && !is_worth_it(self)))
		return;
	self->is_spread = true;
	if (is_hopeless(first))
		give_up_ahead(self);
	while (!self->is_single && self->count <= OBJECT_RANGES_AHEAD && may_follow(first) &&
	       self->planned < (uint64_t)self->source.size)
		if (!begin_ahead(self))
			break;
}

/* --- reading ------------------------------------------------------------------------------ */

/* Lets the loop run until something has happened. */
static int rest(struct object_reader *self, struct error *err)
{
	struct object_source *source = &self->source;
	int64_t begun_ms = clock_now_ms();
	int r;

	r = event_loop_wait(source->client->context.loop, &source->is_awake);
	source->is_awake = false;
	self->starved_ms += clock_now_ms() - begun_ms;
	if (r == -ECANCELED)
		return event_loop_cancelled_error(err);
	return r < 0 ? error_errno(err, r, "%s", source->description) : 0;
}

static int check_content(struct object_reader *self, struct error *err)
{
	struct object_source *source = &self->source;
	int r;

	if (!source->has_checksum)
		return 0;
	r = object_checksum_compare(source->client, source->checksum, self->crc, err);
	/* It was given out. */
	if (r < 0 && err && !source->is_held)
		err->class = ERROR_PERMANENT;
	return r < 0 ? error_prefix(err, r, "%s", source->description) : 0;
}

/* The first range has been read to its end. 1 = so has the object. */
static int go_on(struct object_reader *self, struct error *err)
{
	const struct object_range *first = self->ranges[0];
	uint64_t end = first->position;
	int r;

	self->crc = crc64_combine(self->crc, first->crc, end - first->begin);
	pop(self, 0);
	if (self->source.size < 0 || end == (uint64_t)self->source.size) {
		while (self->count > 0)
			pop(self, self->count - 1);
		r = check_content(self, err);
		return r < 0 ? r : 1;
	}
	if (self->count > 0)
		return 0;
	self->planned = end;
	return begin(self, next_end(self), OBJECT_RANGE_BYTES, err);
}

static ssize_t read_some(struct object_reader *self, void *data, size_t size, struct error *err)
{
	while (self->count > 0) {
		struct object_range *first = self->ranges[0];
		size_t n = 0;
		int r;

		if (first->is_complete || !self->source.is_held)
			n = object_range_take(first, data, size);
		if (n > 0)
			return (ssize_t)n;
		if (first->is_complete)
			r = go_on(self, err);
		else if (first->error.code != 0)
			r = object_range_restart(first, err);
		else
			r = rest(self, err);
		if (r != 0)
			return r < 0 ? r : 0;
		spread(self);
	}
	return 0;
}

static ssize_t reader_read(struct reader *base, void *data, size_t size, struct error *err)
{
	struct object_reader *self = (struct object_reader *)base;
	struct error own = ERROR_NONE;
	ssize_t n = read_some(self, data, size, &own);

	if (n < 0 && err)
		*err = own;
	return n;
}

void object_get_done(struct reader *reader)
{
	struct object_reader *self = (struct object_reader *)reader;

	if (!self)
		return;
	while (self->count > 0)
		pop(self, self->count - 1);
	free(self->source.key);
	free(self);
}

static int open_object(struct object_reader *self, struct error *err)
{
	struct object_range *first;
	int r = begin(self, OBJECT_TO_THE_END, OBJECT_READ_AHEAD_BYTES, err);

	while (r == 0 && !self->source.is_known) {
		first = self->ranges[0];
		r = first->error.code != 0 ? object_range_restart(first, err) : rest(self, err);
	}
	self->sampled_ms = clock_now_ms();
	self->starved_ms = 0;
	return r;
}

int object_get(struct object_client *client, const char *key, struct reader **ret,
	       int64_t *ret_size, struct error *err)
{
	const struct object_call call = { .operation = "get object", .key = key };
	struct object_reader *self;
	struct error own = ERROR_NONE;
	int r = object_client_make_ready(client, false, err);

	if (r < 0)
		return r;
	self = calloc(1, sizeof(*self));
	if (!self)
		return error_set(err, -ENOMEM, "out of memory");
	self->reader.read = reader_read;
	self->source.client = client;
	self->source.size = -1;
	self->source.key = strdup(key);
	object_describe(client, &call, self->source.description);
	r = self->source.key ? open_object(self, &own) : error_set(&own, -ENOMEM, "out of memory");
	if (r < 0) {
		object_get_done(&self->reader);
		if (err)
			*err = own;
		return r;
	}
	*ret_size = self->source.size;
	*ret = &self->reader;
	return 0;
}
