/* Counts on their way between processes, and what /metrics makes of them. */
#include "executor/artifact/traffic.h"
#include "signal/control_answer.h"

#include <inttypes.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdint.h>
#include <string.h>

#include <cmocka.h>

static struct http_counts example(void)
{
	struct http_counts counts = { .store_count = 2, .endpoint_count = 1 };

	strcpy(counts.stores[0].store, "s3");
	counts.stores[0].requests = 7;
	counts.stores[0].sent_bytes = 1ULL << 40;
	counts.stores[0].received_bytes = 5;
	counts.stores[0].failures[ERROR_TRANSIENT] = 3;
	counts.stores[0].failures[ERROR_NOT_FOUND] = 1;
	counts.stores[0].retries[ERROR_TRANSIENT] = 2;
	strcpy(counts.stores[1].store, "oss");
	strcpy(counts.endpoints[0].endpoint, "http://a\"b\\c:80");
	counts.endpoints[0].state = GATE_SLOWED;
	counts.endpoints[0].limit = 0.5;
	counts.endpoints[0].running = 1;
	counts.endpoints[0].waiting = 15;
	counts.endpoints[0].slowed = 2;
	counts.endpoints[0].failed = 1;
	return counts;
}

static void test_there_and_back(void **state)
{
	struct buffer text = BUFFER_INIT(TRAFFIC_BYTES_MAX);
	struct http_counts counts = example(), back;
	struct json_object *message = NULL, *parsed = NULL;
	struct error err = ERROR_NONE;

	(void)state;
	assert_int_equal(traffic_encode(&counts, &message), 0);
	assert_int_equal(json_print(message, &text, &err), 0);
	assert_int_equal(json_parse(buffer_string(&text), text.size, "counts", &parsed, &err), 0);
	traffic_decode(parsed, &back);
	assert_memory_equal(&back, &counts, sizeof(counts));
	json_free(message);
	json_free(parsed);
	buffer_done(&text);
}

static void test_largest_fits(void **state)
{
	struct buffer text = BUFFER_INIT(TRAFFIC_BYTES_MAX);
	struct http_counts counts = { .store_count = HTTP_COUNTS_STORES_MAX,
				      .endpoint_count = HTTP_COUNTS_ENDPOINTS_MAX };
	struct json_object *message = NULL;
	struct error err = ERROR_NONE;

	(void)state;
	memset(counts.stores, 0x7f, sizeof(counts.stores));
	memset(counts.endpoints, 0x7f, sizeof(counts.endpoints));
	for (int i = 0; i < HTTP_COUNTS_STORES_MAX; i++)
		counts.stores[i].store[HTTP_STORE_NAME_MAX - 1] = '\0';
	for (int i = 0; i < HTTP_COUNTS_ENDPOINTS_MAX; i++) {
		memset(counts.endpoints[i].endpoint, 'x', HTTP_ENDPOINT_MAX - 1);
		counts.endpoints[i].endpoint[HTTP_ENDPOINT_MAX - 1] = '\0';
		counts.endpoints[i].state = GATE_FAILING;
		counts.endpoints[i].limit = GATE_LIMIT_MIN;
	}
	assert_int_equal(traffic_encode(&counts, &message), 0);
	assert_int_equal(json_print(message, &text, &err), 0);
	json_free(message);
	buffer_done(&text);
}

static void test_nonsense(void **state)
{
	static const char *const texts[] = {
		"null",
		"[]",
		"{\"stores\":7,\"endpoints\":{}}",
		"{\"stores\":[1,null,{\"store\":5,\"requests\":-1,\"failures\":[-1,\"x\",{}]}]}",
		"{\"endpoints\":[{\"state\":99,\"limit\":-5},[]]}",
	};
	struct http_counts counts;

	(void)state;
	for (size_t i = 0; i < sizeof(texts) / sizeof(texts[0]); i++) {
		struct json_object *message = NULL;
		struct error err = ERROR_NONE;

		if (json_parse(texts[i], strlen(texts[i]), "counts", &message, &err) < 0)
			continue;
		traffic_decode(message, &counts);
		for (unsigned s = 0; s < counts.store_count; s++)
			assert_int_equal(counts.stores[s].requests, 0);
		for (unsigned e = 0; e < counts.endpoint_count; e++)
			assert_int_equal(counts.endpoints[e].state, GATE_OPEN);
		json_free(message);
	}
}

static void test_add(void **state)
{
	struct http_counts earlier = example(), counts = { .store_count = 1 };

	(void)state;
	strcpy(counts.stores[0].store, "oss");
	counts.stores[0].requests = 4;
	traffic_add(&counts, &earlier);
	traffic_add(&counts, &earlier);
	assert_int_equal(counts.store_count, 2);
	assert_int_equal(counts.stores[0].requests, 4);
	assert_int_equal(counts.stores[1].requests, 14);
	assert_int_equal(counts.stores[1].retries[ERROR_TRANSIENT], 4);
	assert_int_equal(counts.endpoint_count, 1);
	assert_int_equal(counts.endpoints[0].slowed, 4);
	assert_int_equal(counts.endpoints[0].state, GATE_OPEN);
}

static void fill(void *context, struct http_counts *ret)
{
	(void)context;
	*ret = example();
}

static void test_metrics(void **state)
{
	static const char *const expected[] = {
		"argoexec_store_requests_total{store=\"s3\"} 7\n",
		"argoexec_store_requests_total{store=\"oss\"} 0\n",
		"argoexec_store_body_bytes_total{store=\"s3\",direction=\"sent\"} 1099511627776\n",
		"argoexec_store_failures_total{store=\"s3\",class=\"not found\"} 1\n",
		"argoexec_store_failures_total{store=\"s3\",class=\"permanent\"} 0\n",
		"argoexec_store_retries_total{store=\"s3\",class=\"transient\"} 2\n",
		"argoexec_endpoint_state{endpoint=\"http://a\\\"b\\\\c:80\",state=\"slowed\"} 1\n",
		"argoexec_endpoint_state{endpoint=\"http://a\\\"b\\\\c:80\",state=\"failing\"} 0\n",
		"argoexec_endpoint_requests{endpoint=\"http://a\\\"b\\\\c:80\",phase=\"waiting\"} 15\n",
		"argoexec_endpoint_changes_total{endpoint=\"http://a\\\"b\\\\c:80\",state=\"slowed\"} "
		"2\n",
	};
	const struct control_model model = { .traffic = fill };
	struct buffer out = BUFFER_INIT(65536);

	(void)state;
	assert_int_equal(control_write_traffic(&out, &model), 0);
	for (size_t i = 0; i < sizeof(expected) / sizeof(expected[0]); i++)
		assert_non_null(strstr(buffer_string(&out), expected[i]));
	assert_null(strstr(buffer_string(&out), "store_retries_total{store=\"s3\",class=\"perm"));
	buffer_done(&out);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_there_and_back), cmocka_unit_test(test_largest_fits),
		cmocka_unit_test(test_nonsense),       cmocka_unit_test(test_add),
		cmocka_unit_test(test_metrics),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
