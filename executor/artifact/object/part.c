/* One part of a multipart upload: a small machine that sends, judges, pauses and sends again. */
#include "executor/artifact/object/checksum.h"
#include "executor/artifact/object/upload.h"
#include "executor/base/cleanup.h"
#include "executor/base/text.h"

#include <errno.h>
#include <stddef.h>
#include <stdio.h>
#include <string.h>

static struct object_stored *stored_of(struct object_upload *upload, unsigned number)
{
	unsigned capacity = upload->capacity ? upload->capacity : 16;
	struct object_stored *parts;

	while (capacity < number)
		capacity *= 2;
	if (capacity > upload->capacity) {
		parts = realloc(upload->parts, capacity * sizeof(*parts));
		if (!parts)
			return NULL;
		memset(parts + upload->capacity, 0, (capacity - upload->capacity) * sizeof(*parts));
		upload->parts = parts;
		upload->capacity = capacity;
	}
	if (number > upload->count)
		upload->count = number;
	return &upload->parts[number - 1];
}

static void stop(struct object_part *part)
{
	http_transfer_free(TAKE_PTR(part->transfer));
	object_request_done(&part->request);
	budget_return(&part->claim);
}

/* Ends the part: with success if part->error is none. */
static void finish(struct object_part *part)
{
	part->is_busy = false;
	part->callback(part);
}

bool object_part_is_cut(const struct object_part *part)
{
	return part->cuts_max > 0 && part->cuts >= part->cuts_max;
}

static void fail_attempt(struct object_part *part)
{
	int64_t pause_ms = retry_next(&part->retry, &part->error);

	if (object_part_is_cut(part))
		pause_ms = -1;

	if (pause_ms < 0)
		finish(part);
	else
		event_timer_set(&part->timer, pause_ms);
}

static int judge_stored(struct object_part *part, const struct http_response *response)
{
	struct object_client *client = part->upload->client;
	struct object_failure failure;
	struct object_stored *stored;
	char etag[OBJECT_ETAG_MAX];
	int r = object_check(client, &part->call, response, &part->retry, &failure, &part->error);

	part->is_beyond_few = r < 0 &&
			      object_upload_is_beyond_few(part->number, failure.error.code);
	if (part->is_beyond_few)
		error_append(&part->error, "; perhaps it takes no more than %d parts",
			     OBJECT_PARTS_FEW);
	if (r < 0)
		return r;
	if (!http_response_header(response, "etag", etag, sizeof(etag)) || etag[0] == '\0')
		return error_set(&part->error, -EPROTO, "%s: the server confirmed no ETag",
				 part->description);
	r = object_checksum_check(client, response, part->sums.crc, &part->error);
	if (r < 0)
		return error_prefix(&part->error, r, "%s", part->description);
	stored = stored_of(part->upload, part->number);
	if (!stored)
		return error_set(&part->error, -ENOMEM, "out of memory");
	memcpy(stored->etag, etag, sizeof(etag));
	stored->sums = part->sums;
	stored->size = part->call.body.size;
	part->upload->bytes += stored->size;
	store_tell_stored(&client->context, stored->size);
	return 0;
}

/* Broken while it was under way, not refused at the door. */
static bool is_cut(const struct error *error)
{
	return error->class == ERROR_TRANSIENT &&
	       (error->code == -ECONNRESET || error->code == -EPIPE || error->code == -ETIMEDOUT ||
		error->code == -EPROTO || error->code == -EIO);
}

static void on_answer(struct http_transfer *transfer, const struct http_response *response,
		      const struct error *error, void *context)
{
	struct object_part *part = context;
	int r = error->code;

	(void)transfer;
	part->error = *error;
	part->cuts += is_cut(error);
	if (r < 0)
		error_prefix(&part->error, r, "%s", part->description);
	else
		r = judge_stored(part, response);
	stop(part);
	if (r < 0)
		fail_attempt(part);
	else
		finish(part);
}

static void send_it(struct object_part *part)
{
	struct object_client *client = part->upload->client;
	int r;

	part->error = ERROR_NONE;
	part->is_summed = false;
	r = client->protocol->prepare(client, &part->call, &part->request, &part->error);
	if (r == 0) {
		part->request.http.retry = &part->retry;
		part->transfer = http_start(client->context.http, &part->request.http, on_answer,
					    part, &part->error);
		if (part->transfer)
			return;
	}
	error_prefix(&part->error, part->error.code, "%s", part->description);
	stop(part);
	fail_attempt(part);
}

/* On a thread of the pool. */
static void compute_sums(struct pool_job *job)
{
	struct object_part *part =
		(struct object_part *)((char *)job - offsetof(struct object_part, summing));

	part->error = ERROR_NONE;
	object_sums_of(part->upload->client, &part->call.body, &part->sums, &part->error);
}

static void on_sums(struct pool_job *job)
{
	struct object_part *part =
		(struct object_part *)((char *)job - offsetof(struct object_part, summing));

	if (part->error.code != 0) {
		error_prefix(&part->error, part->error.code, "%s", part->description);
		fail_attempt(part);
		return;
	}
	part->is_summed = true;
	event_timer_set(&part->timer, 0);
}

static void on_granted(struct transfer_claim *claim)
{
	struct object_part *part =
		(struct object_part *)((char *)claim - offsetof(struct object_part, claim));

	event_timer_set(&part->timer, 0);
}

/* Runs on the loop for the first attempt too, so that a failure is never reported from inside
 * object_part_start(). */
static void on_timer(struct event_timer *timer)
{
	struct object_part *part =
		(struct object_part *)((char *)timer - offsetof(struct object_part, timer));
	struct object_client *client = part->upload->client;

	if (!part->is_summed) {
		part->summing = (struct pool_job){ .work = compute_sums, .done = on_sums };
		pool_start(client->context.pool, &part->summing);
		return;
	}
	if (!part->claim.is_granted) {
		part->claim.on_granted = on_granted;
		budget_claim(&part->claim, client->context.budget, client, 1, 0);
	}
	if (part->claim.is_granted)
		send_it(part);
}

int object_part_init(struct object_part *part, void (*callback)(struct object_part *part),
		     void *context, struct event_loop *loop, struct error *err)
{
	int r;

	*part = (struct object_part){ .callback = callback, .context = context };
	r = event_timer_init(&part->timer, loop, on_timer);
	return r < 0 ? error_errno(err, r, "set up an upload") : 0;
}

void object_part_start(struct object_part *part, struct object_upload *upload, unsigned number,
		       const struct http_body *body)
{
	struct object_client *client = upload->client;

	part->upload = upload;
	part->number = number;
	snprintf(part->number_text, sizeof(part->number_text), "%u", number);
	snprintf(part->operation, sizeof(part->operation), "put part %u of", number);
	part->query[0] = (struct object_query){ "partNumber", part->number_text };
	part->query[1] = (struct object_query){ "uploadId", upload->id };
	part->query[2] = (struct object_query){ NULL, NULL };
	part->call = (struct object_call){
		.operation = part->operation,
		.method = "PUT",
		.key = upload->key,
		.query = part->query,
		.body = *body,
		.sums = &part->sums,
		.is_object = true,
	};
	part->is_busy = true;
	part->is_summed = false;
	part->is_beyond_few = false;
	part->cuts = 0;
	object_describe(client, &part->call, part->description);
	object_retry_begin(client, &part->call, &part->retry);
	event_timer_set(&part->timer, 0);
}

void object_part_done(struct object_part *part)
{
	if (part->upload)
		pool_take_back(part->upload->client->context.pool, &part->summing);
	stop(part);
	event_timer_done(&part->timer);
	part->is_busy = false;
}
