#include "executor/base/clock.h"
#include "executor/http/retry.h"

#include <errno.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

static const struct retry_policy quick = { .rounds = 3, .first_pause_ms = 1000, .factor = 2 };

static void begin(struct retry *retry, const struct retry_policy *policy)
{
	retry_begin(retry, policy, NULL, NULL, "test");
}

static void test_rounds_and_growth(void **state)
{
	/* Just below 1: the longest pauses. Two quick ones in the first of three rounds. */
	static const int64_t expected[] = { 199, 399, 999, 1999, -1 };
	struct retry retry;

	(void)state;
	begin(&retry, &quick);
	for (size_t i = 0; i < sizeof(expected) / sizeof(*expected); i++)
		assert_int_equal(retry_decide(&retry, ERROR_TRANSIENT, 1, 0.9999), expected[i]);
	assert_int_equal(retry.attempts, 5);
	assert_int_equal(retry.count[ERROR_TRANSIENT], 5);
	assert_int_equal(retry_patience_ms(&quick), 3000);
}

static void test_full_jitter(void **state)
{
	struct retry_policy policy = {
		.rounds = 9, .first_pause_ms = 10000, .factor = 1, .jitter = 0.5
	};
	struct retry retry;

	(void)state;
	begin(&retry, &policy);
	assert_int_equal(retry_decide(&retry, ERROR_THROTTLED, 1, 0), 0);
	assert_int_equal(retry_decide(&retry, ERROR_THROTTLED, 1, 0.5), 7500);
	assert_int_equal(retry_decide(&retry, ERROR_THROTTLED, 1, 0.9999), 14998);
}

static void test_pause_is_capped(void **state)
{
	struct retry_policy policy = { .rounds = RETRY_ENDLESS,
				       .first_pause_ms = 1000,
				       .factor = 2 };
	struct retry retry;

	(void)state;
	begin(&retry, &policy);
	for (int i = 0; i < 10000; i++)
		assert_in_range(retry_decide(&retry, ERROR_THROTTLED, i, 0.9999), 999,
				RETRY_PAUSE_MAX_MS);
	assert_int_equal(retry_decide(&retry, ERROR_THROTTLED, 1, 0.5), RETRY_PAUSE_MAX_MS / 2);
}

static void test_permanent(void **state)
{
	static const enum error_class final[] = { ERROR_PERMANENT, ERROR_NOT_FOUND,
						  ERROR_CANCELLED };
	struct retry retry;

	(void)state;
	for (size_t i = 0; i < 3; i++) {
		begin(&retry, &quick);
		assert_int_equal(retry_decide(&retry, final[i], 1, 0.5), -1);
	}
}

static void test_outage_is_outlasted(void **state)
{
	struct retry_policy policy = quick;
	struct retry retry;
	int64_t now_ms = 5000, pause_ms;

	(void)state;
	policy.min_total_ms = 60000;
	begin(&retry, &policy);
	while ((pause_ms = retry_decide(&retry, ERROR_TRANSIENT, now_ms, 0.7)) >= 0)
		now_ms += pause_ms;
	assert_int_equal(now_ms, 65000);
	/* Other classes are not an outage. */
	begin(&retry, &policy);
	for (int i = 0; i < 8; i++)
		assert_true(retry_decide(&retry, ERROR_EXPIRED_CREDENTIALS, 1, 0.7) >= 0);
	assert_int_equal(retry_decide(&retry, ERROR_EXPIRED_CREDENTIALS, 1, 0.7), -1);
}

static void test_outage_with_tiny_pauses(void **state)
{
	struct retry_policy policy = { .rounds = 1, .factor = 1, .min_total_ms = 60000 };
	struct retry retry;
	int64_t now_ms = 1, pause_ms;

	(void)state;
	begin(&retry, &policy);
	while ((pause_ms = retry_decide(&retry, ERROR_TRANSIENT, now_ms, 0.5)) >= 0)
		now_ms += pause_ms + 1;
	assert_in_range(now_ms, 60000, 61000);
	assert_in_range(retry.attempts, 8, 25);
}

static void test_cured_classes_wait_once_for_nothing(void **state)
{
	struct retry retry;

	(void)state;
	begin(&retry, &quick);
	assert_int_equal(retry_decide(&retry, ERROR_WRONG_REGION, 1, 0.9), 0);
	assert_int_equal(retry_decide(&retry, ERROR_EXPIRED_CREDENTIALS, 1, 0.9), 0);
	assert_true(retry_decide(&retry, ERROR_WRONG_REGION, 1, 0.9) > 0);
}

static void test_retry_after(void **state)
{
	struct retry retry;

	(void)state;
	begin(&retry, &quick);
	retry.retry_after_ms = 7000;
	assert_int_equal(retry_decide(&retry, ERROR_THROTTLED, 1, 0.5), 7000);
	assert_int_equal(retry.retry_after_ms, 0);
	assert_int_equal(retry_decide(&retry, ERROR_THROTTLED, 1, 0.5), 1000);
	begin(&retry, &quick);
	retry.retry_after_ms = INT64_MAX;
	assert_int_equal(retry_decide(&retry, ERROR_TRANSIENT, 1, 0.5), RETRY_AFTER_MAX_MS);
}

static void test_deadline(void **state)
{
	struct retry retry;

	(void)state;
	begin(&retry, &quick);
	retry.deadline_ms = 10000;
	assert_int_equal(retry_decide(&retry, ERROR_THROTTLED, 9100, 0.9), 900);
	assert_int_equal(retry_decide(&retry, ERROR_THROTTLED, 9900, 0.9), -1);
}

static void test_parse_after(void **state)
{
	char date[64];
	time_t soon = time(NULL) + 100;

	(void)state;
	assert_int_equal(retry_parse_after("0"), 0);
	assert_int_equal(retry_parse_after("120"), 120000);
	assert_int_equal(retry_parse_after("99999999999999999999"), INT64_MAX);
	assert_int_equal(retry_parse_after(""), -1);
	assert_int_equal(retry_parse_after("-1"), -1);
	assert_int_equal(retry_parse_after("1.5"), -1);
	assert_int_equal(retry_parse_after("soon"), -1);
	assert_int_equal(retry_parse_after("Sun, 06 Nov 1994 08:49:37 GMT"), 0);
	assert_int_equal(retry_parse_after("Sunday, 06-Nov-94 08:49:37 GMT"), 0);
	assert_int_equal(retry_parse_after("Sun Nov  6 08:49:37 1994"), 0);
	assert_int_equal(retry_parse_after("Sun, 06 Nov 1994 08:49:37 GMT+1"), -1);
	strftime(date, sizeof(date), "%a, %d %b %Y %H:%M:%S GMT", gmtime(&soon));
	assert_in_range(retry_parse_after(date), 98000, 100000);
}

static void test_environment(void **state)
{
	static const char *const wrong[][2] = {
		{ "EXECUTOR_RETRY_BACKOFF_STEPS", "0" },
		{ "EXECUTOR_RETRY_BACKOFF_STEPS", "5x" },
		{ "EXECUTOR_RETRY_BACKOFF_DURATION", "1" },
		{ "EXECUTOR_RETRY_BACKOFF_DURATION", "-1s" },
		{ "EXECUTOR_RETRY_BACKOFF_FACTOR", "0.5" },
		{ "EXECUTOR_RETRY_BACKOFF_FACTOR", "nan" },
		{ "EXECUTOR_RETRY_BACKOFF_JITTER", "-0.1" },
		{ "EXECUTOR_RETRY_BACKOFF_JITTER", "inf" },
	};
	struct retry_policy policy;
	struct error err = ERROR_NONE;

	(void)state;
	assert_int_equal(retry_policy_from_environment(&policy, &err), 0);
	assert_int_equal(policy.rounds, 5);
	assert_int_equal(policy.first_pause_ms, 1000);
	assert_true(policy.factor == 1.6 && policy.jitter == 0.5);
	assert_null(policy.transient);
	setenv("EXECUTOR_RETRY_BACKOFF_STEPS", "7", 1);
	setenv("EXECUTOR_RETRY_BACKOFF_DURATION", "250ms", 1);
	assert_int_equal(retry_policy_from_environment(&policy, &err), 0);
	assert_int_equal(policy.rounds, 7);
	assert_int_equal(policy.first_pause_ms, 250);
	for (size_t i = 0; i < sizeof(wrong) / sizeof(*wrong); i++) {
		setenv(wrong[i][0], wrong[i][1], 1);
		assert_int_equal(retry_policy_from_environment(&policy, &err), -EINVAL);
		assert_non_null(strstr(err.message, wrong[i][0]));
		unsetenv(wrong[i][0]);
	}
}

static void test_counts_in_message(void **state)
{
	struct retry_policy policy = { .rounds = 1, .first_pause_ms = 1, .factor = 1 };
	struct event_loop *loop = event_loop_new();
	struct error err = ERROR_NONE;
	struct retry retry;

	(void)state;
	retry_begin(&retry, &policy, loop, NULL, "put");
	error_set(&err, -EIO, "alone");
	assert_false(retry_again(&retry, &err));
	assert_string_equal(err.message, "alone");
	policy.tells_class = true;
	for (int i = 0; i < 2; i++) { /* once */
		retry_begin(&retry, &policy, loop, NULL, "put");
		assert_false(retry_again(&retry, &err));
		assert_string_equal(err.message, "alone (permanent)");
	}
	retry_begin(&retry, &policy, loop, NULL, "put");
	error_set_class(&err, -ENOENT, ERROR_NOT_FOUND, "404 Not Found");
	assert_false(retry_again(&retry, &err));
	assert_string_equal(err.message, "404 Not Found");

	retry_begin(&retry, &policy, loop, NULL, "put");
	error_set_class(&err, -EIO, ERROR_TRANSIENT, "put b/k: reset");
	assert_true(retry_again(&retry, &err));
	assert_true(retry_again(&retry, &err));
	error_set_class(&err, -EIO, ERROR_THROTTLED, "put b/k: slow down");
	assert_false(retry_again(&retry, &err));
	assert_non_null(strstr(err.message, "put b/k: slow down (3 attempts in "));
	assert_non_null(strstr(err.message, "s: 2 transient, 1 throttled)"));

	event_loop_cancel(loop);
	retry_begin(&retry, &policy, loop, NULL, "put");
	error_set_class(&err, -EIO, ERROR_TRANSIENT, "reset");
	assert_false(retry_again(&retry, &err));
	event_loop_free(loop);
}

static void test_pattern(void **state)
{
	struct retry_policy policy = { .rounds = 1, .first_pause_ms = 1, .factor = 1 };
	struct event_loop *loop = event_loop_new();
	struct transient_pattern *pattern = NULL;
	struct error err = ERROR_NONE;
	struct retry retry;

	(void)state;
	assert_int_equal(transient_pattern_new("", &pattern, &err), 0);
	assert_null(pattern);
	assert_false(transient_pattern_matches(NULL, "x"));
	assert_int_equal(transient_pattern_new("a(b", &pattern, &err), -EINVAL);
	assert_non_null(
		strstr(err.message, "TRANSIENT_ERROR_PATTERN is not a regular expression: "));
	setenv("TRANSIENT_ERROR_PATTERN", "quota (exceeded|used up)$", 1);
	assert_int_equal(transient_pattern_from_environment(&pattern, &err), 0);
	assert_true(transient_pattern_matches(pattern, "x: quota used up"));
	assert_false(transient_pattern_matches(pattern, "x: quota used up\n"));
	assert_false(transient_pattern_matches(pattern, "quota is fine"));
	assert_true(transient_pattern_matches(pattern, "\xff\xfe quota exceeded"));

	policy.transient = pattern;
	retry_begin(&retry, &policy, loop, NULL, "put");
	error_set(&err, -EACCES, "quota exceeded");
	assert_true(retry_next(&retry, &err) >= 0);
	assert_int_equal(err.class, ERROR_PERMANENT);
	assert_int_equal(retry.count[ERROR_TRANSIENT], 1);
	event_loop_cancelled_error(&err);
	assert_int_equal(retry_next(&retry, &err), -1);
	transient_pattern_free(pattern);
	event_loop_free(loop);
}

static void test_hostile_pattern_ends(void **state)
{
	struct transient_pattern *pattern = NULL;
	struct error err = ERROR_NONE;
	char text[2000];
	int64_t started_ms = clock_now_ms();

	(void)state;
	memset(text, 'a', sizeof(text));
	text[sizeof(text) - 1] = '\0';
	assert_int_equal(transient_pattern_new("(a+)+(a+)+b?(a+)+c", &pattern, &err), 0);
	assert_false(transient_pattern_matches(pattern, text));
	assert_in_range(clock_now_ms() - started_ms, 0, 5000);
	transient_pattern_free(pattern);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_rounds_and_growth),
		cmocka_unit_test(test_full_jitter),
		cmocka_unit_test(test_pause_is_capped),
		cmocka_unit_test(test_permanent),
		cmocka_unit_test(test_outage_is_outlasted),
		cmocka_unit_test(test_outage_with_tiny_pauses),
		cmocka_unit_test(test_cured_classes_wait_once_for_nothing),
		cmocka_unit_test(test_retry_after),
		cmocka_unit_test(test_deadline),
		cmocka_unit_test(test_parse_after),
		cmocka_unit_test(test_environment),
		cmocka_unit_test(test_counts_in_message),
		cmocka_unit_test(test_pattern),
		cmocka_unit_test(test_hostile_pattern_ends),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
