/* The upsert machine: what is sent in which order, and what lost, late and refused requests do. */
#include "tests/unit/task_result_fixture.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include <cmocka.h>

static void test_three_calls_in_order(void **state)
{
	struct fixture f;

	(void)state;
	begin(&f);
	task_result_want_placeholder(f.result);
	fixture_settle(&f);
	fixture_set_outputs(&f, "{\"result\":\"a\"}");
	task_result_finalize(f.result);
	fixture_settle(&f);
	expect(&f, CREATED "}", PATCH_OUTPUTS("1", "a"), PATCH_FINAL("2"));
	fixture_expect_object(&f, "{\"result\":\"a\"}", "true");
	assert_non_null(strcasestr(api_server_headers(f.server, 0),
				   "\r\nContent-Type: application/json\r\n"));
	assert_non_null(strcasestr(api_server_headers(f.server, 1),
				   "\r\nContent-Type: application/merge-patch+json\r\n"));
	assert_non_null(strcasestr(api_server_headers(f.server, 1),
				   "\r\nAuthorization: Bearer secret\r\n"));
	fixture_end(&f);
}

static void test_everything_at_once_keeps_the_order(void **state)
{
	struct fixture f;

	(void)state;
	begin(&f);
	task_result_want_placeholder(f.result);
	task_result_set_progress(f.result, "1/2");
	fixture_set_outputs(&f, "{}");
	task_result_finalize(f.result);
	fixture_settle(&f);
	expect(&f, CREATED "}",
	       "PATCH " ITEM " {\"metadata\":{\"resourceVersion\":\"1\"},\"outputs\":{},"
	       "\"progress\":\"1/2\"}",
	       PATCH_FINAL("2"));
	fixture_end(&f);
}

static void test_nothing_wanted_is_settled(void **state)
{
	struct fixture f;
	struct error err = ERROR_NONE;

	(void)state;
	begin(&f);
	fixture_settle(&f);
	assert_int_equal(task_result_wait(f.result, TASK_RESULT_OUTPUTS, &err), 0);
	api_server_stop(f.server);
	assert_int_equal(api_server_count(f.server), 0);
	fixture_end(&f);
}

static void test_newest_progress_only(void **state)
{
	struct fixture f;

	(void)state;
	begin(&f);
	task_result_want_placeholder(f.result);
	for (int i = 1; i <= 9; i++) {
		char text[16];

		snprintf(text, sizeof(text), "%d/9", i);
		assert_int_equal(task_result_set_progress(f.result, text), 0);
	}
	fixture_settle(&f);
	expect(&f, CREATED "}",
	       "PATCH " ITEM " {\"metadata\":{\"resourceVersion\":\"1\"},\"progress\":\"9/9\"}");
	fixture_end(&f);
}

static void test_object_that_is_there_already(void **state)
{
	struct fixture f;

	(void)state;
	/* The first answer is lost, so the second POST finds it there. */
	begin(&f, { .kind = API_LOSES_ANSWER });
	task_result_want_placeholder(f.result);
	fixture_settle(&f);
	fixture_set_outputs(&f, "{\"result\":\"a\"}");
	fixture_settle(&f);
	expect(&f, CREATED "}", CREATED "}", LEARNED, PATCH_OUTPUTS("1", "a"));
	fixture_end(&f);
}

static void test_object_that_is_gone_is_made_again(void **state)
{
	struct fixture f;

	(void)state;
	begin(&f, { .kind = API_WORKS }, { .kind = API_WORKS }, { .kind = API_DELETES });
	task_result_want_placeholder(f.result);
	fixture_settle(&f);
	fixture_set_outputs(&f, "{\"result\":\"a\"}");
	fixture_settle(&f);
	task_result_finalize(f.result);
	fixture_settle(&f);
	expect(&f, CREATED "}", PATCH_OUTPUTS("1", "a"), PATCH_FINAL("2"),
	       CREATED ",\"outputs\":{\"result\":\"a\"}}", PATCH_FINAL("3"));
	fixture_expect_object(&f, "{\"result\":\"a\"}", "true");
	fixture_end(&f);
}

static void test_outputs_without_placeholder(void **state)
{
	struct fixture f;

	(void)state;
	begin(&f);
	fixture_set_outputs(&f, "{\"result\":\"a\"}");
	fixture_settle(&f);
	expect(&f, CREATED ",\"outputs\":{\"result\":\"a\"}}");
	fixture_end(&f);
}

static void test_lost_answer_is_not_repeated(void **state)
{
	struct fixture f;

	(void)state;
	begin(&f, { .kind = API_WORKS }, { .kind = API_LOSES_ANSWER });
	task_result_want_placeholder(f.result);
	fixture_set_outputs(&f, "{\"result\":\"a\"}");
	task_result_finalize(f.result);
	fixture_settle(&f);
	expect(&f, CREATED "}", PATCH_OUTPUTS("1", "a"), LEARNED, PATCH_FINAL("2"));
	fixture_expect_object(&f, "{\"result\":\"a\"}", "true");
	fixture_end(&f);
}

static void test_cut_answer_is_a_lost_one(void **state)
{
	struct fixture f;

	(void)state;
	begin(&f, { .kind = API_WORKS }, { .kind = API_CUTS_ANSWER });
	task_result_want_placeholder(f.result);
	fixture_set_outputs(&f, "{\"result\":\"a\"}");
	fixture_settle(&f);
	expect(&f, CREATED "}", PATCH_OUTPUTS("1", "a"), LEARNED);
	fixture_end(&f);
}

static void test_lost_request_is_repeated(void **state)
{
	struct fixture f;

	(void)state;
	begin(&f, { .kind = API_WORKS }, { .kind = API_RESETS });
	task_result_want_placeholder(f.result);
	fixture_set_outputs(&f, "{\"result\":\"a\"}");
	fixture_settle(&f);
	expect(&f, CREATED "}", PATCH_OUTPUTS("1", "a"), LEARNED, PATCH_OUTPUTS("1", "a"));
	fixture_end(&f);
}

static void test_late_request_cannot_overwrite(void **state)
{
	struct fixture f;

	(void)state;
	/* The patch with "old" was slow: it is carried out after we have learned that it was not,
	 * and before "new" arrives, which therefore is refused and sent again. */
	begin(&f, { .kind = API_WORKS }, { .kind = API_LOSES_REQUEST_FOR_LATER });
	task_result_want_placeholder(f.result);
	fixture_settle(&f);
	fixture_set_outputs(&f, "{\"result\":\"old\"}");
	fixture_set_outputs(&f, "{\"result\":\"new\"}");
	fixture_settle(&f);
	expect(&f, CREATED "}", PATCH_OUTPUTS("1", "old"), LEARNED, PATCH_OUTPUTS("1", "new"),
	       LEARNED, PATCH_OUTPUTS("2", "new"));
	fixture_expect_object(&f, "{\"result\":\"new\"}", "false");
	fixture_end(&f);
}

static void test_other_writer_keeps_its_fields(void **state)
{
	struct fixture f;

	(void)state;
	begin(&f, { .kind = API_WORKS },
	      { .kind = API_OTHER_WRITER,
		.body = "{\"outputs\":{\"parameters\":[{\"name\":\"p\",\"value\":\"1\"}]}}" });
	task_result_want_placeholder(f.result);
	fixture_set_outputs(&f, "{\"result\":\"a\"}");
	task_result_finalize(f.result);
	fixture_settle(&f);
	expect(&f, CREATED "}", PATCH_OUTPUTS("1", "a"), LEARNED, PATCH_OUTPUTS("2", "a"),
	       PATCH_FINAL("3"));
	fixture_expect_object(
		&f, "{\"parameters\":[{\"name\":\"p\",\"value\":\"1\"}],\"result\":\"a\"}", "true");
	fixture_end(&f);
}

static void test_endless_conflicts_get_pauses(void **state)
{
	static const struct api_fault busy = { .kind = API_OTHER_WRITER,
					       .body = "{\"progress\":null}" };
	struct fixture f;

	(void)state;
	begin(&f, { .kind = API_WORKS }, busy, busy, busy, busy, busy, busy, busy, busy, busy, busy,
	      busy, busy, busy, busy, busy);
	task_result_want_placeholder(f.result);
	fixture_set_outputs(&f, "{\"result\":\"a\"}");
	fixture_settle(&f);
	api_server_stop(f.server);
	fixture_expect_object(&f, "{\"result\":\"a\"}", "false");
	assert_true(lseek(f.log.fd, 0, SEEK_END) > 0);
	fixture_end(&f);
}

/* Completed too early: the label goes back, the outputs grow, and it is completed again. */
static void test_reopened(void **state)
{
	struct fixture f;

	(void)state;
	begin(&f);
	task_result_want_placeholder(f.result);
	fixture_set_outputs(&f, "{\"result\":\"a\"}");
	task_result_finalize(f.result);
	fixture_settle(&f);
	task_result_reopen(f.result);
	fixture_settle(&f);
	fixture_expect_object(&f, "{\"result\":\"a\"}", "false");
	fixture_set_outputs(&f, "{\"result\":\"b\"}");
	task_result_finalize(f.result);
	fixture_settle(&f);
	fixture_expect_object(&f, "{\"result\":\"b\"}", "true");
	fixture_end(&f);
}

/* The other way round while the request is under way, and after a lost answer. */
static void test_reopened_under_way(void **state)
{
	struct fixture f;

	(void)state;
	begin(&f, { .kind = API_WORKS }, { .kind = API_LOSES_ANSWER });
	fixture_set_outputs(&f, "{}");
	fixture_settle(&f);
	task_result_finalize(f.result);
	task_result_reopen(f.result);
	fixture_settle(&f);
	fixture_expect_object(&f, "{}", "false");
	task_result_finalize(f.result);
	fixture_settle(&f);
	fixture_expect_object(&f, "{}", "true");
	fixture_end(&f);
}

#define PATCH_OPEN(version) \
	"PATCH " ITEM " {\"metadata\":{\"resourceVersion\":\"" version \
	"\",\"labels\":{\"" LABEL_FINAL "\":\"false\"}}}"

/* The request that completed it was slow: it is carried out when it has been learned that it was not. */
static void test_reopened_and_completed_late(void **state)
{
	struct fixture f;

	(void)state;
	begin(&f, { .kind = API_WORKS }, { .kind = API_LOSES_REQUEST_FOR_LATER });
	task_result_want_placeholder(f.result);
	fixture_settle(&f);
	task_result_finalize(f.result);
	task_result_reopen(f.result);
	fixture_settle(&f);
	fixture_set_outputs(&f, "{\"result\":\"a\"}");
	fixture_settle(&f);
	expect(&f, CREATED "}", PATCH_FINAL("1"), LEARNED, PATCH_OUTPUTS("1", "a"), LEARNED,
	       PATCH_OUTPUTS("2", "a"), PATCH_OPEN("3"));
	fixture_expect_object(&f, "{\"result\":\"a\"}", "false");
	fixture_end(&f);
}

/* The request that opens it again is slow: completed once more meanwhile, it must not come last. */
static void test_completed_and_reopened_late(void **state)
{
	struct fixture f;

	(void)state;
	begin(&f, { .kind = API_WORKS }, { .kind = API_WORKS },
	      { .kind = API_LOSES_REQUEST_FOR_LATER });
	fixture_set_outputs(&f, "{}");
	task_result_finalize(f.result);
	fixture_settle(&f);
	task_result_reopen(f.result);
	task_result_finalize(f.result);
	fixture_settle(&f);
	expect(&f, CREATED ",\"outputs\":{}}", PATCH_FINAL("1"), PATCH_OPEN("2"), LEARNED,
	       PATCH_OPEN("2"), LEARNED, PATCH_FINAL("3"));
	fixture_expect_object(&f, "{}", "true");
	fixture_end(&f);
}

/* The same, if the slow request is that of a process that has died: nobody knows of it. */
static void test_taken_over(void **state)
{
	struct fixture f;

	(void)state;
	begin(&f);
	fixture_set_outputs(&f, "{}");
	task_result_finalize(f.result);
	fixture_settle(&f);
	fixture_restart(&f);
	task_result_want_placeholder(f.result);
	task_result_take_over(f.result);
	task_result_finalize(f.result);
	fixture_settle(&f);
	expect(&f, CREATED ",\"outputs\":{}}", PATCH_FINAL("1"), CREATED "}", LEARNED,
	       PATCH_OPEN("2"), PATCH_FINAL("3"));
	fixture_expect_object(&f, "{}", "true");
	fixture_end(&f);
}

/* Slow, and then not needed: it was open. */
static void test_completed_after_a_lost_reopening(void **state)
{
	struct fixture f;

	(void)state;
	begin(&f, { .kind = API_WORKS }, { .kind = API_RESETS });
	fixture_set_outputs(&f, "{}");
	fixture_settle(&f);
	task_result_reopen(f.result);
	task_result_finalize(f.result);
	fixture_settle(&f);
	expect(&f, CREATED ",\"outputs\":{}}", PATCH_OPEN("1"), LEARNED, PATCH_FINAL("1"));
	fixture_expect_object(&f, "{}", "true");
	fixture_end(&f);
}

static void test_freed_in_the_middle(void **state)
{
	struct fixture f;

	(void)state;
	begin(&f, { .kind = API_RESETS }, { .kind = API_HANGS });
	task_result_want_placeholder(f.result);
	fixture_set_outputs(&f, "{\"result\":\"a\"}");
	event_loop_poll(f.loop);
	fixture_end(&f);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_three_calls_in_order),
		cmocka_unit_test(test_everything_at_once_keeps_the_order),
		cmocka_unit_test(test_nothing_wanted_is_settled),
		cmocka_unit_test(test_newest_progress_only),
		cmocka_unit_test(test_object_that_is_there_already),
		cmocka_unit_test(test_object_that_is_gone_is_made_again),
		cmocka_unit_test(test_outputs_without_placeholder),
		cmocka_unit_test(test_lost_answer_is_not_repeated),
		cmocka_unit_test(test_cut_answer_is_a_lost_one),
		cmocka_unit_test(test_lost_request_is_repeated),
		cmocka_unit_test(test_late_request_cannot_overwrite),
		cmocka_unit_test(test_other_writer_keeps_its_fields),
		cmocka_unit_test(test_endless_conflicts_get_pauses),
		cmocka_unit_test(test_reopened),
		cmocka_unit_test(test_reopened_under_way),
		cmocka_unit_test(test_reopened_and_completed_late),
		cmocka_unit_test(test_completed_and_reopened_late),
		cmocka_unit_test(test_taken_over),
		cmocka_unit_test(test_completed_after_a_lost_reopening),
		cmocka_unit_test(test_freed_in_the_middle),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
