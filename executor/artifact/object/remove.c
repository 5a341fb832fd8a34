#include "executor/artifact/object/remove.h"

#include "executor/artifact/object/batch.h"
#include "executor/artifact/object/list.h"
#include "executor/artifact/object/survey.h"
#include "executor/base/cleanup.h"
#include "executor/base/text.h"
#include "executor/event/crew.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

/* Requests for what lies below a key, while it is listed. */
#define BELOW_WIDTH 2

/* What has become of one key so far. */
struct item {
	size_t pending; /* objects not told yet, and a listing under way */
	bool was_there;
	struct error *failure; /* the first; NULL = none, or no memory for it */
	int code; /* its code; 0 = none */
};

struct work {
	struct object_client *client;
	const struct store_removal *removal;
	struct item *items;
	uint8_t *places;
	struct object_batch *together; /* of keys that are objects; not full yet */
	struct crew *crew;
	size_t streak; /* of failures that an outage explains */
	struct error outage; /* the store answers nobody: the rest is not asked for */
};

/* --- What has become of a key ------------------------------------------------------------------ */

static void tell(struct work *work, size_t i)
{
	struct item *item = &work->items[i];
	struct error nameless = ERROR_NONE;

	if (item->code < 0 && !item->failure)
		error_set(&nameless, item->code, "out of memory");
	work->removal->done(work->removal->context, i, item->was_there,
			    item->failure  ? item->failure :
			    item->code < 0 ? &nameless :
					     NULL);
	free(TAKE_PTR(item->failure));
}

/* Whether all there is to say is that the store has been away for as long as anybody would wait. */
static void judge_outage(struct work *work, const struct error *cause)
{
	if (!error_is_retryable(cause)) {
		work->streak = 0;
		return;
	}
	if (++work->streak < OBJECT_REMOVE_WIDTH || work->outage.code < 0)
		return;
	work->outage = *cause;
	error_prefix(&work->outage, cause->code, "not tried, the store was away for too long");
}

static void note_failure(struct work *work, size_t i, const struct error *cause)
{
	struct item *item = &work->items[i];

	judge_outage(work, cause);
	if (item->code < 0)
		return;
	item->code = cause->code;
	item->failure = malloc(sizeof(*item->failure));
	if (item->failure)
		*item->failure = *cause;
}

static void finish(struct work *work, size_t i)
{
	if (--work->items[i].pending == 0)
		tell(work, i);
}

static void on_deleted(void *context, size_t i, const struct error *err)
{
	struct work *work = context;

	if (err)
		note_failure(work, i, err);
	else
		work->streak = 0;
	finish(work, i);
}

/* --- Looking ----------------------------------------------------------------------------------- */

enum there { IS_THERE, IS_MISSING, IS_HIDDEN };

static int look(struct object_client *client, const char *key, enum there *ret, struct error *err)
{
	const struct object_call call = { .operation = "look at", .method = "HEAD", .key = key };
	struct object_failure failure;
	struct http_response response;
	int r = object_perform(client, &call, &response, &failure, err);

	http_response_done(&response);
	*ret = IS_THERE;
	if (r == -ENOENT)
		*ret = IS_MISSING;
	else if (r < 0 && failure.status == 403)
		*ret = IS_HIDDEN;
	return r < 0 && *ret == IS_THERE ? r : 0;
}

/* Servers, proxies and file systems behind them resolve such components: what is removed then is
 * something else, the bucket itself at worst. */
static int check_key(const struct object_client *client, const char *key, struct error *err)
{
	if (*key == '\0')
		return error_set(err, -EINVAL, "%s: key: is required", client->protocol->type);
	if (strlen(key) > OBJECT_KEY_BYTES_MAX)
		return error_set(err, -ENAMETOOLONG, "delete %s/%.100s…: key longer than %d bytes",
				 client->bucket, key, OBJECT_KEY_BYTES_MAX);
	for (const char *p = key;; p++) {
		size_t size = strcspn(p, "/");

		if ((size == 1 && *p == '.') || (size == 2 && memcmp(p, "..", 2) == 0))
			return error_set(err, -EINVAL,
					 "delete %s/%s: a key with '%.*s' in it may mean the whole "
					 "bucket",
					 client->bucket, key, (int)size, p);
		p += size;
		if (*p == '\0')
			return 0;
	}
}

/* --- Batches ----------------------------------------------------------------------------------- */

static struct object_batch *new_batch(struct work *work, size_t width)
{
	struct object_batch *batch = malloc(sizeof(*batch));

	if (batch)
		*batch = (struct object_batch){
			.client = work->client, .done = on_deleted, .context = work, .width = width
		};
	return batch;
}

static void drop_batch(void *batch)
{
	if (batch)
		object_batch_done(batch);
	free(batch);
}

/* Keeps a key for a request with others; true in *ret_is_full when that is to be sent. */
static int keep(struct work *work, struct object_batch **batch, size_t width, const char *key,
		size_t i, bool *ret_is_full, struct error *err)
{
	int r;

	if (!*batch)
		*batch = new_batch(work, width);
	if (!*batch)
		return error_set(err, -ENOMEM, "out of memory");
	work->items[i].pending++;
	work->items[i].was_there = true;
	r = object_batch_keep(*batch, key, i, err);
	/* Others may have sent it meanwhile. */
	*ret_is_full = r == 0 && *batch && object_batch_is_full(*batch);
	return r;
}

/* Sends a batch and frees it. */
static int flush(struct work *work, struct object_batch *batch, struct error *err)
{
	int r = 0;

	if (batch && work->outage.code < 0)
		for (size_t i = 0; i < batch->count; i++)
			on_deleted(work, batch->owners[i], &work->outage);
	else if (batch)
		r = object_batch_flush(batch, err);
	drop_batch(batch);
	return r;
}

/* --- One key ----------------------------------------------------------------------------------- */

/* What lies below a key: one job lists it, others delete what has been listed. */
struct below {
	struct work *work;
	struct object_batch *batch; /* not full yet; NULL = none */
	struct crew *crew;
	const char *prefix;
	size_t i;
	size_t width;
};

static int hand_over(struct below *below, struct object_batch **batch, struct error *err)
{
	struct object_batch *taken = TAKE_PTR(*batch);
	int r = taken ? crew_put(below->crew, taken, err) : 0;

	if (r < 0)
		drop_batch(taken);
	return r;
}

static int add_below(void *context, const char *relative, int64_t size, struct error *err)
{
	struct below *below = context;
	_cleanup_free_ char *key = NULL;
	bool is_full = false;
	int r;

	(void)size;
	if (asprintf(&key, "%s%s", below->prefix, relative) < 0) {
		key = NULL;
		return error_set(err, -ENOMEM, "out of memory");
	}
	r = keep(below->work, &below->batch, below->width, key, below->i, &is_full, err);
	if (r < 0 || !is_full)
		return r;
	/* Many lie there: the objects of others need not wait for their end. */
	r = hand_over(below, &below->work->together, err);
	return r < 0 ? r : hand_over(below, &below->batch, err);
}

static int list_below(void *context, struct crew *crew, struct error *err)
{
	struct below *below = context;
	struct error cause = ERROR_NONE;
	int r;

	below->crew = crew;
	r = object_list_all(below->work->client, below->prefix, add_below, below, &cause);
	if (r == -ECANCELED || r == -ENOMEM) {
		*err = cause;
		return r;
	}
	/* What was listed before is deleted all the same. */
	if (r < 0 && r != -ENOENT)
		note_failure(below->work, below->i, &cause);
	else
		below->work->streak = 0;
	return hand_over(below, &below->batch, err);
}

static int delete_below(void *context, void *item, struct error *err)
{
	const struct below *below = context;

	return flush(below->work, item, err);
}

static int remove_below(struct work *work, size_t i, struct error *err)
{
	const char *key = work->removal->keys[i];
	_cleanup_free_ char *prefix = object_list_prefix(key);
	struct below below = { .work = work, .prefix = prefix, .i = i };
	const struct crew_duties duties = {
		.find = list_below,
		.work = delete_below,
		.drop = drop_batch,
		.context = &below,
	};
	int r;

	/* As many in all as keys are worked on. */
	below.width = work->removal->count == 1 ? OBJECT_REMOVE_WIDTH : 4;
	if (!prefix)
		return error_set(err, -ENOMEM, "out of memory");
	if (*prefix == '\0' || strcmp(prefix, "/") == 0)
		return error_set(err, -EINVAL, "delete %s/%s: that is the whole bucket",
				 work->client->bucket, key);
	r = crew_run(work->client->context.loop, BELOW_WIDTH, &duties, err);
	drop_batch(below.batch);
	return r;
}

/* One more object of those that go together. */
static int add_object(struct work *work, size_t i, bool *ret_is_full, struct error *err)
{
	work->streak = 0;
	return keep(work, &work->together, OBJECT_REMOVE_WIDTH, work->removal->keys[i], i,
		    ret_is_full, err);
}

static int remove_key(struct work *work, size_t i, struct error *err)
{
	const char *key = work->removal->keys[i];
	enum there there = IS_MISSING;
	bool is_full = false;
	int r = check_key(work->client, key, err);

	if (r == 0 && work->places[i] != OBJECT_SEEN_BELOW && !text_has_suffix(key, "/"))
		r = look(work->client, key, &there, err);
	if (r < 0)
		return r;
	if (there == IS_MISSING)
		return remove_below(work, i, err);
	r = add_object(work, i, &is_full, err);
	return r == 0 && is_full ? flush(work, TAKE_PTR(work->together), err) : r;
}

static int process(struct work *work, size_t i, struct error *err)
{
	struct error cause = ERROR_NONE;
	int r = 0;

	work->items[i].pending = 1;
	if (work->outage.code < 0)
		note_failure(work, i, &work->outage);
	else
		r = remove_key(work, i, &cause);
	if (r == -ECANCELED || r == -ENOMEM) {
		*err = cause;
		return r;
	}
	if (r < 0)
		note_failure(work, i, &cause);
	finish(work, i);
	return 0;
}

/* --- All of them ------------------------------------------------------------------------------- */

/* What one job finds for the others: a batch to be sent, or a key to be looked at. */
struct duty {
	struct object_batch *batch; /* NULL = the key */
	size_t i;
};

static int put_duty(struct work *work, struct object_batch *batch, size_t i, struct error *err)
{
	struct duty *duty = malloc(sizeof(*duty));
	int r;

	if (!duty) {
		drop_batch(batch);
		return error_set(err, -ENOMEM, "out of memory");
	}
	*duty = (struct duty){ .batch = batch, .i = i };
	r = crew_put(work->crew, duty, err);
	if (r < 0) {
		drop_batch(batch);
		free(duty);
	}
	return r;
}

static void drop_duty(void *item)
{
	struct duty *duty = item;

	drop_batch(duty->batch);
	free(duty);
}

static int do_duty(void *context, void *item, struct error *err)
{
	struct duty duty = *(struct duty *)item;

	free(item);
	return duty.batch ? flush(context, duty.batch, err) : process(context, duty.i, err);
}

static int on_seen(void *context, size_t i, struct error *err)
{
	struct work *work = context;
	const char *key = work->removal->keys[i];
	bool is_full = false;
	int r;

	/* The mark of a directory is only a part of it. */
	if (text_has_suffix(key, "/") || check_key(work->client, key, NULL) < 0) {
		work->places[i] = OBJECT_SEEN_BELOW;
		return 0;
	}
	r = add_object(work, i, &is_full, err);
	return r == 0 && is_full ? put_duty(work, TAKE_PTR(work->together), 0, err) : r;
}

static int find_duties(void *context, struct crew *crew, struct error *err)
{
	struct work *work = context;
	const struct store_removal *removal = work->removal;
	const struct object_survey survey = {
		.keys = removal->keys,
		.count = removal->count,
		.places = work->places,
		.seen = on_seen,
		.context = work,
	};
	int r = 0;

	work->crew = crew;
	if (removal->count >= OBJECT_REMOVE_SURVEY_MIN)
		r = object_survey(work->client, &survey, err);
	if (r == 0 && work->together)
		r = put_duty(work, TAKE_PTR(work->together), 0, err);
	for (size_t i = 0; i < removal->count && r == 0; i++)
		if (work->places[i] != OBJECT_SEEN)
			r = put_duty(work, NULL, i, err);
	return r;
}

/* None could be asked for: each has that failure. */
static void fail_all(const struct store_removal *removal, const struct error *cause)
{
	for (size_t i = 0; i < removal->count; i++)
		removal->done(removal->context, i, false, cause);
}

int object_remove_all(struct object_client *client, const struct store_removal *removal,
		      struct error *err)
{
	_cleanup_free_ struct item *items = calloc(removal->count, sizeof(*items));
	_cleanup_free_ uint8_t *places = calloc(removal->count, sizeof(*places));
	struct work work = {
		.client = client, .removal = removal, .items = items, .places = places
	};
	const struct crew_duties duties = {
		.find = find_duties,
		.work = do_duty,
		.drop = drop_duty,
		.context = &work,
	};
	struct error cause = ERROR_NONE;
	int r;

	if (!items || !places)
		return error_set(err, -ENOMEM, "out of memory");
	r = object_client_make_ready(client, false, &cause);
	if (r < 0 && r != -ECANCELED && r != -ENOMEM) {
		fail_all(removal, &cause);
		return 0;
	}
	if (r == 0)
		r = crew_run(client->context.loop, OBJECT_REMOVE_WIDTH, &duties, &cause);
	if (r == 0)
		r = flush(&work, TAKE_PTR(work.together), &cause);
	drop_batch(work.together);
	for (size_t i = 0; i < removal->count; i++)
		free(items[i].failure);
	if (r < 0 && err)
		*err = cause;
	return r;
}

static void keep_failure(void *context, size_t i, bool was_there, const struct error *err)
{
	(void)i;
	(void)was_there;
	if (err)
		*(struct error *)context = *err;
}

int object_remove(struct object_client *client, const char *key, struct error *err)
{
	struct error failure = ERROR_NONE;
	const struct store_removal removal = {
		.keys = &key,
		.count = 1,
		.done = keep_failure,
		.context = &failure,
	};
	int r = object_remove_all(client, &removal, err);

	if (r < 0 || failure.code == 0)
		return r;
	if (err)
		*err = failure;
	return failure.code;
}
