/* Which answers of an API server are worth another attempt, and what is said of them. */
#include "executor/kube/status.h"

#include <errno.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

static void test_classes(void **state)
{
	static const struct {
		int http;
		enum error_class class;
		const char *reason, *message;
	} cases[] = {
		{ 400, ERROR_PERMANENT, "BadRequest", "no" },
		{ 401, ERROR_PERMANENT, "Unauthorized", "Unauthorized" },
		{ 403, ERROR_TRANSIENT, "Forbidden", "is forbidden: exceeded quota: q" },
		{ 403, ERROR_PERMANENT, "Forbidden", "cannot create" },
		{ 404, ERROR_NOT_FOUND, "NotFound", "not found" },
		{ 408, ERROR_TRANSIENT, "", "" },
		{ 409, ERROR_PERMANENT, "AlreadyExists", "already exists" },
		{ 409, ERROR_TRANSIENT, "Conflict",
		  "Operation cannot be fulfilled on resourcequotas \"q\"" },
		{ 409, ERROR_PERMANENT, "Conflict",
		  "Operation cannot be fulfilled on workflowtaskresults" },
		{ 413, ERROR_PERMANENT, "RequestEntityTooLarge", "" },
		{ 422, ERROR_PERMANENT, "Invalid", "" },
		{ 429, ERROR_THROTTLED, "", "" },
		{ 403, ERROR_THROTTLED, "TooManyRequests", "" },
		{ 500, ERROR_TRANSIENT, "InternalError", "resource quota evaluation timed out" },
		{ 500, ERROR_TRANSIENT, "InternalError", "boom" },
		{ 507, ERROR_TRANSIENT, "", "" },
		{ 505, ERROR_PERMANENT, "", "" },
		{ 500, ERROR_TRANSIENT, "", "etcdserver: leader changed" },
		{ 500, ERROR_TRANSIENT, "", "etcdserver: request timed out" },
		{ 400, ERROR_TRANSIENT, "", "etcdserver: too many requests" },
		{ 500, ERROR_PERMANENT, "", "etcdserver: request is too large" },
		{ 500, ERROR_TRANSIENT, "", "upper: no more rows in this result set" },
		{ 500, ERROR_TRANSIENT, "InternalError", "dial tcp: connect: connection refused" },
		{ 400, ERROR_PERMANENT, "BadRequest", "dial tcp: connect: connection refused" },
		{ 500, ERROR_TRANSIENT, "ServerTimeout", "" },
		{ 501, ERROR_PERMANENT, "", "" },
		{ 502, ERROR_TRANSIENT, "", "" },
		{ 503, ERROR_TRANSIENT, "", "" },
		{ 504, ERROR_TRANSIENT, "Timeout", "" },
	};

	(void)state;
	for (size_t i = 0; i < sizeof(cases) / sizeof(*cases); i++)
		if (kube_status_class(cases[i].http, cases[i].reason, cases[i].message) !=
		    cases[i].class)
			fail_msg("%d %s %s", cases[i].http, cases[i].reason, cases[i].message);
}

struct answer {
	struct http_response response;
	struct kube_status status;
	struct json_object *object;
	struct error err;
};

static int decode(struct answer *a, int status, const char *headers, const char *body)
{
	*a = (struct answer){ .response = { .status = status,
					    .headers = BUFFER_INIT(65536),
					    .body = BUFFER_INIT(1 << 20) } };
	buffer_append_string(&a->response.headers, headers);
	buffer_append_string(&a->response.body, body);
	return kube_status_decode("PATCH", "https://h/x", &a->response, &a->status, &a->object,
				  &a->err);
}

static void done(struct answer *a)
{
	http_response_done(&a->response);
	json_free(a->object);
}

#define JSON "content-type: application/json; charset=utf-8\n"

static void test_success(void **state)
{
	struct answer a;

	(void)state;
	assert_int_equal(decode(&a, 200, JSON, "{\"kind\":\"X\"}"), 0);
	assert_string_equal(json_get_string(a.object, "kind", ""), "X");
	assert_int_equal(a.status.http, 200);
	assert_false(a.status.is_outcome_unknown);
	done(&a);
	assert_int_equal(decode(&a, 204, "", ""), 0);
	assert_null(a.object);
	done(&a);
}

static void test_refusal(void **state)
{
	struct answer a;

	(void)state;
	assert_int_equal(decode(&a, 429, JSON "retry-after: 3\n",
				"{\"kind\":\"Status\",\"message\":\"slow\\ndown\",\"reason\":"
				"\"TooManyRequests\",\"details\":{\"retryAfterSeconds\":7}}"),
			 -EBUSY);
	assert_string_equal(a.err.message, "slow down");
	assert_string_equal(a.status.reason, "TooManyRequests");
	assert_int_equal(a.status.retry_after_ms, 7000);
	assert_int_equal(a.err.class, ERROR_THROTTLED);
	assert_false(a.status.is_outcome_unknown);
	done(&a);
	assert_int_equal(decode(&a, 503, "retry-after: 9\n", "<html>\n busy"), -EIO);
	assert_string_equal(a.err.message, "PATCH https://h/x: HTTP status 503: <html>  busy");
	assert_int_equal(a.status.retry_after_ms, 9000);
	assert_true(a.status.is_outcome_unknown);
	done(&a);
	assert_int_equal(decode(&a, 401, JSON, "{\"kind\":\"Status\",\"message\":[1]}"), -EACCES);
	assert_string_equal(a.err.message, "PATCH https://h/x: HTTP status 401");
	done(&a);
	assert_int_equal(decode(&a, 409, JSON, "[1,"), -EEXIST);
	assert_string_equal(a.err.message, "PATCH https://h/x: HTTP status 409: [1,");
	done(&a);
}

static void test_hostile_retry_after(void **state)
{
	struct answer a;

	(void)state;
	decode(&a, 429, JSON,
	       "{\"kind\":\"Status\",\"details\":{\"retryAfterSeconds\":9223372036854775807}}");
	assert_int_equal(a.status.retry_after_ms, -1);
	done(&a);
	decode(&a, 429, JSON, "{\"kind\":\"Status\",\"details\":{\"retryAfterSeconds\":\"x\"}}");
	assert_int_equal(a.status.retry_after_ms, -1);
	done(&a);
}

static void test_reason_is_a_line(void **state)
{
	struct answer a;

	(void)state;
	decode(&a, 409, JSON, "{\"kind\":\"Status\",\"reason\":\"Bad\\nReason\"}");
	assert_string_equal(a.status.reason, "Bad Reason");
	done(&a);
	/* 62 bytes and a character of three: the field has room for one of them. */
	decode(&a, 409, JSON,
	       "{\"kind\":\"Status\",\"reason\":\"RRRRRRRRRRRRRRRRRRRRRRRRRRRRRRRRRRRRRRRRRRRRRRRRRR"
	       "RRRRRRRRRRRR\xe2\x82\xac\"}");
	assert_int_equal(strlen(a.status.reason), 62);
	done(&a);
}

static void test_not_an_api_server(void **state)
{
	struct answer a;

	(void)state;
	assert_int_equal(decode(&a, 200, "content-type: text/html\n", "<html>"), -EPROTO);
	assert_non_null(strstr(a.err.message, "is text/html, not JSON"));
	assert_int_equal(a.err.class, ERROR_PERMANENT);
	done(&a);
	assert_int_equal(decode(&a, 302, "location: https://login/\n", ""), -EPROTO);
	assert_non_null(strstr(a.err.message, "redirected (302) to https://login/"));
	assert_int_equal(a.err.class, ERROR_PERMANENT);
	done(&a);
}

static void test_broken_json(void **state)
{
	struct answer a;

	(void)state;
	assert_int_equal(decode(&a, 200, JSON, "{\"kind\":"), -EBADMSG);
	assert_int_equal(a.err.class, ERROR_TRANSIENT);
	assert_true(a.status.is_outcome_unknown);
	done(&a);
	decode(&a, 200, JSON, "{}");
	done(&a);
	decode(&a, 200, JSON, "{\"k\":1}");
	json_free(a.object);
	a.response.is_body_cut = true;
	assert_int_equal(kube_status_decode("GET", "https://h", &a.response, &a.status, &a.object,
					    &a.err),
			 -EMSGSIZE);
	done(&a);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_classes),          cmocka_unit_test(test_success),
		cmocka_unit_test(test_refusal),          cmocka_unit_test(test_hostile_retry_after),
		cmocka_unit_test(test_reason_is_a_line), cmocka_unit_test(test_not_an_api_server),
		cmocka_unit_test(test_broken_json),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
