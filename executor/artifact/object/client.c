#include "executor/artifact/object/client.h"

#include "executor/artifact/budget.h"
#include "executor/artifact/cache.h"
#include "executor/artifact/object/crc64.h"
#include "executor/artifact/object/sums.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

/* What a date in an answer must differ from ours to be the cause of a refused signature: servers
 * accept 15 minutes; less than this is the age of the answer itself. */
#define CLOCK_TOLERANCE_S 60

int object_client_init(struct object_client *client, const struct object_protocol *protocol,
		       const struct store_context *context, struct error *err)
{
	int r;

	*client = (struct object_client){ .protocol = protocol,
					  .context = *context,
					  .is_free = true };
	r = retry_policy_from_environment(&client->policy, err);
	if (r == 0)
		r = transient_pattern_from_environment(&client->transient, err);
	client->policy.transient = client->transient;
	client->policy.store = protocol->type;
	client->policy.tells_class = true;
	client->policy.on_retry = context->observer.retried;
	client->policy.context = context->observer.context;
	if (r == 0 && !context->cache) {
		client->context.cache = client->own_cache = store_cache_new();
		r = client->own_cache ? 0 : error_set(err, -ENOMEM, "out of memory");
	}
	if (r < 0 || !protocol->checksum_header)
		return r;
	client->crc = malloc(sizeof(*client->crc));
	if (!client->crc)
		return error_set(err, -ENOMEM, "out of memory");
	crc64_table_init(client->crc);
	return 0;
}

void object_client_done(struct object_client *client)
{
	transient_pattern_free(client->transient);
	free(client->crc);
	store_cache_free(client->own_cache);
	client->transient = NULL;
	client->crc = NULL;
	client->own_cache = NULL;
}

static int make_ready(struct object_client *client, bool for_put, struct error *err)
{
	int r = 0;

	if (for_put && !client->is_put_ready) {
		r = client->protocol->prepare_put(client, err);
		client->is_put_ready = r == 0;
	}
	return r < 0 ? r : client->protocol->make_ready(client, err);
}

int object_client_make_ready(struct object_client *client, bool for_put, struct error *err)
{
	int r = 0;

	while (r == 0 && !client->is_free)
		r = event_loop_wait(client->context.loop, &client->is_free);
	if (r == -ECANCELED)
		return event_loop_cancelled_error(err);
	if (r < 0)
		return error_errno(err, r, "wait for the store");
	client->is_free = false;
	r = make_ready(client, for_put, err);
	client->is_free = true;
	return r;
}

const char *object_describe(const struct object_client *client, const struct object_call *call,
			    char buffer[OBJECT_OPERATION_MAX])
{
	snprintf(buffer, OBJECT_OPERATION_MAX, "%s %s%s%s", call->operation, client->bucket,
		 call->key ? "/" : "", call->key ? call->key : "");
	return buffer;
}

/* --- Judging an answer ------------------------------------------------------------------------ */

bool object_date_of(const struct http_response *response, const char *name, int64_t *ret_s)
{
	char header[64];
	const char *date = http_response_header(response, name, header, sizeof(header));
	const char *end = NULL;
	struct tm tm = { 0 };

	if (date)
		end = strptime(date, "%a, %d %b %Y %H:%M:%S GMT", &tm);
	if (!end || *end)
		return false;
	*ret_s = (int64_t)timegm(&tm);
	return true;
}

bool object_follow_clock(int64_t *offset_s, const struct http_response *response)
{
	int64_t date, offset, change;

	if (!object_date_of(response, "date", &date))
		return false;
	offset = date - (int64_t)time(NULL);
	change = offset - *offset_s;
	if (change > -CLOCK_TOLERANCE_S && change < CLOCK_TOLERANCE_S)
		return false;
	*offset_s = offset;
	return true;
}

bool object_correct_clock(struct object_client *client, const struct http_response *response)
{
	return object_follow_clock(&client->clock_offset_s, response);
}

bool object_is_corrected(bool is_changed, const struct retry *retry, enum error_class class)
{
	return is_changed || (retry && retry->count[class] == 0);
}

/* What the record of the failure tells, and the pause that the server asks for. */
static void note_failure(const struct http_response *response, const struct object_failure *failure,
			 struct retry *retry)
{
	static const char *const ids[] = { "x-amz-request-id", "x-oss-request-id" };
	char id[RETRY_REQUEST_ID_MAX];

	if (!retry)
		return;
	retry->retry_after_ms = retry_after_of(response);
	snprintf(retry->code, sizeof(retry->code), "%s", failure->error.code);
	snprintf(retry->request_id, sizeof(retry->request_id), "%s", failure->error.request_id);
	for (size_t i = 0; i < sizeof(ids) / sizeof(ids[0]) && !*retry->request_id; i++)
		if (http_response_header(response, ids[i], id, sizeof(id)))
			snprintf(retry->request_id, sizeof(retry->request_id), "%s", id);
}

static int fail(struct object_client *client, const struct object_call *call,
		const struct http_response *response, struct retry *retry,
		struct object_failure *failure, struct error *err)
{
	const struct object_protocol *protocol = client->protocol;
	enum error_class class = protocol->judge(client, call, response, retry, failure);
	const char *code = failure->error.code;
	const char *message = failure->error.message;
	char description[OBJECT_OPERATION_MAX];

	note_failure(response, failure, retry);
	if (retry)
		protocol->put_as_go(response, failure, retry);
	if (class == ERROR_NOT_FOUND)
		return error_set_class(err, -ENOENT, class, "%s",
				       *message ? message : "The specified key does not exist.");
	error_set_class(err, failure->status == 403 ? -EACCES : -EIO, class,
			"%s: %s%s(%s%sstatus %d, %s)", object_describe(client, call, description),
			message, *message ? " " : "", code, *code ? ", " : "", failure->status,
			error_class_name(class));
	if (err && protocol->explain)
		protocol->explain(client, call, response, failure, err);
	if (err && retry && *retry->request_id && !strstr(err->message, retry->request_id))
		error_append(err, "; request id %s", retry->request_id);
	return err ? err->code : -EIO;
}

int object_check(struct object_client *client, const struct object_call *call,
		 const struct http_response *response, struct retry *retry,
		 struct object_failure *failure, struct error *err)
{
	char description[OBJECT_OPERATION_MAX];
	struct object_failure own;
	int r;

	if (!failure)
		failure = &own;
	*failure = (struct object_failure){ .status = response->status };
	if (response->status < 200 || response->status > 299) {
		if (!object_xml_parse_error(buffer_string(&response->body), response->body.size,
					    &failure->error) &&
		    client->protocol->read_failure)
			client->protocol->read_failure(response, &failure->error);
		return fail(client, call, response, retry, failure, err);
	}
	client->is_accepted = true;
	r = call->judge ? call->judge(call, response, failure, err) : 0;
	if (r < 0 && failure->error.code[0])
		return fail(client, call, response, retry, failure, err);
	return r < 0 ? error_prefix(err, r, "%s", object_describe(client, call, description)) : 0;
}

/* --- Sending ------------------------------------------------------------------------------------ */

void object_retry_begin(const struct object_client *client, const struct object_call *call,
			struct retry *retry)
{
	retry_begin(retry, &client->policy, client->context.loop, client->context.log,
		    call->operation);
	retry->bucket = client->bucket;
	retry->key = call->key;
}

static int attempt(struct object_client *client, const struct object_call *call,
		   struct http_response *response, struct retry *retry, struct error *err)
{
	struct object_request request = { 0 };
	struct transfer_claim claim = { 0 };
	char description[OBJECT_OPERATION_MAX];
	int r = call->sums ? object_sums_of(client, &call->body, call->sums, err) : 0;

	request.http.retry = retry;
	if (r == 0)
		r = budget_wait(&claim, client->context.budget, client, 1, 0, client->context.loop,
				err);
	if (r == 0)
		r = client->protocol->prepare(client, call, &request, err);
	if (r == 0)
		r = http_perform(client->context.http, &request.http, response, err);
	budget_return(&claim);
	object_request_done(&request);
	return r < 0 ? error_prefix(err, r, "%s", object_describe(client, call, description)) : 0;
}

int object_perform(struct object_client *client, const struct object_call *call,
		   struct http_response *response, struct object_failure *failure,
		   struct error *err)
{
	struct object_failure own;
	struct retry retry;
	struct error last = ERROR_NONE;
	bool is_again;
	int r;

	if (!failure)
		failure = &own;
	object_retry_begin(client, call, &retry);
	do {
		*response = (struct http_response){ 0 };
		*failure = (struct object_failure){ 0 };
		r = attempt(client, call, response, &retry, &last);
		if (r == 0)
			r = object_check(client, call, response, &retry, failure, &last);
		failure->attempts = retry.attempts;
		if (r == 0)
			return 0;
		http_response_done(response);
		is_again = !call->is_best_effort && retry_again(&retry, &last);
		/* Waits for new keys; if there are none, that is what went wrong. */
		if (is_again && last.class == ERROR_EXPIRED_CREDENTIALS &&
		    client->protocol->wait_for_keys)
			is_again = client->protocol->wait_for_keys(client, &last) == 0;
	} while (is_again);
	failure->attempts = retry.attempts;
	*response = (struct http_response){ 0 };
	if (err)
		*err = last;
	return last.code;
}
