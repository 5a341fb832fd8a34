/*
 * The gates of a client, one for each endpoint, with the requests that wait at them, and the counts
 * of what passed. A request is known here by its struct retry.
 */
#include "executor/base/clock.h"
#include "executor/base/text.h"
#include "executor/http/http_internal.h"
#include "executor/http/retry.h"

#include <errno.h>
#include <stddef.h>
#include <stdlib.h>
#include <string.h>

/* An upload that broke off behind this much was no sign of an endpoint that is down. */
#define ALIVE_BYTES 1048576

/* Records of failures by endpoint that are shown: at once, and then per second. */
#define SHOWN_AT_ONCE 5.0
#define SHOWN_PER_S 1.0

/* "https://host:port" of a URL, or "unix:path"; false if it is too long to be told. */
static bool endpoint_of(const struct http_request *request, char endpoint[HTTP_ENDPOINT_MAX])
{
	const char *url = request->url;
	const char *scheme_end = strstr(url, "://");
	const char *start = scheme_end ? scheme_end + 3 : url;
	size_t size = strcspn(start, "/?#");
	const char *at = memrchr(start, '@', size);
	int n;

	if (request->unix_path) {
		n = snprintf(endpoint, HTTP_ENDPOINT_MAX, "unix:%s", request->unix_path);
		return n > 0 && n < HTTP_ENDPOINT_MAX;
	}
	if (at) {
		size -= (size_t)(at + 1 - start);
		start = at + 1;
	}
	n = snprintf(endpoint, HTTP_ENDPOINT_MAX, "%.*s%.*s",
		     scheme_end ? (int)(scheme_end + 3 - url) : 0, url, (int)size, start);
	return n > 0 && n < HTTP_ENDPOINT_MAX;
}

static void on_gate_timer(struct event_timer *timer);

static struct http_gate *new_gate(struct http_client *client, const char *endpoint)
{
	struct http_gate *gate;

	if (client->gate_count == HTTP_GATES_MAX)
		return NULL;
	gate = calloc(1, sizeof(*gate));
	if (!gate || event_timer_init(&gate->timer, client->loop, on_gate_timer) < 0) {
		free(gate);
		return NULL;
	}
	gate->client = client;
	snprintf(gate->endpoint, sizeof(gate->endpoint), "%s", endpoint);
	gate->shown = SHOWN_AT_ONCE;
	gate->shown_ms = clock_now_ms();
	gate_init(&gate->gate, gate->shown_ms);
	TAILQ_INIT(&gate->waiting);
	client->gates[client->gate_count++] = gate;
	return gate;
}

static struct http_gate *find_gate(struct http_client *client, const struct http_request *request)
{
	char endpoint[HTTP_ENDPOINT_MAX];

	if (!endpoint_of(request, endpoint))
		return NULL;
	for (unsigned i = 0; i < client->gate_count; i++)
		if (strcasecmp(client->gates[i]->endpoint, endpoint) == 0)
			return client->gates[i];
	return new_gate(client, endpoint);
}

void http_gate_free(struct http_client *client)
{
	for (unsigned i = 0; i < client->gate_count; i++) {
		event_timer_done(&client->gates[i]->timer);
		free(client->gates[i]);
	}
	client->gate_count = 0;
}

static struct http_store_counts *counts_of(struct http_client *client, const struct retry *retry)
{
	struct http_counts *counts = &client->counts;
	const char *store = retry->policy->store;

	if (!store)
		return NULL;
	for (unsigned i = 0; i < counts->store_count; i++)
		if (strcmp(counts->stores[i].store, store) == 0)
			return &counts->stores[i];
	if (counts->store_count == HTTP_COUNTS_STORES_MAX)
		return NULL;
	snprintf(counts->stores[counts->store_count].store, HTTP_STORE_NAME_MAX, "%s", store);
	return &counts->stores[counts->store_count++];
}

/* --- In and out ---------------------------------------------------------------------------------- */

static void note_state(struct http_gate *gate, enum gate_state before)
{
	gate->slowed += gate->gate.state == GATE_SLOWED && before == GATE_OPEN;
	gate->failed += gate->gate.state == GATE_FAILING && before != GATE_FAILING;
}

static void enter(struct http_transfer *transfer, int64_t now_ms)
{
	gate_start(&transfer->gate->gate, &transfer->pass, now_ms);
	transfer->has_passed = true;
}

bool http_gate_hold(struct http_transfer *transfer)
{
	struct retry *retry = transfer->request.retry;
	int64_t now_ms = clock_now_ms();
	struct http_gate *gate;

	if (!retry)
		return false;
	gate = find_gate(transfer->client, &transfer->request);
	retry->gate = gate;
	retry->is_gate_passed = false;
	if (!gate)
		return false;
	transfer->gate = gate;
	transfer->pass.is_retry = retry->count[ERROR_TRANSIENT] + retry->count[ERROR_THROTTLED] > 0;
	transfer->held_ms = now_ms;
	if (TAILQ_EMPTY(&gate->waiting) && gate_ask(&gate->gate, &transfer->pass, now_ms) == 0) {
		enter(transfer, now_ms);
		return false;
	}
	transfer->phase = HTTP_HELD;
	TAILQ_INSERT_TAIL(&gate->waiting, transfer, waiting);
	gate->waiting_count++;
	event_timer_set(&gate->timer, 0);
	return true;
}

static void stop_waiting(struct http_transfer *transfer)
{
	TAILQ_REMOVE(&transfer->gate->waiting, transfer, waiting);
	transfer->gate->waiting_count--;
}

static bool is_sign_of_life(const struct http_transfer *transfer, uint64_t sent_bytes)
{
	int status = transfer->response.status;

	if (transfer->has_headers)
		return status < 500 && status != 429 &&
		       (!transfer->request.is_well ||
			transfer->request.is_well(&transfer->response));
	return sent_bytes >= ALIVE_BYTES;
}

void http_gate_leave(struct http_transfer *transfer)
{
	struct http_gate *gate = transfer->gate;
	struct retry *retry = transfer->request.retry;
	struct http_store_counts *counts;
	curl_off_t sent = 0;
	enum gate_state before;

	if (!gate)
		return;
	before = gate->gate.state;
	if (!transfer->has_passed)
		stop_waiting(transfer);
	transfer->gate = NULL;
	if (!transfer->has_passed)
		return;
	if (transfer->easy)
		curl_easy_getinfo(transfer->easy, CURLINFO_SIZE_UPLOAD_T, &sent);
	gate_end(&gate->gate, &transfer->pass);
	retry->pass = transfer->pass;
	retry->is_gate_passed = true;
	retry->is_alive = is_sign_of_life(transfer, (uint64_t)sent);
	if (retry->is_alive)
		gate_succeed(&gate->gate, &transfer->pass, clock_now_ms());
	note_state(gate, before);
	counts = counts_of(gate->client, retry);
	if (counts) {
		counts->requests++;
		counts->sent_bytes += (uint64_t)sent;
		counts->received_bytes += transfer->response.body_bytes;
	}
	/* Not at once: first the owner tells how it failed. */
	if (gate->waiting_count > 0)
		event_timer_set(&gate->timer, 0);
}

/* --- Waiting ------------------------------------------------------------------------------------- */

/* Milliseconds for which the request may wait still; while the endpoint is not failing there is no
 * limit: the queue moves. */
static int64_t patience(const struct http_transfer *transfer, int64_t now_ms)
{
	const struct retry *retry = transfer->request.retry;
	int64_t patience_ms = retry_patience_ms(retry->policy);
	int64_t since_ms = retry->failed_ms ?: transfer->held_ms;

	if (transfer->gate->gate.state != GATE_FAILING || patience_ms == 0)
		return INT64_MAX;
	if (since_ms < transfer->gate->gate.failing_ms)
		since_ms = transfer->gate->gate.failing_ms;
	return since_ms + patience_ms - now_ms;
}

static void expire(struct http_transfer *transfer, int64_t now_ms)
{
	struct http_gate *gate = transfer->gate;
	char duration[CLOCK_DURATION_MAX];

	error_set_class(&transfer->error, -ETIMEDOUT, ERROR_TRANSIENT,
			"%s has been failing for %s, last: %s", gate->endpoint,
			clock_format_duration((now_ms - gate->gate.failing_ms) * 1000000, duration),
			gate->last_failure);
	transfer->request.retry->is_exhausted = true;
	http_transfer_finish(transfer);
}

/* Lets in whoever may, gives up for whom it is too late, and sets the timer for the others. */
static void serve(struct http_gate *gate)
{
	struct http_transfer *transfer, *next;
	int64_t now_ms = clock_now_ms();
	int64_t sleep_ms = INT64_MAX;

	for (transfer = TAILQ_FIRST(&gate->waiting); transfer; transfer = next) {
		int64_t left_ms = patience(transfer, now_ms), pause_ms;

		next = TAILQ_NEXT(transfer, waiting);
		if (left_ms <= 0) {
			expire(transfer, now_ms);
			continue;
		}
		pause_ms = gate_ask(&gate->gate, &transfer->pass, now_ms);
		if (pause_ms == 0) {
			stop_waiting(transfer);
			enter(transfer, now_ms);
			http_transfer_begin(transfer);
			continue;
		}
		if (pause_ms != GATE_FULL && pause_ms < sleep_ms)
			sleep_ms = pause_ms;
		if (left_ms < sleep_ms)
			sleep_ms = left_ms;
	}
	if (sleep_ms < INT64_MAX)
		event_timer_set(&gate->timer, sleep_ms);
}

static void on_gate_timer(struct event_timer *timer)
{
	struct http_gate *gate =
		(struct http_gate *)((char *)timer - offsetof(struct http_gate, timer));

	if (gate->client->depth > 0) {
		event_timer_set(timer, 1);
		return;
	}
	http_client_enter(gate->client);
	serve(gate);
	http_client_leave(gate->client);
}

/* --- What the retry engine tells ------------------------------------------------------------------ */

void http_gate_report(struct retry *retry, const struct error *err, int64_t retry_after_ms,
		      int64_t now_ms, double random)
{
	struct http_gate *gate = retry->gate;
	struct http_store_counts *counts;
	enum gate_state before;

	if (!gate)
		return;
	before = gate->gate.state;
	counts = counts_of(gate->client, retry);
	if (counts)
		counts->failures[err->class]++;
	if (!retry->is_gate_passed)
		return;
	retry->is_gate_passed = false;
	/* A link that cuts each transfer short is not an endpoint that is down. */
	if (err->class == ERROR_TRANSIENT && retry->is_alive)
		return;
	if (err->class == ERROR_TRANSIENT)
		snprintf(gate->last_failure, sizeof(gate->last_failure), "%.*s",
			 (int)text_cut_utf8(err->message, strlen(err->message),
					    sizeof(gate->last_failure) - 1),
			 err->message);
	gate_fail(&gate->gate, &retry->pass, err->class, retry_after_ms, now_ms, random);
	note_state(gate, before);
	if (gate->waiting_count > 0)
		event_timer_set(&gate->timer, 0);
}

void http_gate_count_retry(struct retry *retry, enum error_class class)
{
	struct http_store_counts *counts = retry->gate ? counts_of(retry->gate->client, retry) :
							 NULL;

	if (counts)
		counts->retries[class]++;
}

bool http_gate_may_show(struct retry *retry, int64_t now_ms, unsigned *ret_hidden)
{
	struct http_gate *gate = retry->gate;

	*ret_hidden = 0;
	if (!gate)
		return true;
	gate->shown += (double)(now_ms - gate->shown_ms) * SHOWN_PER_S / 1000;
	if (gate->shown > SHOWN_AT_ONCE)
		gate->shown = SHOWN_AT_ONCE;
	gate->shown_ms = now_ms;
	if (gate->shown < 1) {
		gate->hidden++;
		return false;
	}
	gate->shown--;
	*ret_hidden = gate->hidden;
	gate->hidden = 0;
	return true;
}

void http_client_count(const struct http_client *client, struct http_counts *ret)
{
	*ret = client->counts;
	for (unsigned i = 0; i < client->gate_count && i < HTTP_COUNTS_ENDPOINTS_MAX; i++) {
		const struct http_gate *gate = client->gates[i];
		struct http_endpoint_counts *counts = &ret->endpoints[ret->endpoint_count++];

		memcpy(counts->endpoint, gate->endpoint, sizeof(counts->endpoint));
		counts->state = gate->gate.state;
		counts->limit = gate->gate.limit;
		counts->running = gate->gate.running;
		counts->waiting = gate->waiting_count;
		counts->slowed = gate->slowed;
		counts->failed = gate->failed;
	}
}
