#include "executor/artifact/object/batch.h"

#include "executor/base/cleanup.h"
#include "executor/base/text.h"
#include "executor/event/fibers.h"

#include <errno.h>
#include <string.h>

/* Each byte of a key is at most five when escaped, and elements stand around it. */
#define ELEMENT_BYTES 64
#define BODY_BYTES_MAX \
	(6 * OBJECT_BATCH_BYTES + OBJECT_BATCH_KEYS * ELEMENT_BYTES + 5 * OBJECT_KEY_BYTES_MAX)
#define ANSWER_BYTES_MAX (2 * 1024 * 1024)

int object_batch_delete(struct object_client *client, const char *key, struct error *err)
{
	const struct object_call call = {
		.operation = "delete object",
		.method = "DELETE",
		.key = key,
	};
	struct object_failure failure;
	struct http_response response;
	int r = object_perform(client, &call, &response, &failure, err);

	http_response_done(&response);
	/* Not every server finds that as good as done. */
	return r < 0 && (r == -ENOENT || strcmp(failure.error.code, "NoSuchKey") == 0) ? 0 : r;
}

void object_batch_done(struct object_batch *batch)
{
	for (size_t i = 0; i < batch->count; i++)
		free(batch->keys[i]);
	free(batch->keys);
	free(batch->owners);
	batch->keys = NULL;
	batch->owners = NULL;
	batch->count = batch->bytes = 0;
}

/* --- One by one ------------------------------------------------------------------------------- */

struct singles {
	struct object_batch *batch;
	const bool *wanted; /* NULL = all */
};

static int delete_single(void *context, size_t i, struct error *err)
{
	struct singles *singles = context;
	struct object_batch *batch = singles->batch;
	struct error cause = ERROR_NONE;
	int r;

	if (singles->wanted && !singles->wanted[i])
		return 0;
	r = object_batch_delete(batch->client, batch->keys[i], &cause);
	if (r == -ECANCELED) {
		*err = cause;
		return r;
	}
	batch->done(batch->context, batch->owners[i], r < 0 ? &cause : NULL);
	return 0;
}

static int delete_singly(struct object_batch *batch, const bool *wanted, struct error *err)
{
	struct singles singles = { .batch = batch, .wanted = wanted };

	return fibers_run(batch->client->context.loop, batch->count, batch->width, delete_single,
			  &singles, err);
}

/* --- Many at once ----------------------------------------------------------------------------- */

/* XML 1.0 can hold no other (section 2.2), and line ends do not survive in it. */
static bool is_text(const char *key)
{
	for (const char *p = key; *p;) {
		size_t size = text_utf8_length(p, strlen(p));

		if (size == 0 || (unsigned char)*p < ' ' || *p == 0x7f)
			return false;
		/* U+FFFE and U+FFFF */
		if (size == 3 && memcmp(p, "\xef\xbf", 2) == 0 && (unsigned char)p[2] >= 0xbe)
			return false;
		p += size;
	}
	return true;
}

static int judge_batch(const struct object_call *call, const struct http_response *response,
		       struct object_failure *failure, struct error *err)
{
	const char *data = buffer_string(&response->body);

	/* OSS says nothing if it is quiet and content. */
	if (response->body.size == 0)
		return 0;
	if (object_xml_parse_error(data, response->body.size, &failure->error))
		return -EIO;
	if (response->is_body_cut)
		return error_set(err, -EMSGSIZE, "the answer exceeds %d bytes", ANSWER_BYTES_MAX);
	return object_xml_parse_deleted(data, response->body.size, call->context, err);
}

static bool is_unknown_request(const struct object_failure *failure)
{
	static const char *const codes[] = { "NotImplemented", "MethodNotAllowed", "MalformedXML",
					     "InvalidRequest" };

	for (size_t i = 0; i < sizeof(codes) / sizeof(codes[0]); i++)
		if (strcmp(failure->error.code, codes[i]) == 0)
			return true;
	return failure->status == 405 || failure->status == 501;
}

static int append_keys(const struct object_batch *batch, struct buffer *body)
{
	const char *namespace = batch->client->protocol->xml_namespace;
	int r = buffer_append_format(body, "<Delete%s%s%s><Quiet>true</Quiet>",
				     namespace ? " xmlns=\"" : "", namespace ? namespace : "",
				     namespace ? "\"" : "");

	for (size_t i = 0; i < batch->count && r == 0; i++) {
		r = buffer_append_string(body, "<Object><Key>");
		if (r == 0)
			r = object_xml_escape(body, batch->keys[i]);
		if (r == 0)
			r = buffer_append_string(body, "</Key></Object>");
	}
	return r < 0 ? r : buffer_append_string(body, "</Delete>");
}

static int post(struct object_batch *batch, struct object_xml_list *refused,
		struct object_failure *failure, struct error *err)
{
	static const struct object_query query[] = { { "delete", "" }, { NULL, NULL } };
	_cleanup_buffer_ struct buffer body = BUFFER_INIT(BODY_BYTES_MAX);
	struct object_call call = {
		.operation = "delete objects of",
		.method = "POST",
		.query = query,
		.content_type = "application/xml",
		.want_md5 = true,
		.body_max = ANSWER_BYTES_MAX,
		.judge = judge_batch,
		.context = refused,
	};
	struct http_response response;
	int r = append_keys(batch, &body);

	*failure = (struct object_failure){ 0 };
	if (r < 0)
		return error_errno(err, r, "name the objects to delete");
	call.body = (struct http_body){ .data = body.data, .size = body.size };
	r = object_perform(batch->client, &call, &response, failure, err);
	http_response_done(&response);
	return r;
}

/* What was refused is asked for once more, each for itself: that is retried and reported as any other
 * request. */
static int settle(struct object_batch *batch, const struct object_xml_list *refused,
		  struct error *err)
{
	_cleanup_free_ bool *wanted = calloc(batch->count, sizeof(*wanted));
	struct error cause = ERROR_NONE;

	if (!wanted)
		return error_set(err, -ENOMEM, "out of memory");
	for (size_t i = 0; i < refused->count && cause.code == 0; i++) {
		bool is_ours = false;

		for (size_t j = 0; j < batch->count; j++)
			if (strcmp(refused->entries[i].key, batch->keys[j]) == 0)
				is_ours = wanted[j] = true;
		if (!is_ours)
			error_set(&cause, -EBADMSG,
				  "the server names a key '%s' that was not to be deleted",
				  refused->entries[i].key);
	}
	for (size_t i = 0; i < batch->count; i++)
		if (cause.code < 0 || !wanted[i])
			batch->done(batch->context, batch->owners[i],
				    cause.code < 0 ? &cause : NULL);
	return cause.code < 0 || refused->count == 0 ? 0 : delete_singly(batch, wanted, err);
}

static int send_together(struct object_batch *batch, struct error *err)
{
	_cleanup_(object_xml_list_done) struct object_xml_list refused = { 0 };
	struct object_failure failure;
	struct error cause = ERROR_NONE;
	int r = post(batch, &refused, &failure, &cause);

	if (r == 0)
		return settle(batch, &refused, err);
	if (r == -ECANCELED || r == -ENOMEM) {
		*err = cause;
		return r;
	}
	if (is_unknown_request(&failure))
		batch->client->is_batch_refused = true;
	/* The rights to the request and to each object are different things. */
	if (batch->client->is_batch_refused || failure.status == 403)
		return delete_singly(batch, NULL, err);
	for (size_t i = 0; i < batch->count; i++)
		batch->done(batch->context, batch->owners[i], &cause);
	return 0;
}

static bool is_together(const struct object_batch *batch)
{
	const struct object_client *client = batch->client;

	if (batch->count < 2 || !client->protocol->has_batch || client->is_batch_refused)
		return false;
	for (size_t i = 0; i < batch->count; i++)
		if (!is_text(batch->keys[i]))
			return false;
	return true;
}

int object_batch_flush(struct object_batch *batch, struct error *err)
{
	/* Others may go on adding while this is under way. */
	struct object_batch taken = *batch;
	int r;

	if (batch->count == 0)
		return 0;
	batch->keys = NULL;
	batch->owners = NULL;
	batch->count = batch->bytes = 0;
	r = is_together(&taken) ? send_together(&taken, err) : delete_singly(&taken, NULL, err);
	object_batch_done(&taken);
	return r;
}

/* One name that cannot be in a request shall not keep the others from it. */
static int delete_apart(const struct object_batch *batch, const char *key, size_t owner,
			struct error *err)
{
	/* Somebody else may send and free the batch meanwhile. */
	const struct object_batch copy = *batch;
	struct error cause = ERROR_NONE;
	int r = object_batch_delete(copy.client, key, &cause);

	if (r == -ECANCELED) {
		*err = cause;
		return r;
	}
	copy.done(copy.context, owner, r < 0 ? &cause : NULL);
	return 0;
}

static int make_room(struct object_batch *batch)
{
	if (!batch->keys)
		batch->keys = calloc(OBJECT_BATCH_KEYS, sizeof(*batch->keys));
	if (!batch->owners)
		batch->owners = calloc(OBJECT_BATCH_KEYS, sizeof(*batch->owners));
	return batch->keys && batch->owners ? 0 : -ENOMEM;
}

bool object_batch_is_full(const struct object_batch *batch)
{
	return batch->count >= OBJECT_BATCH_KEYS || batch->bytes >= OBJECT_BATCH_BYTES;
}

int object_batch_keep(struct object_batch *batch, const char *key, size_t owner, struct error *err)
{
	char *copy;

	if (batch->client->protocol->has_batch && !batch->client->is_batch_refused && !is_text(key))
		return delete_apart(batch, key, owner, err);
	copy = make_room(batch) == 0 ? strdup(key) : NULL;
	if (!copy)
		return error_set(err, -ENOMEM, "out of memory");
	batch->keys[batch->count] = copy;
	batch->owners[batch->count++] = owner;
	batch->bytes += strlen(key);
	return 0;
}

int object_batch_add(struct object_batch *batch, const char *key, size_t owner, struct error *err)
{
	int r = object_batch_keep(batch, key, owner, err);

	return r == 0 && object_batch_is_full(batch) ? object_batch_flush(batch, err) : r;
}
