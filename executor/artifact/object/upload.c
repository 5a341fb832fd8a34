#include "executor/artifact/object/upload.h"

#include "executor/artifact/object/checksum.h"
#include "executor/artifact/object/crc64.h"
#include "executor/artifact/object/leftover.h"
#include "executor/artifact/object/sums.h"
#include "executor/base/cleanup.h"
#include "executor/base/text.h"
#include "executor/http/digest.h"

#include <errno.h>
#include <stdio.h>
#include <string.h>
#include <strings.h>
#include <time.h>

/* 10,000 parts with the longest ETags, escaped. */
#define COMPLETE_BYTES_MAX (4 * 1024 * 1024)

struct whole {
	struct object_client *client;
	char etag[OBJECT_ETAG_MAX];
};

/* The ETag of an answer without which nothing proves that the data is stored, and its checksum. */
static int judge_stored(const struct object_call *call, const struct http_response *response,
			struct object_failure *failure, struct error *err)
{
	struct whole *whole = call->context;

	(void)failure;
	if (!http_response_header(response, "etag", whole->etag, sizeof(whole->etag)) ||
	    whole->etag[0] == '\0')
		return error_set(err, -EPROTO, "the server confirmed no ETag");
	return object_checksum_check(whole->client, response, call->sums->crc, err);
}

static struct store_part part_of(uint64_t size, const struct object_sums *sums)
{
	struct store_part part = { .size = size };

	memcpy(part.sha256, sums->sha256, sizeof(part.sha256));
	return part;
}

static void tell_whole(struct whole *whole, const struct http_body *body,
		       const struct object_sums *sums)
{
	struct store_part part = part_of(body->size, sums);

	store_tell_stored(&whole->client->context, body->size);
	store_tell_object(&whole->client->context, whole->etag, body->size, &part, 1);
}

/* The ETag that Amazon and most others give it, unless they encrypt it with a key of somebody's. */
static bool expect_whole(const struct http_body *body, char etag[OBJECT_ETAG_MAX])
{
	uint8_t md5[DIGEST_MD5_BYTES];
	char hex[2 * DIGEST_MD5_BYTES + 1];
	int r = body->data ?
			digest_of(DIGEST_MD5, body->data, (size_t)body->size, md5) :
			digest_of_file(DIGEST_MD5, body->fd, body->offset, body->size, md5, NULL);

	if (r == 0)
		snprintf(etag, OBJECT_ETAG_MAX, "\"%s\"", digest_hex(md5, sizeof(md5), hex));
	return r == 0;
}

/* Stored since a process before this one began with it. */
static bool is_recent(const struct object_client *client, const struct http_response *response)
{
	int64_t since_s =
		client->context.lost_from_s + client->clock_offset_s - OBJECT_CLOCK_DOUBT_S;
	int64_t modified_s;

	return object_date_of(response, "last-modified", &modified_s) && modified_s >= since_s;
}

/* What a process has sent before it died may have arrived, without anybody to be told: the kernel goes
 * on sending what it was given. Size, time and ETag recognise it; the sums are filled then. */
static bool is_whole_there(struct whole *whole, const char *key, const struct http_body *body,
			   struct object_sums *sums)
{
	struct object_client *client = whole->client;
	const struct object_call call = {
		.operation = "look at", .method = "HEAD", .key = key, .is_best_effort = true
	};
	char expected[OBJECT_ETAG_MAX];
	struct http_response response;
	bool is_there;
	int r;

	if (client->context.lost_from_s == 0 || client->is_blind || body->size == 0)
		return false;
	r = object_perform(client, &call, &response, NULL, NULL);
	client->is_blind = r < 0 && r != -ENOENT;
	is_there = r == 0 && response.content_length == (int64_t)body->size &&
		   is_recent(client, &response) &&
		   http_response_header(&response, "etag", whole->etag, sizeof(whole->etag)) &&
		   expect_whole(body, expected) && strcasecmp(whole->etag, expected) == 0;
	http_response_done(&response);
	return is_there && object_sums_of(client, body, sums, NULL) == 0;
}

int object_put_object(struct object_client *client, const char *key, const char *content_type,
		      const struct http_body *body, struct error *err)
{
	struct whole whole = { .client = client };
	struct object_sums sums;
	const struct object_call call = {
		.operation = "put object",
		.method = "PUT",
		.key = key,
		.body = *body,
		.sums = &sums,
		.is_object = true,
		.content_type = content_type,
		.judge = judge_stored,
		.context = &whole,
	};
	struct http_response response;
	int r = 0;

	if (!is_whole_there(&whole, key, body, &sums)) {
		r = object_perform(client, &call, &response, NULL, err);
		http_response_done(&response);
	}
	if (r == 0)
		tell_whole(&whole, body, &sums);
	return r;
}

/* --- Multipart: begin, complete, abort ------------------------------------------------------- */

static int judge_begin(const struct object_call *call, const struct http_response *response,
		       struct object_failure *failure, struct error *err)
{
	char **id = call->context;

	(void)failure;
	return object_xml_parse_upload(buffer_string(&response->body), response->body.size, id,
				       err);
}

int object_upload_begin(struct object_upload *upload, struct object_client *client, const char *key,
			const char *content_type, struct error *err)
{
	const struct object_query query[] = { { "uploads", "" }, { NULL, NULL } };
	const struct object_call call = {
		.operation = "begin upload of",
		.method = "POST",
		.key = key,
		.query = query,
		.content_type = content_type,
		.judge = judge_begin,
		.context = &upload->id,
	};
	struct object_failure failure = { 0 };
	int64_t begun_s = time(NULL);
	struct http_response response;
	int r;

	*upload = (struct object_upload){ .client = client, .key = key };
	r = object_perform(client, &call, &response, &failure, err);
	http_response_done(&response);
	if (client->context.lost_from_s)
		begun_s = client->context.lost_from_s;
	if (failure.attempts > 0 || client->context.lost_from_s) {
		upload->doubtful_from_s = begun_s + client->clock_offset_s - OBJECT_CLOCK_DOUBT_S;
		upload->doubtful_to_s = time(NULL) + client->clock_offset_s + OBJECT_CLOCK_DOUBT_S;
	}
	return r;
}

static int build_complete(const struct object_upload *upload, struct buffer *out)
{
	const char *namespace = upload->client->protocol->xml_namespace;
	int r = buffer_append_string(out, "<CompleteMultipartUpload");

	if (r == 0 && namespace)
		r = buffer_append_format(out, " xmlns=\"%s\"", namespace);
	if (r == 0)
		r = buffer_append_string(out, ">");
	for (unsigned i = 0; i < upload->count && r == 0; i++) {
		r = buffer_append_format(out, "<Part><PartNumber>%u</PartNumber><ETag>", i + 1);
		if (r == 0)
			r = object_xml_escape(out, upload->parts[i].etag);
		if (r == 0)
			r = buffer_append_string(out, "</ETag></Part>");
	}
	return r < 0 ? r : buffer_append_string(out, "</CompleteMultipartUpload>");
}

/* What the parts are, one behind the other. */
static uint64_t checksum_of(const struct object_upload *upload)
{
	uint64_t crc = 0;

	for (unsigned i = 0; i < upload->count; i++)
		crc = crc64_combine(crc, upload->parts[i].sums.crc, upload->parts[i].size);
	return crc;
}

/* The status line was sent before the parts were put together: a 200 may carry an Error. */
static int judge_complete(const struct object_call *call, const struct http_response *response,
			  struct object_failure *failure, struct error *err)
{
	const char *data = buffer_string(&response->body);
	struct object_upload *upload = call->context;
	int r;

	if (object_xml_parse_error(data, response->body.size, &failure->error))
		return -EIO;
	r = object_xml_parse_complete(data, response->body.size, upload->etag, err);
	if (r == 0)
		r = object_checksum_check(upload->client, response, checksum_of(upload), err);
	/* Every part was right, and the upload does not exist any more: asking again cures nothing. */
	if (r == -EBADMSG && err)
		err->class = ERROR_PERMANENT;
	return r;
}

/* What Amazon and most others make of the parts' MD5 ETags; false where these are something else. */
static bool expect_etag(const struct object_upload *upload, char etag[OBJECT_ETAG_MAX])
{
	_cleanup_(digest_freep) struct digest *digest = digest_new(DIGEST_MD5);
	uint8_t md5[DIGEST_MD5_BYTES];
	char hex[2 * DIGEST_MD5_BYTES + 1];
	int r = digest ? 0 : -ENOMEM;

	for (unsigned i = 0; i < upload->count && r == 0; i++) {
		const char *part = upload->parts[i].etag;

		if (strlen(part) != 2 * DIGEST_MD5_BYTES + 2 || *part != '"')
			return false;
		for (size_t j = 0; j < DIGEST_MD5_BYTES; j++) {
			const char pair[] = { part[1 + 2 * j], part[2 + 2 * j], '\0' };
			char *end;

			md5[j] = (uint8_t)strtoul(pair, &end, 16);
			if (end != pair + 2)
				return false;
		}
		r = digest_update(digest, md5, sizeof(md5));
	}
	if (r == 0)
		r = digest_finish(digest, md5);
	snprintf(etag, OBJECT_ETAG_MAX, "\"%s-%u\"", digest_hex(md5, sizeof(md5), hex),
		 upload->count);
	return r == 0;
}

/* An answer may get lost after the server has done its work; it then knows the object, but not the
 * upload. Size, number of parts (Amazon's and others' ETags end with it) and checksum recognise ours;
 * where nobody knows of a lost answer, the ETag must be the one that these parts make. */
static bool is_object_there(struct object_upload *upload, bool is_answer_lost)
{
	const struct object_call call = {
		.operation = "look at",
		.method = "HEAD",
		.key = upload->key,
	};
	struct http_response response;
	char etag[OBJECT_ETAG_MAX], expected[OBJECT_ETAG_MAX], suffix[16];
	bool is_there, is_sure = is_answer_lost || upload->client->crc;
	int r = object_perform(upload->client, &call, &response, NULL, NULL);

	snprintf(suffix, sizeof(suffix), "-%u\"", upload->count);
	is_there = r == 0 && response.content_length == (int64_t)upload->bytes &&
		   http_response_header(&response, "etag", etag, sizeof(etag)) &&
		   text_has_suffix(etag, suffix) &&
		   object_checksum_check(upload->client, &response, checksum_of(upload), NULL) == 0;
	http_response_done(&response);
	if (is_there && !is_sure)
		is_there = expect_etag(upload, expected) && strcmp(etag, expected) == 0;
	if (is_there)
		memcpy(upload->etag, etag, sizeof(etag));
	return is_there;
}

static void tell_object(struct object_upload *upload)
{
	_cleanup_free_ struct store_part *parts = calloc(upload->count, sizeof(*parts));

	for (unsigned i = 0; parts && i < upload->count; i++)
		parts[i] = part_of(upload->parts[i].size, &upload->parts[i].sums);
	store_tell_object(&upload->client->context, upload->etag, upload->bytes, parts,
			  parts ? upload->count : 0);
	free(TAKE_PTR(upload->id));
}

void object_upload_drop(struct object_upload *upload, unsigned number)
{
	for (unsigned i = number; i <= upload->count; i++) {
		upload->bytes -= upload->parts[i - 1].size;
		upload->parts[i - 1] = (struct object_stored){ 0 };
	}
	if (number <= upload->count)
		upload->count = number - 1;
}

bool object_upload_is_beyond_few(unsigned number, const char *code)
{
	return number > OBJECT_PARTS_FEW &&
	       (strcmp(code, "InvalidArgument") == 0 || strcmp(code, "InvalidPart") == 0);
}

int object_upload_complete(struct object_upload *upload, bool *ret_is_gone, struct error *err)
{
	const struct object_query query[] = { { "uploadId", upload->id }, { NULL, NULL } };
	_cleanup_buffer_ struct buffer body = BUFFER_INIT(COMPLETE_BYTES_MAX);
	struct object_call call = {
		.operation = "complete upload of",
		.method = "POST",
		.key = upload->key,
		.query = query,
		.content_type = "application/xml",
		.judge = judge_complete,
		.context = upload,
	};
	struct http_response response;
	struct object_failure failure;
	const char *code = failure.error.code;
	int r;

	*ret_is_gone = false;
	if (build_complete(upload, &body) < 0)
		return error_set(err, -ENOMEM, "out of memory");
	call.body = (struct http_body){ .data = body.data, .size = body.size };
	r = object_perform(upload->client, &call, &response, &failure, err);
	http_response_done(&response);
	/* Also after a single attempt: libcurl itself repeats a request whose connection was old. */
	if (r < 0 && strcmp(code, "NoSuchUpload") == 0 &&
	    is_object_there(upload, failure.attempts > 1))
		r = 0;
	if (r < 0)
		*ret_is_gone = strcmp(code, "NoSuchUpload") == 0 ||
			       strcmp(code, "InvalidPart") == 0 ||
			       object_upload_is_beyond_few(upload->count, code);
	else
		tell_object(upload);
	return r;
}

struct abort {
	struct event_timer timer;
	bool is_done;
};

static void on_abort_timeout(struct event_timer *timer)
{
	((struct abort *)timer)->is_done = true;
}

static void on_abort_answer(struct http_transfer *transfer, const struct http_response *response,
			    const struct error *error, void *context)
{
	(void)transfer;
	(void)response;
	(void)error;
	((struct abort *)context)->is_done = true;
}

/* Best effort: parts that stay cost their owner money until a lifecycle rule removes them, but a
 * pod that is being terminated has little time. */
static void abort_upload(struct object_upload *upload)
{
	const struct object_query query[] = { { "uploadId", upload->id }, { NULL, NULL } };
	const struct object_call call = {
		.operation = "abort upload of",
		.method = "DELETE",
		.key = upload->key,
		.query = query,
	};
	struct store_context *context = &upload->client->context;
	struct object_request request;
	struct http_transfer *transfer = NULL;
	struct abort abort = { .is_done = false };

	if (event_timer_init(&abort.timer, context->loop, on_abort_timeout) < 0)
		return;
	if (upload->client->protocol->prepare(upload->client, &call, &request, NULL) == 0)
		transfer = http_start(context->http, &request.http, on_abort_answer, &abort, NULL);
	if (transfer) {
		event_timer_set(&abort.timer, OBJECT_ABORT_MS);
		event_loop_wait_uncancelled(context->loop, &abort.is_done);
	}
	http_transfer_free(transfer);
	object_request_done(&request);
	event_timer_done(&abort.timer);
}

void object_upload_done(struct object_upload *upload)
{
	object_leftover_abort(upload);
	if (upload->id)
		abort_upload(upload);
	free(upload->id);
	free(upload->parts);
	*upload = (struct object_upload){ 0 };
}
