#include "executor/artifact/object/remove.h"

#include "executor/artifact/object/list.h"
#include "executor/base/cleanup.h"
#include "executor/base/text.h"

#include <errno.h>
#include <stdio.h>
#include <string.h>

/* As many as a request may name (API references, DeleteObjects and DeleteMultipleObjects), with keys of
 * 1024 bytes, each of them five when escaped, and what stands around them. */
#define BATCH_MAX 1000
#define BATCH_BYTES_MAX (BATCH_MAX * (5 * OBJECT_KEY_BYTES_MAX + 64))
#define ANSWER_BYTES_MAX (2 * 1024 * 1024)

static int remove_one(struct object_client *client, const char *key, struct error *err)
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

/* --- Many at once -------------------------------------------------------------------------------- */

struct batch {
	struct object_client *client;
	const char *prefix;
	struct buffer body;
	unsigned count;
};

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

/* Each one for itself: a refusal is retried and reported as any other. */
static int remove_named(struct batch *batch, const struct object_xml_list *refused,
			struct error *err)
{
	int r = 0;

	for (size_t i = 0; i < refused->count && r == 0; i++) {
		if (!text_has_prefix(refused->entries[i].key, batch->prefix))
			return error_set(err, -EBADMSG,
					 "the server names a key '%s' that was not "
					 "to be deleted",
					 refused->entries[i].key);
		r = remove_one(batch->client, refused->entries[i].key, err);
	}
	return r;
}

static bool is_batch_unknown(const struct object_failure *failure)
{
	static const char *const codes[] = { "NotImplemented", "MethodNotAllowed", "MalformedXML",
					     "InvalidRequest" };

	for (size_t i = 0; i < sizeof(codes) / sizeof(codes[0]); i++)
		if (strcmp(failure->error.code, codes[i]) == 0)
			return true;
	return failure->status == 405 || failure->status == 501;
}

static int collect_key(void *context, const char *relative, int64_t size, struct error *err);

static int send_batch(struct batch *batch, struct error *err)
{
	_cleanup_(object_xml_list_done) struct object_xml_list refused = { 0 };
	const struct object_query query[] = { { "delete", "" }, { NULL, NULL } };
	struct object_call call = {
		.operation = "delete objects of",
		.method = "POST",
		.query = query,
		.content_type = "application/xml",
		.want_md5 = true,
		.body_max = ANSWER_BYTES_MAX,
		.judge = judge_batch,
		.context = &refused,
	};
	struct object_failure failure;
	struct http_response response;
	int r;

	if (batch->count == 0)
		return 0;
	r = buffer_append_string(&batch->body, "</Delete>");
	if (r < 0)
		return error_errno(err, r, "name the objects to delete");
	call.body = (struct http_body){ .data = batch->body.data, .size = batch->body.size };
	r = object_perform(batch->client, &call, &response, &failure, err);
	http_response_done(&response);
	buffer_reset(&batch->body);
	batch->count = 0;
	if (r < 0 && is_batch_unknown(&failure)) {
		/* What was named is still listed. */
		batch->client->is_batch_refused = true;
		r = object_list_all(batch->client, batch->prefix, collect_key, batch, err);
		return r == -ENOENT ? 0 : r;
	}
	return r < 0 ? r : remove_named(batch, &refused, err);
}

static int append_key(struct batch *batch, const char *key)
{
	struct buffer *body = &batch->body;
	int r = 0;

	if (batch->count == 0) {
		const char *namespace = batch->client->protocol->xml_namespace;

		r = buffer_append_format(body, "<Delete%s%s%s><Quiet>true</Quiet>",
					 namespace ? " xmlns=\"" : "", namespace ? namespace : "",
					 namespace ? "\"" : "");
	}
	if (r == 0)
		r = buffer_append_string(body, "<Object><Key>");
	if (r == 0)
		r = object_xml_escape(body, key);
	if (r == 0)
		r = buffer_append_string(body, "</Key></Object>");
	batch->count++;
	return r;
}

static int collect_key(void *context, const char *relative, int64_t size, struct error *err)
{
	struct batch *batch = context;
	struct object_client *client = batch->client;
	_cleanup_free_ char *key = NULL;
	int r;

	(void)size;
	if (asprintf(&key, "%s%s", batch->prefix, relative) < 0)
		return error_set(err, -ENOMEM, "out of memory");
	if (!client->protocol->has_batch || client->is_batch_refused || !is_text(key))
		return remove_one(client, key, err);
	r = append_key(batch, key);
	if (r < 0)
		return error_errno(err, r, "name the objects to delete");
	return batch->count == BATCH_MAX ? send_batch(batch, err) : 0;
}

static int remove_below(struct object_client *client, const char *prefix, struct error *err)
{
	struct batch batch = { .client = client,
			       .prefix = prefix,
			       .body = BUFFER_INIT(BATCH_BYTES_MAX) };
	int r = object_list_all(client, prefix, collect_key, &batch, err);

	if (r == 0)
		r = send_batch(&batch, err);
	buffer_done(&batch.body);
	return r == -ENOENT ? 0 : r;
}

/* --- One artifact -------------------------------------------------------------------------------- */

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

int object_remove(struct object_client *client, const char *key, struct error *err)
{
	_cleanup_free_ char *prefix = NULL;
	enum there there = IS_MISSING;
	int r = object_client_make_ready(client, false, err);

	if (r == 0 && !text_has_suffix(key, "/"))
		r = look(client, key, &there, err);
	if (r < 0)
		return r;
	if (there != IS_MISSING)
		return remove_one(client, key, err);
	prefix = object_list_prefix(key);
	if (!prefix)
		return error_set(err, -ENOMEM, "out of memory");
	/* The clean key may be the whole bucket ("a/.."), which nobody means. */
	if (*prefix == '\0' || strcmp(prefix, "/") == 0)
		return error_set(err, -EINVAL, "delete %s/%s: that is the whole bucket",
				 client->bucket, key);
	return remove_below(client, prefix, err);
}
