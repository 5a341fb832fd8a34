#include "executor/artifact/object/put_file.h"

#include "executor/base/cleanup.h"
#include "executor/base/text.h"

#include <errno.h>
#include <inttypes.h>
#include <string.h>

#define THREADS_DEFAULT 4

/* A part whose connection is cut so often is cut into smaller ones. */
#define CUTS_MAX 2

static void warn_ignored(const struct log *log, const char *name, const char *value)
{
	if (log)
		log_warn(log, "Ignoring an environment variable", log_string("name", name),
			 log_string("value", value));
}

static const char *setting(const char *name)
{
	return name ? getenv(name) : NULL;
}

static unsigned wanted_threads(const char *name, const struct log *log)
{
	const char *value = setting(name);
	int64_t threads;

	if (!value || *value == '\0')
		return THREADS_DEFAULT;
	if (text_parse_int64(value, &threads) < 0 || threads < 1) {
		warn_ignored(log, name, value);
		return THREADS_DEFAULT;
	}
	return threads < OBJECT_THREADS_MAX ? (unsigned)threads : OBJECT_THREADS_MAX;
}

/* 0 = not set, or not usable. */
static uint64_t wanted_part_bytes(const char *name, uint64_t size, const struct log *log)
{
	const char *value = setting(name);
	int64_t mib;

	if (!value || *value == '\0')
		return 0;
	if (text_parse_int64(value, &mib) == 0 &&
	    mib >= (int64_t)(OBJECT_PART_BYTES_MIN / OBJECT_MIB) &&
	    mib <= (int64_t)(OBJECT_PART_BYTES_MAX / OBJECT_MIB) &&
	    size >= (uint64_t)mib * OBJECT_MIB)
		return (uint64_t)mib * OBJECT_MIB;
	warn_ignored(log, name, value);
	return 0;
}

/* With which so many parts hold the file, in whole MiB. */
static uint64_t least_part(uint64_t size, unsigned parts)
{
	uint64_t unit = parts * OBJECT_MIB;

	return (size / unit + (size % unit > 0)) * OBJECT_MIB;
}

bool object_file_plan_few(struct object_file_plan *plan, uint64_t size)
{
	uint64_t least = least_part(size, OBJECT_PARTS_FEW);

	if (least > OBJECT_PART_BYTES_MAX)
		return false;
	if (plan->part_bytes < least)
		plan->part_bytes = least;
	plan->parts_max = OBJECT_PARTS_FEW;
	return true;
}

int object_file_plan(struct object_file_plan *plan, const struct object_protocol *protocol,
		     uint64_t size, const struct log *log, struct error *err)
{
	uint64_t least = least_part(size, OBJECT_PARTS_MAX), wanted;

	if (least > OBJECT_PART_BYTES_MAX)
		return error_set(err, -EFBIG, "%" PRIu64 " bytes are more than an object can hold",
				 size);
	wanted = wanted_part_bytes(protocol->part_size_variable, size, log);
	if (wanted == 0)
		wanted = OBJECT_FILE_PART_BYTES;
	plan->part_bytes = wanted < least ? least : wanted;
	plan->threads = wanted_threads(protocol->threads_variable, log);
	plan->parts_max = OBJECT_PARTS_MAX;
	return 0;
}

struct file_upload {
	struct object_upload upload;
	struct object_file_plan plan;
	int fd;
	uint64_t size;
	uint64_t sent; /* given to a part */
	unsigned number; /* of the last part that was started */
	struct object_part *parts;
	unsigned part_count;
	unsigned busy;
	bool is_unsteady; /* a connection was cut: parts are small from now on */
	bool is_cut; /* too often: what is under way is sent anew in small parts */
	bool is_done;
	bool is_beyond_few; /* the server takes fewer parts */
	struct error error; /* the first one */
};

/* The least with which the parts suffice. */
static uint64_t small_part(const struct file_upload *self)
{
	uint64_t left = self->size - self->sent, count = self->plan.parts_max - self->number;
	uint64_t least = count > 0 ? (left + count - 1) / count : left;

	return least > OBJECT_PART_BYTES_MIN ? least : OBJECT_PART_BYTES_MIN;
}

static void send_next(struct file_upload *self, struct object_part *part)
{
	uint64_t left = self->size - self->sent, small = small_part(self);
	uint64_t wanted =
		self->is_unsteady && small < self->plan.part_bytes ? small : self->plan.part_bytes;
	struct http_body body = {
		.has_file = true,
		.fd = self->fd,
		.offset = self->sent,
		.size = left < wanted ? left : wanted,
	};

	self->sent += body.size;
	self->busy++;
	part->cuts_max = body.size > small ? CUTS_MAX : 0;
	object_part_start(part, &self->upload, ++self->number, &body);
}

static void on_part(struct object_part *part)
{
	struct file_upload *self = part->context;

	self->busy--;
	for (unsigned i = 0; i < self->part_count; i++)
		self->is_unsteady |= self->parts[i].cuts > 0;
	if (part->error.code != 0 && object_part_is_cut(part)) {
		self->is_cut = true;
	} else if (part->error.code != 0 && self->error.code == 0) {
		self->error = part->error;
		self->is_beyond_few = part->is_beyond_few;
	}
	if (self->error.code == 0 && !self->is_cut && self->sent < self->size)
		send_next(self, part);
	/* The others need not go on for nothing. */
	self->is_done = self->busy == 0 || self->error.code != 0 || self->is_cut;
}

/* Parts that are stored stay if no unfinished one is before them: numbers follow each other. */
static int cut_smaller(struct file_upload *self, struct event_loop *loop, struct error *err)
{
	unsigned first = self->number + 1;
	int r = 0;

	for (unsigned i = 0; i < self->part_count; i++) {
		struct object_part *part = &self->parts[i];

		if ((part->is_busy || part->error.code != 0) && part->number < first) {
			first = part->number;
			self->sent = part->call.body.offset;
		}
	}
	for (unsigned i = 0; i < self->part_count && r == 0; i++) {
		object_part_done(&self->parts[i]);
		r = object_part_init(&self->parts[i], on_part, self, loop, err);
	}
	object_upload_drop(&self->upload, first);
	self->number = first - 1;
	self->busy = 0;
	self->is_cut = false;
	return r;
}

static int wait_for_parts(struct file_upload *self, struct event_loop *loop, struct error *err)
{
	int r;

	self->is_done = false;
	for (unsigned i = 0; i < self->part_count && self->sent < self->size; i++)
		send_next(self, &self->parts[i]);
	r = event_loop_wait(loop, &self->is_done);
	if (r == -ECANCELED)
		return event_loop_cancelled_error(err);
	if (r < 0)
		return error_errno(err, r, "wait for an upload");
	if (self->error.code != 0 && err)
		*err = self->error;
	return self->error.code;
}

static int send_parts(struct file_upload *self, struct event_loop *loop, struct error *err)
{
	uint64_t parts = (self->size - 1) / self->plan.part_bytes + 1;
	unsigned wanted = parts < self->plan.threads ? (unsigned)parts : self->plan.threads;
	int r = 0;

	self->parts = calloc(wanted, sizeof(*self->parts));
	if (!self->parts)
		return error_set(err, -ENOMEM, "out of memory");
	while (self->part_count < wanted && r == 0)
		r = object_part_init(&self->parts[self->part_count++], on_part, self, loop, err);
	if (r == 0)
		r = wait_for_parts(self, loop, err);
	while (r == 0 && self->is_cut) {
		r = cut_smaller(self, loop, err);
		if (r == 0)
			r = wait_for_parts(self, loop, err);
	}
	return r;
}

/* One go from beginning to end. */
static int upload_file(struct object_client *client, const char *key, const char *content_type,
		       struct file_upload *self, bool *ret_is_gone, struct error *err)
{
	int r = object_upload_begin(&self->upload, client, key, content_type, err);

	*ret_is_gone = false;
	if (r == 0)
		r = send_parts(self, client->context.loop, err);
	if (r < 0)
		*ret_is_gone = self->is_beyond_few;
	else
		r = object_upload_complete(&self->upload, ret_is_gone, err);
	for (unsigned i = 0; i < self->part_count; i++)
		object_part_done(&self->parts[i]);
	free(self->parts);
	object_upload_done(&self->upload);
	return r;
}

int object_put_file(struct object_client *client, const char *key, const char *content_type, int fd,
		    uint64_t size, struct error *err)
{
	struct http_body whole = { .has_file = true, .fd = fd, .size = size };
	struct object_file_plan plan = { 0 };
	bool is_gone = false;
	int r = object_file_plan(&plan, client->protocol, size, client->context.log, err);

	if (r < 0)
		return r;
	if (size == 0)
		whole = (struct http_body){ .data = "" };
	if (size <= plan.part_bytes)
		return object_put_object(client, key, content_type, &whole, err);
	if (client->has_few_parts)
		object_file_plan_few(&plan, size);
	/* Somebody else may have ended the upload, by a lifecycle rule for instance; or the server takes
	 * fewer parts than Amazon. */
	for (int tries = 0; tries < 2; tries++) {
		struct file_upload self = { .plan = plan, .fd = fd, .size = size };

		r = upload_file(client, key, content_type, &self, &is_gone, err);
		if (!is_gone)
			break;
		client->has_few_parts |= self.is_beyond_few;
		if (self.number > OBJECT_PARTS_FEW && !object_file_plan_few(&plan, size) &&
		    self.is_beyond_few)
			break;
	}
	return r;
}
