#include "executor/artifact/object/remove.h"

#include "executor/artifact/object/batch.h"
#include "executor/artifact/object/list.h"
#include "executor/artifact/object/survey.h"
#include "executor/base/cleanup.h"
#include "executor/base/text.h"
#include "executor/event/fibers.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

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
	struct object_batch together; /* of keys that are objects */
	size_t next;
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

/* --- One key ----------------------------------------------------------------------------------- */

struct below {
	struct work *work;
	struct object_batch batch;
	const char *prefix;
	size_t i;
};

static int add_below(void *context, const char *relative, int64_t size, struct error *err)
{
	struct below *below = context;
	struct item *item = &below->work->items[below->i];
	_cleanup_free_ char *key = NULL;

	(void)size;
	if (asprintf(&key, "%s%s", below->prefix, relative) < 0) {
		key = NULL;
		return error_set(err, -ENOMEM, "out of memory");
	}
	item->pending++;
	item->was_there = true;
	return object_batch_add(&below->batch, key, below->i, err);
}

static int remove_below(struct work *work, size_t i, struct error *err)
{
	const char *key = work->removal->keys[i];
	_cleanup_free_ char *prefix = object_list_prefix(key);
	struct below below = {
		.work = work,
		.batch = { .client = work->client, .done = on_deleted, .context = work },
		.prefix = prefix,
		.i = i,
	};
	int r;

	/* As many in all as keys are worked on. */
	below.batch.width = work->removal->count == 1 ? OBJECT_REMOVE_WIDTH : 4;
	if (!prefix)
		return error_set(err, -ENOMEM, "out of memory");
	if (*prefix == '\0' || strcmp(prefix, "/") == 0)
		return error_set(err, -EINVAL, "delete %s/%s: that is the whole bucket",
				 work->client->bucket, key);
	r = object_list_all(work->client, prefix, add_below, &below, err);
	if (r == 0)
		r = object_batch_flush(&below.batch, err);
	object_batch_done(&below.batch);
	if (r == 0 || r == -ENOENT)
		work->streak = 0;
	return r == -ENOENT ? 0 : r;
}

static int remove_key(struct work *work, size_t i, struct error *err)
{
	const char *key = work->removal->keys[i];
	enum there there = IS_MISSING;
	int r = check_key(work->client, key, err);

	if (r < 0)
		return r;
	if (text_has_suffix(key, "/"))
		there = IS_MISSING;
	else if (work->places[i] == OBJECT_SEEN)
		there = IS_THERE;
	else if (work->places[i] == OBJECT_UNKNOWN)
		r = look(work->client, key, &there, err);
	if (r < 0)
		return r;
	if (there == IS_MISSING)
		return remove_below(work, i, err);
	work->streak = 0;
	work->items[i].was_there = true;
	work->items[i].pending++;
	return object_batch_add(&work->together, key, i, err);
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

static int do_some(void *context, size_t unused, struct error *err)
{
	struct work *work = context;
	int r = 0;

	(void)unused;
	while (r == 0 && work->next < work->removal->count)
		r = process(work, work->next++, err);
	/* What is left waits for nobody else. */
	return r < 0 ? r : object_batch_flush(&work->together, err);
}

static int survey(struct work *work, struct error *err)
{
	const struct store_removal *removal = work->removal;

	if (removal->count < OBJECT_REMOVE_SURVEY_MIN)
		return 0;
	return object_survey(work->client, removal->keys, removal->count, work->places, err);
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
		.client = client,
		.removal = removal,
		.items = items,
		.places = places,
		.together = { .client = client,
			      .done = on_deleted,
			      .context = &work,
			      .width = OBJECT_REMOVE_WIDTH },
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
		r = survey(&work, &cause);
	if (r == 0)
		r = fibers_run(client->context.loop, OBJECT_REMOVE_WIDTH, OBJECT_REMOVE_WIDTH,
			       do_some, &work, &cause);
	object_batch_done(&work.together);
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
