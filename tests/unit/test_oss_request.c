/* What an OSS request carries beside its signature, and which proxy it takes. */
#include "executor/artifact/oss/client.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

static const struct object_call call = {
	.method = "PUT",
	.key = "a/b",
	.content_type = "text/plain",
	.body = { .data = "abc", .size = 3 },
};

static struct oss_client client_of(const char *token)
{
	return (struct oss_client){
		.config = { .host = (char *)"oss.example.org",
			    .bucket = (char *)"my-bucket",
			    .region = "cn-hangzhou",
			    .keys = { (char *)"AK", (char *)"sk", (char *)token, 0 },
			    .is_http = true },
	};
}

static struct object_request prepare(struct oss_client *client)
{
	struct object_request request;
	struct error err = ERROR_NONE;

	if (oss_request_prepare(&client->base, &call, &request, &err) < 0)
		fail_msg("%s", err.message);
	return request;
}

static const char *const names[] = { "date: ",
				     "content-type: text/plain",
				     "x-oss-content-sha256: UNSIGNED-PAYLOAD",
				     "x-oss-date: ",
				     "x-oss-security-token: tok",
				     "authorization: OSS4-HMAC-SHA256 Credential=AK/",
				     "authorization: OSS AK:" };

/* One character for each of the names: whether such a line is sent. */
static void check(struct oss_client *client, const char *expected)
{
	struct object_request request = prepare(client);
	size_t found = 0;

	for (size_t i = 0; i < sizeof(names) / sizeof(names[0]); i++) {
		bool is_there = false;

		for (size_t j = 0; j < request.line_count; j++)
			is_there |= strncmp(request.lines[j], names[i], strlen(names[i])) == 0;
		assert_int_equal(is_there, expected[i] == '1');
		found += is_there;
	}
	assert_int_equal(found, request.line_count);
	object_request_done(&request);
}

static void test_lines(void **state)
{
	struct oss_client client = client_of("tok");

	(void)state;
	check(&client, "1111110");
	client.is_v1 = true;
	check(&client, "1100101");
	client = client_of(NULL);
	check(&client, "1111010");
}

static void check_proxy(bool is_http, bool want_chain, const char *expected)
{
	struct oss_client client = client_of(NULL);
	struct object_request request;

	client.config.is_http = is_http;
	client.config.want_chain = want_chain;
	request = prepare(&client);
	if (expected)
		assert_string_equal(request.http.proxy, expected);
	else
		assert_null(request.http.proxy);
	object_request_done(&request);
}

/* Argo's variable for both schemes, beside static keys only; the usual ones else. */
static void test_proxy(void **state)
{
	(void)state;
	unsetenv("https_proxy");
	check_proxy(true, false, NULL);
	setenv("https_proxy", "http://proxy:1", 1);
	check_proxy(true, false, "http://proxy:1");
	check_proxy(true, true, NULL);
	check_proxy(false, false, NULL);
	unsetenv("https_proxy");
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_lines),
		cmocka_unit_test(test_proxy),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
