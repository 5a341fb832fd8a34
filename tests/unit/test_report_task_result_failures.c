/* The upsert machine: refusals, outages, deadlines, sizes. */
#include "executor/base/clock.h"
#include "executor/report/outputs.h"
#include "tests/unit/task_result_fixture.h"

#include <errno.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include <cmocka.h>

#define FORBIDDEN \
	"{\"kind\":\"Status\",\"message\":\"workflowtaskresults.argoproj.io is forbidden: User " \
	"\\\"u\\\" cannot create resource\",\"reason\":\"Forbidden\",\"code\":403}"
#define UNAVAILABLE "{\"kind\":\"Status\",\"message\":\"etcdserver: leader changed\",\"code\":500}"

static void test_long_progress_is_refused(void **state)
{
	struct fixture f;
	char text[100];

	(void)state;
	memset(text, '1', sizeof(text));
	text[sizeof(text) - 1] = '\0';
	begin(&f);
	assert_int_equal(task_result_set_progress(f.result, text), -EINVAL);
	fixture_settle(&f);
	fixture_end(&f);
}

static void test_forbidden_names_the_permission(void **state)
{
	static const struct api_fault no = { .kind = API_ANSWERS,
					     .status = 403,
					     .body = FORBIDDEN };
	struct fixture f;

	(void)state;
	begin(&f, no, no, no);
	task_result_want_placeholder(f.result);
	fixture_settle_badly(
		&f, "workflowtaskresults.argoproj.io is forbidden: User \"u\" cannot create "
		    "resource; grant the pod's service account create and patch on "
		    "workflowtaskresults.argoproj.io");
	/* Outputs and label are tried all the same, each once. */
	fixture_set_outputs(&f, "{\"result\":\"a\"}");
	task_result_finalize(f.result);
	fixture_settle_badly(&f, "forbidden");
	expect(&f, CREATED "}", CREATED ",\"outputs\":{\"result\":\"a\"}}", CREATED "}");
	fixture_end(&f);
}

static void test_label_is_set_though_outputs_are_invalid(void **state)
{
	struct fixture f;
	struct error err = ERROR_NONE;

	(void)state;
	begin(&f, { .kind = API_WORKS },
	      { .kind = API_ANSWERS,
		.status = 422,
		.body = "{\"kind\":\"Status\",\"message\":\"outputs.artifacts[0].name: Invalid "
			"value\",\"reason\":\"Invalid\",\"code\":422}" });
	task_result_want_placeholder(f.result);
	fixture_set_outputs(&f, "{\"result\":\"a\"}");
	task_result_finalize(f.result);
	fixture_settle_badly(&f, "Invalid value");
	assert_int_equal(task_result_wait(f.result, TASK_RESULT_FINAL, &err), 0);
	assert_int_equal(task_result_wait(f.result, TASK_RESULT_OUTPUTS, &err), -EINVAL);
	expect(&f, CREATED "}", PATCH_OUTPUTS("1", "a"), PATCH_FINAL("1"));
	fixture_end(&f);
}

static void test_newer_outputs_are_tried_after_a_refusal(void **state)
{
	struct fixture f;

	(void)state;
	begin(&f, { .kind = API_WORKS },
	      { .kind = API_ANSWERS, .status = 422, .body = "{\"kind\":\"Status\"}" });
	task_result_want_placeholder(f.result);
	fixture_settle(&f);
	fixture_set_outputs(&f, "{\"result\":\"bad\"}");
	fixture_set_outputs(&f, "{\"result\":\"good\"}");
	fixture_settle(&f);
	expect(&f, CREATED "}", PATCH_OUTPUTS("1", "bad"), PATCH_OUTPUTS("1", "good"));
	fixture_end(&f);
}

static void test_missing_definition_is_permanent(void **state)
{
	struct fixture f;

	(void)state;
	begin(&f, { .kind = API_ANSWERS,
		    .status = 404,
		    .body = "404 page not found\n",
		    .headers = "Content-Type: text/plain\r\n" });
	task_result_want_placeholder(f.result);
	fixture_settle_badly(&f, "HTTP status 404: 404 page not found; is namespace argo there");
	fixture_end(&f);
}

/* Success that is not the object has stored nothing; that of no words at all may have. */
static void test_success_of_a_stranger(void **state)
{
	static const char *const bodies[] = { "[]", "{}", "{\"metadata\":{\"name\":\"node-2\"}}" };
	struct fixture f;

	(void)state;
	for (size_t i = 0; i < sizeof(bodies) / sizeof(bodies[0]); i++) {
		begin(&f, { .kind = API_WORKS },
		      { .kind = API_ANSWERS, .status = 200, .body = bodies[i] });
		task_result_want_placeholder(f.result);
		fixture_set_outputs(&f, "{\"result\":\"a\"}");
		task_result_finalize(f.result);
		fixture_settle_badly(&f, "node-1: the answer is not that object: is that a "
					 "Kubernetes API server?");
		expect(&f, CREATED "}", PATCH_OUTPUTS("1", "a"), LEARNED, PATCH_FINAL("1"));
		fixture_end(&f);
	}
	begin(&f, { .kind = API_WORKS }, { .kind = API_ANSWERS, .status = 200, .body = "" });
	task_result_want_placeholder(f.result);
	fixture_set_outputs(&f, "{\"result\":\"a\"}");
	fixture_settle(&f);
	expect(&f, CREATED "}", PATCH_OUTPUTS("1", "a"), LEARNED, PATCH_OUTPUTS("1", "a"));
	fixture_expect_object(&f, "{\"result\":\"a\"}", "false");
	fixture_end(&f);
}

static void test_outage_is_outlived_and_logged_once(void **state)
{
	static const struct api_fault out = { .kind = API_ANSWERS,
					      .status = 500,
					      .body = UNAVAILABLE };
	struct fixture f;
	char text[4096] = "";

	(void)state;
	begin(&f, out, out, { .kind = API_RESETS }, out, out);
	task_result_want_placeholder(f.result);
	fixture_settle(&f);
	api_server_stop(f.server);
	assert_int_equal(api_server_count(f.server), 6);
	assert_true(pread(f.log.fd, text, sizeof(text) - 1, 0) > 0);
	assert_ptr_equal(strchr(text, '\n'), strrchr(text, '\n'));
	assert_non_null(strstr(text, "etcdserver: leader changed"));
	fixture_end(&f);
}

static void test_deadline_ends_it(void **state)
{
	static const struct api_fault hangs = { .kind = API_HANGS };
	struct fixture f;
	int64_t started = clock_now_ms();

	(void)state;
	begin(&f, hangs);
	task_result_want_placeholder(f.result);
	task_result_set_deadline(f.result, started + 100);
	fixture_settle_badly(&f, "not stored before the pod's time was up");
	assert_in_range(clock_now_ms() - started, 99, 5000);
	/* From then on nothing is sent. */
	task_result_finalize(f.result);
	fixture_settle_badly(&f, "time was up");
	api_server_stop(f.server);
	assert_int_equal(api_server_count(f.server), 1);
	fixture_end(&f);
}

static void test_deadline_shortens_a_pause(void **state)
{
	struct fixture f;
	int64_t started = clock_now_ms();

	(void)state;
	begin(&f,
	      { .kind = API_ANSWERS, .status = 429, .body = "", .headers = "Retry-After: 60\r\n" });
	task_result_want_placeholder(f.result);
	task_result_set_deadline(f.result, started + 2000);
	fixture_settle(&f);
	assert_true(clock_now_ms() - started < 2000);
	api_server_stop(f.server);
	assert_int_equal(api_server_count(f.server), 2);
	fixture_end(&f);
}

static void test_retry_after_is_obeyed(void **state)
{
	struct fixture f;
	int64_t started = clock_now_ms();

	(void)state;
	begin(&f, { .kind = API_ANSWERS,
		    .status = 429,
		    .body = "{\"kind\":\"Status\",\"message\":\"slow\",\"code\":429,"
			    "\"details\":{\"retryAfterSeconds\":1}}" });
	task_result_want_placeholder(f.result);
	fixture_settle(&f);
	assert_true(clock_now_ms() - started >= 1000);
	fixture_end(&f);
}

static void test_too_large_outputs_are_cut(void **state)
{
	_cleanup_json_ struct json_object *outputs =
		fixture_parse("{\"parameters\":[{\"name\":\"p\"}]}");
	char *value = malloc(OUTPUTS_BYTES_MAX + 1);
	struct fixture f;
	struct error err = ERROR_NONE;

	(void)state;
	begin(&f);
	memset(value, 'x', OUTPUTS_BYTES_MAX);
	value[OUTPUTS_BYTES_MAX] = '\0';
	json_set_string(json_at(json_get(outputs, "parameters"), 0), "value", value);
	free(value);
	task_result_want_placeholder(f.result);
	assert_int_equal(task_result_set_outputs(f.result, outputs, &err), -EMSGSIZE);
	assert_non_null(strstr(err.message, "parameter p (1048578 bytes)"));
	fixture_settle(&f);
	api_server_stop(f.server);
	fixture_expect_object(&f, "{\"parameters\":[{\"name\":\"p\"}]}", "false");
	fixture_end(&f);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_long_progress_is_refused),
		cmocka_unit_test(test_forbidden_names_the_permission),
		cmocka_unit_test(test_label_is_set_though_outputs_are_invalid),
		cmocka_unit_test(test_newer_outputs_are_tried_after_a_refusal),
		cmocka_unit_test(test_missing_definition_is_permanent),
		cmocka_unit_test(test_success_of_a_stranger),
		cmocka_unit_test(test_outage_is_outlived_and_logged_once),
		cmocka_unit_test(test_deadline_ends_it),
		cmocka_unit_test(test_deadline_shortens_a_pause),
		cmocka_unit_test(test_retry_after_is_obeyed),
		cmocka_unit_test(test_too_large_outputs_are_cut),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
