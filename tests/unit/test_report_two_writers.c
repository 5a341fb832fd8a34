/* The upsert machine, when somebody else writes the same object: at the same time, or long ago. */
#include "executor/report/outputs.h"
#include "tests/unit/task_result_fixture.h"

#include <errno.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#define ENTRY(name, key) "{\"name\":\"" name "\",\"s3\":{\"key\":\"" key "\"}}"
#define ARTIFACTS(entries) "{\"artifacts\":[" entries "]}"
#define THEIRS "{\"outputs\":" ARTIFACTS(ENTRY("x", "1")) "}"
#define BOTH ARTIFACTS(ENTRY("x", "1") "," ENTRY("a", "k"))
#define PATCH_ENTRIES(version, outputs) \
	"PATCH " ITEM " {\"metadata\":{\"resourceVersion\":\"" version "\"},\"outputs\":" outputs \
	"}"
#define IN_POD(uid) "\"annotations\":{\"tiphys/pod-uid\":\"" uid "\"},"
#define RENEWED_IN(version, annotations) \
	"PATCH " ITEM " {\"metadata\":{\"labels\":{\"" LABEL_FINAL "\":\"false\"}," \
	"\"resourceVersion\":\"" version "\"" annotations "},\"outputs\":null,\"progress\":null," \
	"\"message\":null,\"phase\":null}"
#define POD(uid) ",\"annotations\":{\"tiphys/pod-uid\":\"" uid "\"}"

static const struct api_fault theirs = { .kind = API_OTHER_WRITER, .body = THEIRS };

static void report(struct fixture *f, const char *outputs)
{
	task_result_want_placeholder(f->result);
	fixture_set_outputs(f, outputs);
	task_result_finalize(f->result);
	fixture_settle(f);
}

static void test_the_others_entries_stay(void **state)
{
	struct fixture f;

	(void)state;
	begin(&f, { .kind = API_WORKS }, theirs);
	report(&f, ARTIFACTS(ENTRY("a", "k")));
	expect(&f, CREATED "}", PATCH_ENTRIES("1", ARTIFACTS(ENTRY("a", "k"))), LEARNED,
	       PATCH_ENTRIES("2", BOTH), PATCH_FINAL("3"));
	fixture_expect_object(&f, BOTH, "true");
	fixture_end(&f);
}

/* It was there first: what the answer to a refused POST leads to tells. */
static void test_the_other_was_first(void **state)
{
	struct fixture f;

	(void)state;
	begin(&f);
	task_result_want_placeholder(f.result);
	fixture_set_outputs(&f,
			    "{\"result\":\"r\",\"parameters\":[{\"name\":\"q\",\"value\":\"1\"}]}");
	task_result_set_progress(f.result, "1/2");
	fixture_settle(&f);
	fixture_restart(&f);
	report(&f, "{\"parameters\":[{\"name\":\"p\",\"value\":\"2\"}]}");
	api_server_stop(f.server);
	fixture_expect_object(&f,
			      "{\"result\":\"r\",\"parameters\":[{\"name\":\"q\",\"value\":\"1\"},"
			      "{\"name\":\"p\",\"value\":\"2\"}]}",
			      "true");
	assert_string_equal(json_get_string(api_server_object(f.server), "progress", ""), "1/2");
	fixture_end(&f);
}

/* Between each of our requests, and while answers are lost, cut, refused and delayed. */
static void test_faults_in_between(void **state)
{
	static const struct api_fault faults[] = {
		{ .kind = API_LOSES_ANSWER },
		{ .kind = API_CUTS_ANSWER },
		{ .kind = API_RESETS },
		{ .kind = API_LOSES_REQUEST_FOR_LATER },
		{ .kind = API_ANSWERS,
		  .status = 409,
		  .body = "{\"kind\":\"Status\",\"code\":409}" },
		{ .kind = API_ANSWERS,
		  .status = 412,
		  .body = "{\"kind\":\"Status\",\"reason\":\"Conflict\",\"code\":412}" },
		{ .kind = API_ANSWERS,
		  .status = 500,
		  .body = "{\"kind\":\"Status\",\"code\":500}" },
	};

	(void)state;
	for (size_t at = 1; at < 3; at++)
		for (size_t i = 0; i < sizeof(faults) / sizeof(*faults); i++) {
			struct api_fault list[5] = { { .kind = API_WORKS } };
			struct fixture f;

			list[at] = theirs;
			list[at + 1] = faults[i];
			list[at + 2] = (struct api_fault){ .kind = API_OTHER_WRITER,
							   .body = "{\"message\":\"m\"}" };
			fixture_begin(&f, list, 5);
			report(&f, ARTIFACTS(ENTRY("a", "k")));
			api_server_stop(f.server);
			assert_int_equal(json_length(json_get(json_get(api_server_object(f.server),
								       "outputs"),
							      "artifacts")),
					 2);
			assert_string_equal(json_get_string(json_find(api_server_object(f.server),
								      "metadata", "labels", NULL),
							    LABEL_FINAL, ""),
					    "true");
			fixture_end(&f);
		}
}

/* One that sends arrays as a whole, as a merge patch does by itself: ours are sent again. */
static void test_the_other_replaces_ours(void **state)
{
	struct fixture f;

	(void)state;
	begin(&f, { .kind = API_WORKS }, { .kind = API_WORKS }, theirs);
	report(&f, ARTIFACTS(ENTRY("a", "k")));
	expect(&f, CREATED "}", PATCH_ENTRIES("1", ARTIFACTS(ENTRY("a", "k"))), PATCH_FINAL("2"),
	       LEARNED, PATCH_ENTRIES("3", BOTH), PATCH_FINAL("4"));
	fixture_expect_object(&f, BOTH, "true");
	fixture_end(&f);
}

/* Of the same pod: a second `wait` with the same template knows less than the first one. */
static void test_two_of_one_pod(void **state)
{
	struct fixture f;

	(void)state;
	begin(&f);
	fixture_restart_in(&f, "pod-1");
	report(&f, ARTIFACTS(ENTRY("a", "1") "," ENTRY("b", "1")));
	fixture_restart_in(&f, "pod-1");
	report(&f, ARTIFACTS(ENTRY("b", "2")));
	api_server_stop(f.server);
	fixture_expect_object(&f, ARTIFACTS(ENTRY("a", "1") "," ENTRY("b", "2")), "true");
	fixture_end(&f);
}

/* --- an earlier pod -------------------------------------------------------------------------- */

/* Complete, and without a word on whose it is: it is the first to go, label included. */
static void test_an_earlier_report(void **state)
{
	struct fixture f;

	(void)state;
	begin(&f);
	task_result_set_progress(f.result, "2/2");
	report(&f, "{\"result\":\"old\"}");
	fixture_restart(&f);
	task_result_want_placeholder(f.result);
	fixture_settle(&f);
	assert_string_equal(api_server_request(f.server, 5), RENEWED_IN("3", ""));
	fixture_set_outputs(&f, ARTIFACTS(ENTRY("a", "k")));
	fixture_settle(&f);
	api_server_stop(f.server);
	assert_int_equal(api_server_count(f.server), 7);
	fixture_expect_object(&f, ARTIFACTS(ENTRY("a", "k")), "false");
	assert_null(json_get(api_server_object(f.server), "progress"));
	fixture_end(&f);
}

/* It ended before it was complete: only its uid tells it from another writer of this pod. */
static void test_an_earlier_report_that_is_open(void **state)
{
	struct fixture f;

	(void)state;
	begin(&f);
	fixture_restart_in(&f, "pod-1");
	fixture_set_outputs(&f, "{\"result\":\"old\"}");
	fixture_settle(&f);
	fixture_restart_in(&f, "pod-2");
	report(&f, "{}");
	expect(&f, CREATED_IN(IN_POD("pod-1")) ",\"outputs\":{\"result\":\"old\"}}",
	       CREATED_IN(IN_POD("pod-2")) "}", LEARNED, RENEWED_IN("1", POD("pod-2")),
	       PATCH_ENTRIES("2", "{}"), PATCH_FINAL("3"));
	fixture_expect_object(&f, "{}", "true");
	fixture_end(&f);
}

/* The same outputs as before are not taken for ours, and a lost answer does not make them so. */
static void test_an_earlier_report_and_faults(void **state)
{
	static const struct api_fault faults[] = {
		{ .kind = API_LOSES_ANSWER },
		{ .kind = API_RESETS },
		{ .kind = API_LOSES_REQUEST_FOR_LATER },
		{ .kind = API_ANSWERS,
		  .status = 409,
		  .body = "{\"kind\":\"Status\",\"code\":409}" },
		{ .kind = API_OTHER_WRITER, .body = "{\"message\":\"m\"}" },
	};
	static const char *const pods[] = { "pod-2", NULL };

	(void)state;
	for (size_t i = 0; i < 2 * sizeof(faults) / sizeof(*faults); i++) {
		struct api_fault list[6] = { [5] = faults[i / 2] };
		struct fixture f;

		fixture_begin(&f, list, 6);
		fixture_restart_in(&f, pods[i % 2] ? "pod-1" : NULL);
		report(&f, "{\"result\":\"same\",\"parameters\":[{\"name\":\"old\"}]}");
		fixture_restart_in(&f, pods[i % 2]);
		report(&f, "{\"result\":\"same\"}");
		api_server_stop(f.server);
		fixture_expect_object(&f, "{\"result\":\"same\"}", "true");
		fixture_end(&f);
	}
}

/* The earlier pod is still at work when the later one has begun. */
static void test_a_later_pod_takes_over(void **state)
{
	struct task_result *later;
	struct fixture f;

	(void)state;
	begin(&f);
	fixture_restart_in(&f, "pod-1");
	fixture_set_outputs(&f, ARTIFACTS(ENTRY("a", "1")));
	fixture_settle(&f);
	later = f.result;
	f.result = NULL;
	fixture_restart_in(&f, "pod-2");
	fixture_set_outputs(&f, ARTIFACTS(ENTRY("b", "2")));
	fixture_settle(&f);
	/* The one of pod-1 again. */
	task_result_free(f.result);
	f.result = later;
	fixture_set_outputs(&f, ARTIFACTS(ENTRY("a", "1") "," ENTRY("c", "1")));
	task_result_finalize(f.result);
	fixture_settle_badly(&f,
			     "task result node-1: another pod of the same node reports there now: "
			     "nothing more is reported of this one");
	task_result_reopen(f.result);
	fixture_settle_badly(&f, "another pod of the same node");
	api_server_stop(f.server);
	fixture_expect_object(&f, ARTIFACTS(ENTRY("b", "2")), "false");
	fixture_end(&f);
}

/* Without the right to patch it is over, not repeated. */
static void test_an_earlier_report_that_may_not_be_changed(void **state)
{
	static const struct api_fault no = { .kind = API_ANSWERS,
					     .status = 403,
					     .body = "{\"kind\":\"Status\",\"code\":403}" };
	struct fixture f;

	(void)state;
	begin(&f, { .kind = API_WORKS }, { .kind = API_WORKS }, { .kind = API_WORKS },
	      { .kind = API_WORKS }, no, no);
	fixture_set_outputs(&f, "{\"result\":\"old\"}");
	task_result_finalize(f.result);
	fixture_settle(&f);
	fixture_restart(&f);
	task_result_want_placeholder(f.result);
	fixture_set_outputs(&f, "{\"result\":\"new\"}");
	task_result_finalize(f.result);
	fixture_settle_badly(&f, "grant the pod's service account create and patch");
	api_server_stop(f.server);
	assert_int_equal(api_server_count(f.server), 6);
	fixture_end(&f);
}

/* --- sizes ----------------------------------------------------------------------------------- */

static char *outputs_of(char name, size_t size)
{
	char *text = NULL, *value = malloc(size + 1);

	assert_non_null(value);
	memset(value, name, size);
	value[size] = '\0';
	assert_true(asprintf(&text, "{\"parameters\":[{\"name\":\"%c\",\"value\":\"%s\"}]}", name,
			     value) > 0);
	free(value);
	return text;
}

/* Each of them fits, both do not: the second one leaves its value out and says so. */
static void test_two_large_ones(void **state)
{
	char *first = outputs_of('p', 600000), *second = outputs_of('q', 600000);
	struct error err = ERROR_NONE;
	struct json_object *parameters;
	struct fixture f;

	(void)state;
	begin(&f);
	fixture_restart_in(&f, "pod-1");
	report(&f, first);
	fixture_restart_in(&f, "pod-1");
	task_result_want_placeholder(f.result);
	fixture_set_outputs(&f, second);
	assert_int_equal(task_result_wait(f.result, TASK_RESULT_OUTPUTS, &err), -EMSGSIZE);
	assert_non_null(strstr(err.message, "another writer's are 6000"));
	assert_non_null(strstr(err.message, "not reported: parameter q (600002 bytes)"));
	task_result_finalize(f.result);
	fixture_settle_badly(&f, "parameter q");
	api_server_stop(f.server);
	parameters = json_get(json_get(api_server_object(f.server), "outputs"), "parameters");
	assert_int_equal(json_length(parameters), 2);
	assert_int_equal(strlen(json_get_string(json_at(parameters, 0), "value", "")), 600000);
	assert_null(json_get(json_at(parameters, 1), "value"));
	fixture_end(&f);
	free(first);
	free(second);
}

/* The same after a lost answer: what was stored is all that there is room for, not too little. */
static void test_two_large_ones_and_a_lost_answer(void **state)
{
	char *first = outputs_of('p', 600000), *second = outputs_of('q', 600000);
	struct error err = ERROR_NONE;
	struct fixture f;

	(void)state;
	begin(&f, { .kind = API_WORKS }, { .kind = API_WORKS }, { .kind = API_WORKS },
	      { .kind = API_LOSES_ANSWER });
	fixture_set_outputs(&f, first);
	fixture_settle(&f);
	fixture_restart(&f);
	fixture_set_outputs(&f, second);
	assert_int_equal(task_result_wait(f.result, TASK_RESULT_OUTPUTS, &err), -EMSGSIZE);
	api_server_stop(f.server);
	/* Two POSTs, what is there, the patch, what is there now. */
	assert_int_equal(api_server_count(f.server), 5);
	fixture_end(&f);
	free(first);
	free(second);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_the_others_entries_stay),
		cmocka_unit_test(test_the_other_was_first),
		cmocka_unit_test(test_faults_in_between),
		cmocka_unit_test(test_the_other_replaces_ours),
		cmocka_unit_test(test_two_of_one_pod),
		cmocka_unit_test(test_an_earlier_report),
		cmocka_unit_test(test_an_earlier_report_that_is_open),
		cmocka_unit_test(test_an_earlier_report_and_faults),
		cmocka_unit_test(test_a_later_pod_takes_over),
		cmocka_unit_test(test_an_earlier_report_that_may_not_be_changed),
		cmocka_unit_test(test_two_large_ones),
		cmocka_unit_test(test_two_large_ones_and_a_lost_answer),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
