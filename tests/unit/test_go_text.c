/* TRANSIENT_ERROR_PATTERN as users wrote it for the words of Go's clients, with anchors. */
#include "executor/artifact/oss/go_text.h"
#include "executor/artifact/s3/go_text.h"
#include "tests/unit/http_fixture.h"

#include <errno.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

struct history {
	struct retry_policy policy;
	struct transient_pattern *pattern;
	struct retry retry;
};

static void begin(struct history *history, struct event_loop *loop, const char *pattern)
{
	struct error err = ERROR_NONE;

	*history = (struct history){ .policy = { .rounds = 1, .factor = 1 } };
	assert_int_equal(transient_pattern_new(pattern, &history->pattern, &err), 0);
	history->policy.transient = history->pattern;
	retry_begin(&history->retry, &history->policy, loop, NULL, "test");
}

typedef void put_as_go(const struct http_response *response, const struct object_failure *failure,
		       struct retry *retry);

static bool matches(put_as_go *put, const char *pattern, const struct object_failure *failure,
		    const char *body)
{
	struct http_response response = { .status = failure->status, .body = BUFFER_INIT(100000) };
	struct history history;
	bool is_matched;

	assert_int_equal(buffer_append_string(&response.body, body), 0);
	begin(&history, NULL, pattern);
	put(&response, failure, &history.retry);
	is_matched = history.retry.is_matched;
	transient_pattern_free(history.pattern);
	http_response_done(&response);
	return is_matched;
}

static void test_s3(void **state)
{
	struct object_failure coded = {
		.status = 400, .error = { .code = "Odd", .message = "Our disk is full." }
	};
	struct object_failure mute = { .status = 400, .error = { .code = "Odd" } };
	struct object_failure bare = { .status = 503 };
	struct object_failure missing = { .status = 404 };
	struct object_failure denied = { .status = 403 };
	static char large[3000];

	(void)state;
	assert_true(matches(s3_put_as_go, "^Our disk is full\\.$", &coded, "<Error>"));
	assert_false(matches(s3_put_as_go, "^disk", &coded, "<Error>"));
	assert_true(matches(s3_put_as_go, "^Error response code Odd\\.$", &mute, "<Error>"));
	assert_true(matches(s3_put_as_go, "^503 Service Unavailable$", &bare, ""));
	assert_true(matches(s3_put_as_go, "^no healthy upstream$", &bare, "no healthy upstream"));
	assert_true(matches(s3_put_as_go, "^The specified key does not exist\\.$", &missing, ""));
	assert_true(matches(s3_put_as_go, "^Access Denied\\.$", &denied, ""));
	memset(large, 'x', sizeof(large) - 1);
	assert_true(matches(s3_put_as_go, "^x{1024}\\.\\.\\.$", &bare, large));
}

static void test_oss(void **state)
{
	struct object_failure coded = {
		.status = 409,
		.error = { .code = "Odd", .message = "Full.", .request_id = "5C1B", .ec = "0003" }
	};
	struct object_failure bare = { .status = 502 };

	(void)state;
	assert_true(matches(oss_put_as_go,
			    "^oss: service returned error: StatusCode=409, ErrorCode=Odd, "
			    "ErrorMessage=\"Full\\.\", RequestId=5C1B, Ec=0003$",
			    &coded, "<Error>"));
	assert_true(matches(oss_put_as_go, "StatusCode=502, ErrorCode=,", &bare, ""));
	assert_true(matches(oss_put_as_go, "^oss: unknown response body, status code = 502,", &bare,
			    "<html>"));
}

static int set_up(void **state)
{
	return http_fixture_set_up(state, &(struct http_client_options){ .user_agent = "t" });
}

static void test_net(void **state)
{
	struct http_fixture *f = *state;
	struct http_request request = { .method = "PUT", .url = "http://127.0.0.1:9/b/k?x=%20" };
	struct history history;

	begin(&history, f->loop,
	      "^Put \"http://127\\.0\\.0\\.1:9/b/k\\?x=%20\": "
	      "dial tcp 127\\.0\\.0\\.1:9: connect: connection refused$");
	request.retry = &history.retry;
	assert_true(http_fixture_perform(f, &request) < 0);
	assert_true(history.retry.is_matched);
	/* What is printed is ours, without the query. */
	assert_null(strstr(f->err.message, "%20"));
	/* It counts for a failure that would be final, once. */
	error_set(&f->err, -EIO, "never mind");
	assert_true(retry_next(&history.retry, &f->err) >= 0);
	assert_int_equal(retry_next(&history.retry, &f->err), -1);
	transient_pattern_free(history.pattern);
}

static void test_without_a_pattern(void **state)
{
	struct retry_policy policy = { .rounds = 1 };
	struct retry retry;

	(void)state;
	retry_begin(&retry, &policy, NULL, NULL, "test");
	retry_note_text(&retry, "%s", "anything");
	assert_false(retry.is_matched);
	retry_note_text(NULL, "%s", "anything");
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_s3),
		cmocka_unit_test(test_oss),
		cmocka_unit_test_setup_teardown(test_net, set_up, http_fixture_tear_down),
		cmocka_unit_test(test_without_a_pattern),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
