#include "executor/artifact/object/chain.h"

#include "executor/base/cleanup.h"
#include "executor/base/clock.h"

#include <errno.h>
#include <inttypes.h>
#include <stddef.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

struct object_chain {
	struct event_loop *loop;
	struct http_client *http;
	const struct log *log;
	struct chain_source *source;
	struct object_keys keys;
	int64_t refreshed_ms; /* when object_chain_refresh began to; 0 = never */
	bool is_rejected; /* the server has refused the keys that are there */

	struct chain_request request;
	struct http_transfer *transfer;
	struct event_timer timeout, renewal;
	bool is_local; /* the last request was */
	bool is_done; /* no round is under way */
	struct error error; /* of the last round; code 0 = it brought keys */
};

static void drop_request(struct chain_request *request)
{
	if (request->body.data)
		explicit_bzero(request->body.data, request->body.size);
	buffer_done(&request->url);
	buffer_done(&request->body);
	object_request_done(&request->lines);
	*request = (struct chain_request){ .url = BUFFER_INIT(CHAIN_REQUEST_BYTES_MAX),
					   .body = BUFFER_INIT(CHAIN_REQUEST_BYTES_MAX) };
}

/* --- A round ------------------------------------------------------------------------------------ */

static void finish(struct object_chain *chain)
{
	event_timer_clear(&chain->timeout);
	drop_request(&chain->request);
	chain->is_done = true;
	if (chain->error.code != 0 && chain->keys.access_key)
		event_timer_set(&chain->renewal, CHAIN_RENEW_PAUSE_MS);
}

static void take_keys(struct object_chain *chain, struct object_keys *keys)
{
	int64_t left_s = keys->expires_s - (int64_t)time(NULL);
	int64_t pause_ms =
		1000 * (left_s / 5 < CHAIN_RENEW_S ? left_s - left_s / 5 : left_s - CHAIN_RENEW_S);

	object_keys_done(&chain->keys);
	chain->keys = *keys;
	chain->is_rejected = false;
	chain->error = ERROR_NONE;
	if (keys->expires_s == 0)
		event_timer_clear(&chain->renewal);
	else
		event_timer_set(&chain->renewal,
				pause_ms > CHAIN_RENEW_PAUSE_MS ? pause_ms : CHAIN_RENEW_PAUSE_MS);
}

static void ask(struct object_chain *chain);

static void proceed(struct object_chain *chain, int next, struct object_keys *keys)
{
	if (next == CHAIN_ASK) {
		ask(chain);
		return;
	}
	if (next == CHAIN_DONE)
		take_keys(chain, keys);
	finish(chain);
}

/* An answer, or (response NULL) none. */
static void go_on(struct object_chain *chain, const struct http_response *response,
		  const struct error *failure)
{
	struct object_keys keys = { 0 };
	int next;

	event_timer_clear(&chain->timeout);
	drop_request(&chain->request);
	chain->error = ERROR_NONE;
	next = chain->source->next(chain->source, response, failure, &chain->request, &keys,
				   &chain->error);
	proceed(chain, next, &keys);
}

static void on_answer(struct http_transfer *transfer, const struct http_response *response,
		      const struct error *error, void *context)
{
	struct object_chain *chain = context;

	chain->transfer = NULL;
	go_on(chain, error->code == 0 ? response : NULL, error->code == 0 ? NULL : error);
	if (response && response->body.data)
		explicit_bzero(response->body.data, response->body.size);
	http_transfer_free(transfer);
}

static void on_timeout(struct event_timer *timer)
{
	struct object_chain *chain =
		(struct object_chain *)((char *)timer - offsetof(struct object_chain, timeout));
	int64_t timeout_ms = chain->request.timeout_ms;
	struct error err = ERROR_NONE;

	http_transfer_free(TAKE_PTR(chain->transfer));
	error_set_class(&err, -ETIMEDOUT, ERROR_TRANSIENT, "no answer within %" PRIi64 " ms",
			timeout_ms);
	go_on(chain, NULL, &err);
}

static void ask(struct object_chain *chain)
{
	struct chain_request *request = &chain->request;
	const struct http_request http = {
		.method = request->method,
		.url = buffer_string(&request->url),
		.headers = (const char *const *)request->lines.lines,
		.body = { .data = strcmp(request->method, "GET") == 0 ?
					  NULL :
					  buffer_string(&request->body),
			  .size = request->body.size },
		/* Link-local: a proxy would ask on behalf of another machine. */
		.proxy = request->is_local ? "" : NULL,
	};

	chain->is_local = request->is_local;
	chain->transfer = http_start(chain->http, &http, on_answer, chain, &chain->error);
	if (!chain->transfer)
		finish(chain);
	else if (request->timeout_ms > 0)
		event_timer_set(&chain->timeout, request->timeout_ms);
}

static void begin(struct object_chain *chain)
{
	struct object_keys keys = { 0 };
	int next;

	if (!chain->is_done)
		return;
	chain->is_done = false;
	chain->is_local = false;
	chain->error = ERROR_NONE;
	drop_request(&chain->request);
	next = chain->source->begin(chain->source, &chain->request, &keys, &chain->error);
	proceed(chain, next, &keys);
}

static void on_renewal(struct event_timer *timer)
{
	begin((struct object_chain *)((char *)timer - offsetof(struct object_chain, renewal)));
}

/* --- The chain ----------------------------------------------------------------------------------- */

static bool is_current(const struct object_chain *chain)
{
	return chain->keys.access_key && !chain->is_rejected &&
	       (chain->keys.expires_s == 0 || (int64_t)time(NULL) < chain->keys.expires_s);
}

int object_chain_wait(struct object_chain *chain, const struct retry_policy *policy,
		      struct error *err)
{
	struct retry_policy wanted = *policy;
	struct error last = ERROR_NONE;
	struct retry retry;
	int r;

	if (is_current(chain))
		return 0;
	retry_begin(&retry, &wanted, chain->loop, chain->log, "get credentials");
	do {
		begin(chain);
		r = event_loop_wait(chain->loop, &chain->is_done);
		if (r == -ECANCELED)
			return event_loop_cancelled_error(err);
		if (r < 0)
			return error_errno(err, r, "wait for credentials");
		last = chain->error;
		/* A machine without the service is no outage. */
		wanted.min_total_ms = chain->is_local ? 0 : policy->min_total_ms;
		wanted.rounds = chain->is_local ? 2 : policy->rounds;
	} while (last.code != 0 && retry_again(&retry, &last));
	if (last.code != 0 && err)
		*err = last;
	return last.code;
}

const struct object_keys *object_chain_keys(const struct object_chain *chain)
{
	return &chain->keys;
}

bool object_chain_refresh(struct object_chain *chain)
{
	if (chain->keys.expires_s == 0)
		return false;
	/* Several requests that were under way complain. */
	if (chain->refreshed_ms != 0 && chain->error.code == 0 &&
	    clock_now_ms() - chain->refreshed_ms < CHAIN_RENEW_PAUSE_MS)
		return true;
	chain->refreshed_ms = clock_now_ms();
	chain->is_rejected = true;
	begin(chain);
	return true;
}

int object_chain_new(const struct store_context *context, struct chain_source *source,
		     struct object_chain **ret, struct error *err)
{
	struct object_chain *chain = calloc(1, sizeof(*chain));
	int r;

	if (!chain) {
		source->free(source);
		return error_set(err, -ENOMEM, "out of memory");
	}
	chain->loop = context->loop;
	chain->http = context->http;
	chain->log = context->log;
	chain->source = source;
	chain->is_done = true;
	r = event_timer_init(&chain->timeout, context->loop, on_timeout);
	if (r == 0)
		r = event_timer_init(&chain->renewal, context->loop, on_renewal);
	if (r < 0) {
		object_chain_free(chain);
		return error_errno(err, r, "set up credentials");
	}
	*ret = chain;
	return 0;
}

void object_chain_free(struct object_chain *chain)
{
	if (!chain)
		return;
	http_transfer_free(chain->transfer);
	event_timer_done(&chain->timeout);
	event_timer_done(&chain->renewal);
	drop_request(&chain->request);
	chain->source->free(chain->source);
	object_keys_done(&chain->keys);
	free(chain);
}

/* --- For sources ---------------------------------------------------------------------------------- */

int chain_take_name(const struct http_response *response, char to[CHAIN_NAME_MAX],
		    struct error *err)
{
	const char *text = buffer_string(&response->body);
	size_t size = strcspn(text, "\r\n");

	if (size == 0 || size >= CHAIN_NAME_MAX)
		return error_set(err, -EPROTO, "the answer is no name");
	for (size_t i = 0; i < size; i++)
		if (text[i] <= ' ' || text[i] >= 0x7f)
			return error_set(err, -EPROTO, "the answer is no name");
	memcpy(to, text, size);
	to[size] = '\0';
	return 0;
}

static int take_object(struct json_object *answer, const char *secret_field,
		       const char *token_field, struct object_keys *keys, struct error *err)
{
	const char *expiration = json_get_string(answer, "Expiration", "");
	int64_t expires_s = 0;
	int r;

	if (strcmp(json_get_string(answer, "Code", "Success"), "Success") != 0)
		return error_set(err, -EPROTO, "the answer has code %.64s",
				 json_get_string(answer, "Code", ""));
	if (*expiration && clock_parse_rfc3339(expiration, &expires_s) < 0)
		return error_set(err, -EPROTO, "the answer has no Expiration that can be read");
	r = object_keys_set(keys, json_get_string(answer, "AccessKeyId", ""),
			    json_get_string(answer, secret_field, ""),
			    json_get_string(answer, token_field, ""), err);
	keys->expires_s = expires_s;
	return r < 0 ? error_prefix(err, r, "the answer") : 0;
}

int chain_take_json(const struct http_response *response, const char *secret_field,
		    const char *token_field, struct object_keys *keys, struct error *err)
{
	_cleanup_json_ struct json_object *answer = NULL;
	struct json_object *inner;
	int r = json_parse(buffer_string(&response->body), response->body.size, "the answer",
			   &answer, err);

	if (r < 0)
		return r;
	/* STS of Alibaba Cloud wraps them. */
	inner = json_get(answer, "Credentials");
	return take_object(inner ? inner : answer, secret_field, token_field, keys, err);
}
