/* Requests of a client at the gates of their endpoints, against servers that refuse, fail and answer. */
#include "executor/base/clock.h"
#include "executor/http/retry.h"
#include "tests/unit/http_fixture.h"

#include <errno.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#define NOBODY "http://127.0.0.1:9/" /* discard: nobody listens */
#define OPERATIONS 12

static const char ok[] = "HTTP/1.1 200 OK\r\nContent-Length: 5\r\nConnection: close\r\n\r\nhello";
static const char busy[] = "HTTP/1.1 503 Slow\r\nContent-Length: 0\r\nConnection: close\r\n\r\n";

/* One operation: requests until it is done or given up. */
struct operation {
	struct http_fixture *f;
	struct http_request request;
	struct retry retry;
	struct http_transfer *transfer;
	struct event_timer timer;
	struct error err;
	int64_t retry_after_ms; /* what the server's 503 means */
	int64_t ended_ms;
	bool is_done;
};

static int set_up(void **state)
{
	return http_fixture_set_up(state, &(struct http_client_options){ .user_agent = "test/1" });
}

static void on_end(struct http_transfer *transfer, const struct http_response *response,
		   const struct error *error, void *context)
{
	struct operation *operation = context;
	int64_t pause_ms;

	operation->err = *error;
	if (error->code == 0 && response->status == 503)
		error_set_class(&operation->err, -EIO, ERROR_THROTTLED, "slow down");
	else if (error->code == 0 && response->status >= 500)
		error_set_class(&operation->err, -EIO, ERROR_TRANSIENT, "broken");
	operation->retry.retry_after_ms = operation->retry_after_ms;
	http_transfer_free(transfer);
	operation->transfer = NULL;
	pause_ms = operation->err.code ? retry_next(&operation->retry, &operation->err) : -1;
	if (pause_ms >= 0) {
		event_timer_set(&operation->timer, pause_ms);
		return;
	}
	operation->ended_ms = clock_now_ms();
	operation->is_done = true;
}

static void on_pause_over(struct event_timer *timer)
{
	struct operation *operation =
		(struct operation *)((char *)timer - offsetof(struct operation, timer));
	struct error err = ERROR_NONE;

	operation->transfer =
		http_start(operation->f->client, &operation->request, on_end, operation, &err);
	assert_non_null(operation->transfer);
}

static void begin(struct operation *operation, struct http_fixture *f,
		  const struct retry_policy *policy, const char *url)
{
	*operation = (struct operation){
		.f = f,
		.request = { .method = "GET", .url = url, .retry = &operation->retry },
	};
	assert_int_equal(event_timer_init(&operation->timer, f->loop, on_pause_over), 0);
	retry_begin(&operation->retry, policy, f->loop, NULL, "get");
	event_timer_set(&operation->timer, 0);
}

static void end(struct operation *operation)
{
	http_transfer_free(operation->transfer);
	event_timer_done(&operation->timer);
}

static struct http_counts count(struct http_fixture *f)
{
	struct http_counts counts;

	http_client_count(f->client, &counts);
	return counts;
}

static void test_outage_for_many(void **state)
{
	static const struct retry_policy policy = {
		.rounds = 2, .first_pause_ms = 20, .factor = 1, .min_total_ms = 1500, .store = "x"
	};
	static struct operation operations[OPERATIONS];
	struct http_fixture *f = *state;
	int64_t started_ms = clock_now_ms();
	unsigned given_up = 0;
	struct http_counts counts;

	for (int i = 0; i < OPERATIONS; i++)
		begin(&operations[i], f, &policy, NOBODY);
	for (int i = 0; i < OPERATIONS; i++) {
		assert_int_equal(event_loop_wait(f->loop, &operations[i].is_done), 0);
		assert_true(operations[i].ended_ms - started_ms >= 1500);
		assert_int_equal(operations[i].err.class, ERROR_TRANSIENT);
		assert_non_null(strstr(operations[i].err.message, "connection refused"));
		assert_non_null(strstr(operations[i].err.message, " transient)"));
		given_up += strstr(operations[i].err.message, NOBODY) != NULL &&
			    strstr(operations[i].err.message, "has been failing for") != NULL;
		end(&operations[i]);
	}
	counts = count(f);
	/* Each once or, before it was noticed, twice; then probes. */
	assert_int_equal(counts.store_count, 1);
	assert_string_equal(counts.stores[0].store, "x");
	assert_in_range(counts.stores[0].requests, OPERATIONS, 2 * OPERATIONS + 6);
	assert_in_range(counts.stores[0].failures[ERROR_TRANSIENT], OPERATIONS, 3 * OPERATIONS + 6);
	assert_true(counts.stores[0].retries[ERROR_TRANSIENT] > 0);
	assert_int_equal(counts.endpoint_count, 1);
	assert_string_equal(counts.endpoints[0].endpoint, "http://127.0.0.1:9");
	assert_int_equal(counts.endpoints[0].state, GATE_FAILING);
	assert_int_equal(counts.endpoints[0].failed, 1);
	assert_int_equal(counts.endpoints[0].running + counts.endpoints[0].waiting, 0);
	print_message("%lu requests for %d operations, %u given up at the gate\n",
		      counts.stores[0].requests, OPERATIONS, given_up);
}

/* An endpoint that is down, and who waits for it; ends with `waiting` requests at its gate. */
static void make_wait(struct http_fixture *f, struct operation *operations, unsigned waiting)
{
	static const struct retry_policy policy = {
		.rounds = 9, .first_pause_ms = 1, .factor = 1, .min_total_ms = 60000, .store = "x"
	};

	for (int i = 0; i < OPERATIONS; i++)
		begin(&operations[i], f, &policy, NOBODY);
	while (count(f).endpoint_count == 0 || count(f).endpoints[0].waiting < waiting)
		assert_int_equal(event_loop_pause(f->loop, 1), 0);
}

static void test_others_do_not_wait(void **state)
{
	static const struct retry_policy policy = { .rounds = 1, .store = "y" };
	static struct operation operations[OPERATIONS], other;
	struct http_fixture *f = *state;
	struct http_counts counts;

	make_wait(f, operations, OPERATIONS / 2);
	http_server_start(&f->server, http_serve_once, ok);
	snprintf(f->url, sizeof(f->url), "http://user@127.0.0.1:%d/a?b", f->server.port);
	begin(&other, f, &policy, f->url);
	assert_int_equal(event_loop_wait(f->loop, &other.is_done), 0);
	assert_int_equal(other.err.code, 0);
	http_server_stop(&f->server);
	counts = count(f);
	assert_int_equal(counts.endpoint_count, 2);
	assert_null(strchr(counts.endpoints[1].endpoint, '@'));
	assert_int_equal(counts.stores[1].requests, 1);
	assert_int_equal(counts.stores[1].received_bytes, 5);
	/* Those that wait may go, in whatever order; the client takes the rest with it. */
	for (int i = 0; i < OPERATIONS; i += 2)
		end(&operations[i]);
	assert_in_range(count(f).endpoints[0].waiting, 0, OPERATIONS / 2);
	http_client_free(f->client);
	f->client = NULL;
	for (int i = 1; i < OPERATIONS; i += 2)
		end(&operations[i]);
	end(&other);
}

static void on_cancel(struct event_timer *timer)
{
	event_loop_cancel(timer->source.loop);
}

/* What waits at a gate ends with the loop's work, at once. */
static void test_cancelled_while_held(void **state)
{
	static const struct retry_policy policy = { .rounds = 9, .min_total_ms = 60000 };
	static struct operation operations[OPERATIONS];
	struct http_fixture *f = *state;
	struct event_timer timer;
	struct retry retry;
	const struct http_request request = { .method = "GET", .url = NOBODY, .retry = &retry };
	int64_t started_ms;

	make_wait(f, operations, OPERATIONS / 2);
	assert_int_equal(event_timer_init(&timer, f->loop, on_cancel), 0);
	event_timer_set(&timer, 20);
	retry_begin(&retry, &policy, f->loop, NULL, "get");
	started_ms = clock_now_ms();
	assert_int_equal(http_fixture_perform(f, &request), -ECANCELED);
	assert_int_equal(f->err.class, ERROR_CANCELLED);
	assert_in_range(clock_now_ms() - started_ms, 20, 1000);
	assert_false(retry_again(&retry, &f->err));
	for (int i = 0; i < OPERATIONS; i++)
		end(&operations[i]);
	event_timer_done(&timer);
	assert_int_equal(count(f).endpoints[0].waiting, 0);
}

static void serve_busy_once(struct http_peer *peer)
{
	if (http_peer_read(peer))
		http_peer_say(peer, peer->number == 1 ? busy : ok);
}

static void test_throttled_for_all(void **state)
{
	static const struct retry_policy policy = { .rounds = 3, .store = "x" };
	static struct operation first, second;
	struct http_fixture *f = *state;
	int64_t started_ms = clock_now_ms();

	http_server_start(&f->server, serve_busy_once, NULL);
	snprintf(f->url, sizeof(f->url), "http://127.0.0.1:%d/", f->server.port);
	begin(&first, f, &policy, f->url);
	first.retry_after_ms = 400;
	while (first.retry.attempts == 0)
		assert_int_equal(event_loop_pause(f->loop, 1), 0);
	assert_int_equal(count(f).endpoints[0].state, GATE_SLOWED);
	begin(&second, f, &policy, f->url);
	assert_int_equal(event_loop_wait(f->loop, &first.is_done), 0);
	assert_int_equal(event_loop_wait(f->loop, &second.is_done), 0);
	http_server_stop(&f->server);
	assert_int_equal(first.err.code, 0);
	assert_int_equal(second.err.code, 0);
	assert_true(first.ended_ms - started_ms >= 400);
	assert_true(second.ended_ms - started_ms >= 400);
	assert_int_equal(count(f).stores[0].failures[ERROR_THROTTLED], 1);
	assert_int_equal(count(f).stores[0].retries[ERROR_THROTTLED], 1);
	assert_int_equal(count(f).stores[0].requests, 3);
	end(&first);
	end(&second);
}

static void serve_cut(struct http_peer *peer)
{
	if (http_peer_read(peer))
		http_peer_say(peer, "HTTP/1.1 200 OK\r\nContent-Length: 10\r\n\r\nhello");
}

/* Cut short each time, but there: nobody has to wait. */
static void test_cuts_are_no_outage(void **state)
{
	static const struct retry_policy policy = { .rounds = 20, .store = "x" };
	static struct operation operation;
	struct http_fixture *f = *state;

	http_server_start(&f->server, serve_cut, NULL);
	snprintf(f->url, sizeof(f->url), "http://127.0.0.1:%d/", f->server.port);
	begin(&operation, f, &policy, f->url);
	assert_int_equal(event_loop_wait(f->loop, &operation.is_done), 0);
	http_server_stop(&f->server);
	assert_non_null(strstr(operation.err.message, "unexpected EOF"));
	assert_int_equal(count(f).endpoints[0].state, GATE_OPEN);
	assert_in_range(count(f).stores[0].requests, 20, 22);
	end(&operation);
}

static void test_retry_after_of(void **state)
{
	static const struct {
		const char *headers;
		int64_t expected;
	} rows[] = {
		{ "a: b\n", -1 },
		{ "retry-after: 3\n", 3000 },
		{ "retry-after: soon\n", -1 },
		{ "retry-after: 3\nx-ms-retry-after-ms: 250\n", 250 },
		{ "retry-after-ms: 70\n", 70 },
		{ "x-ms-retry-after-ms: -1\nretry-after: 1\n", 1000 },
		{ "x-ms-retry-after-ms: 1.5\n", -1 },
	};

	(void)state;
	for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++) {
		struct http_response response = { .headers = BUFFER_INIT(1000) };

		assert_int_equal(buffer_append_string(&response.headers, rows[i].headers), 0);
		assert_int_equal(retry_after_of(&response), rows[i].expected);
		http_response_done(&response);
	}
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test_setup_teardown(test_outage_for_many, set_up,
						http_fixture_tear_down),
		cmocka_unit_test_setup_teardown(test_others_do_not_wait, set_up,
						http_fixture_tear_down),
		cmocka_unit_test_setup_teardown(test_cancelled_while_held, set_up,
						http_fixture_tear_down),
		cmocka_unit_test_setup_teardown(test_throttled_for_all, set_up,
						http_fixture_tear_down),
		cmocka_unit_test_setup_teardown(test_cuts_are_no_outage, set_up,
						http_fixture_tear_down),
		cmocka_unit_test(test_retry_after_of),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
