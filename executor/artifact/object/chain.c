#include "executor/artifact/object/chain.h"

#include "executor/artifact/cache.h"
#include "executor/base/cleanup.h"
#include "executor/base/clock.h"
#include "executor/http/classify.h"

#include <errno.h>
#include <stddef.h>
#include <stdlib.h>
#include <string.h>
#include <sys/queue.h>
#include <time.h>

/* Somebody who waits for keys, on its own stack. */
struct waiter {
	TAILQ_ENTRY(waiter) link;
	const struct store_observer *observer;
};
TAILQ_HEAD(waiter_list, waiter);

struct object_chain {
	struct event_loop *loop;
	struct http_client *http;
	const struct log *log;
	struct chain_source *source;
	struct object_keys keys;
	int64_t refreshed_ms; /* when object_chain_refresh began to; 0 = never */
	bool is_rejected; /* the server has refused the keys that are there */

	struct retry_policy policy;
	struct retry_policy brief_policy; /* of a service of the machine that may not be there */
	struct transient_pattern *transient; /* the policies' */
	struct retry retry; /* of the rounds until keys come, or no more attempt is made */
	struct chain_request request;
	struct http_transfer *transfer;
	struct event_timer pause, renewal;
	struct waiter_list waiters;
	bool is_brief; /* brief_policy holds for the last request */
	bool has_answered; /* the service of the machine is there */
	bool is_done; /* no round is under way or about to be */
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
	int64_t pause_ms = -1;

	drop_request(&chain->request);
	if (chain->error.code != 0)
		pause_ms = retry_next(&chain->retry, &chain->error);
	if (pause_ms >= 0) {
		event_timer_set(&chain->pause, pause_ms);
		return;
	}
	chain->is_done = true;
	if (chain->error.code != 0 && chain->keys.access_key)
		event_timer_set(&chain->renewal, CHAIN_RENEW_PAUSE_MS);
}

static void take_keys(struct object_chain *chain, struct object_keys *keys)
{
	int64_t left_s = keys->expires_s - (int64_t)time(NULL), renew_s = chain->source->renew_s;
	int64_t pause_ms = 1000 * (left_s - (left_s < 2 * renew_s ? left_s / 5 : renew_s));

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

	drop_request(&chain->request);
	chain->error = ERROR_NONE;
	if (response)
		chain->retry.retry_after_ms = retry_after_of(response);
	next = chain->source->next(chain->source, response, failure, &chain->request, &keys,
				   &chain->error);
	proceed(chain, next, &keys);
}

static void on_answer(struct http_transfer *transfer, const struct http_response *response,
		      const struct error *error, void *context)
{
	struct object_chain *chain = context;

	chain->transfer = NULL;
	if (error->code == 0) {
		chain->has_answered |= chain->request.is_local;
		chain->is_brief = false;
	}
	go_on(chain, error->code == 0 ? response : NULL, error->code == 0 ? NULL : error);
	if (response && response->body.data)
		explicit_bzero(response->body.data, response->body.size);
	http_transfer_free(transfer);
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
		.timeout_ms = request->timeout_ms,
		.retry = &chain->retry,
	};

	chain->is_brief = request->is_local && !chain->has_answered;
	chain->retry.policy = chain->is_brief ? &chain->brief_policy : &chain->policy;
	chain->transfer = http_start(chain->http, &http, on_answer, chain, &chain->error);
	if (!chain->transfer)
		finish(chain);
}

static void start_round(struct object_chain *chain)
{
	struct object_keys keys = { 0 };
	int next;

	chain->error = ERROR_NONE;
	drop_request(&chain->request);
	chain->retry.policy = &chain->policy;
	next = chain->source->begin(chain->source, &chain->request, &keys, &chain->error);
	proceed(chain, next, &keys);
}

static void begin(struct object_chain *chain)
{
	if (!chain->is_done)
		return;
	chain->is_done = false;
	retry_begin(&chain->retry, &chain->policy, chain->loop, chain->log, "get credentials");
	start_round(chain);
}

static void on_pause(struct event_timer *timer)
{
	start_round((struct object_chain *)((char *)timer - offsetof(struct object_chain, pause)));
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

static void on_retry(void *context)
{
	const struct object_chain *chain = context;
	const struct waiter *waiter;

	TAILQ_FOREACH(waiter, &chain->waiters, link)
	if (waiter->observer->retried)
		waiter->observer->retried(waiter->observer->context);
}

int object_chain_wait(struct object_chain *chain, const struct store_observer *observer,
		      struct error *err)
{
	struct waiter waiter = { .observer = observer };
	int r;

	if (is_current(chain))
		return 0;
	TAILQ_INSERT_TAIL(&chain->waiters, &waiter, link);
	begin(chain);
	r = event_loop_wait(chain->loop, &chain->is_done);
	TAILQ_REMOVE(&chain->waiters, &waiter, link);
	if (r == -ECANCELED)
		return event_loop_cancelled_error(err);
	if (r < 0)
		return error_errno(err, r, "wait for credentials");
	if (chain->error.code != 0 && err)
		*err = chain->error;
	return chain->error.code;
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

static int set_policy(struct object_chain *chain, struct error *err)
{
	int r = retry_policy_from_environment(&chain->policy, err);

	if (r == 0)
		r = transient_pattern_from_environment(&chain->transient, err);
	if (r < 0)
		return r;
	chain->policy.transient = chain->transient;
	chain->policy.store = chain->source->store;
	chain->policy.on_retry = on_retry;
	chain->policy.context = chain;
	/* A machine without the service is no outage. */
	chain->brief_policy = chain->policy;
	chain->brief_policy.min_total_ms = 0;
	chain->brief_policy.rounds = 2;
	return 0;
}

static void chain_free(void *value)
{
	struct object_chain *chain = value;

	http_transfer_free(chain->transfer);
	event_timer_done(&chain->pause);
	event_timer_done(&chain->renewal);
	drop_request(&chain->request);
	chain->source->free(chain->source);
	transient_pattern_free(chain->transient);
	object_keys_done(&chain->keys);
	free(chain);
}

/* Takes the source, also on failure. */
static int chain_new(const struct store_context *context, struct chain_source *source,
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
	source->retry = &chain->retry;
	TAILQ_INIT(&chain->waiters);
	r = event_timer_init(&chain->pause, context->loop, on_pause);
	if (r == 0)
		r = event_timer_init(&chain->renewal, context->loop, on_renewal);
	if (r < 0)
		error_errno(err, r, "set up credentials");
	else
		r = set_policy(chain, err);
	if (r < 0) {
		chain_free(chain);
		return r;
	}
	*ret = chain;
	return 0;
}

int object_chain_share(const struct store_context *context, const char *name,
		       struct chain_source *(*make)(const struct store_context *context,
						    const void *wish),
		       const void *wish, struct object_chain **ret, struct error *err)
{
	struct store_context own = *context;
	struct object_chain *chain = store_cache_find(context->cache, name);
	struct chain_source *source;
	int r = 0;

	if (!chain) {
		own.artifact = NULL;
		own.observer = (struct store_observer){ 0 };
		source = make(&own, wish);
		r = source ? chain_new(&own, source, &chain, err) :
			     error_set(err, -ENOMEM, "out of memory");
		if (r == 0 && store_cache_add(context->cache, name, chain, chain_free) < 0)
			r = error_set(err, -ENOMEM, "out of memory");
	}
	if (r == 0)
		*ret = chain;
	return r;
}

/* --- For sources ---------------------------------------------------------------------------------- */

int chain_judge(const struct http_response *response, struct error *err)
{
	const struct classify_answer answer = { .status = response->status,
						.code = "",
						.message = "" };

	if (response->status >= 200 && response->status <= 299)
		return 0;
	return error_set_class(err, -EACCES, classify(NULL, &answer), "status %d",
			       response->status);
}

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
