/* What /metrics makes of the counts of requests to stores. */
#include "signal/control_answer.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>

#include <cmocka.h>

static struct http_counts example(void)
{
	struct http_counts counts = { .store_count = 2, .endpoint_count = 1 };

	snprintf(counts.stores[0].store, sizeof(counts.stores[0].store), "s3");
	counts.stores[0].requests = 7;
	counts.stores[0].sent_bytes = 1ULL << 40;
	counts.stores[0].received_bytes = 5;
	counts.stores[0].failures[ERROR_TRANSIENT] = 3;
	counts.stores[0].failures[ERROR_NOT_FOUND] = 1;
	counts.stores[0].retries[ERROR_TRANSIENT] = 2;
	snprintf(counts.stores[1].store, sizeof(counts.stores[1].store), "oss");
	snprintf(counts.endpoints[0].endpoint, sizeof(counts.endpoints[0].endpoint),
		 "http://a\"b\\c:80");
	counts.endpoints[0].state = GATE_SLOWED;
	counts.endpoints[0].limit = 0.5;
	counts.endpoints[0].running = 1;
	counts.endpoints[0].waiting = 15;
	counts.endpoints[0].slowed = 2;
	counts.endpoints[0].failed = 1;
	return counts;
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
		cmocka_unit_test(test_metrics),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
