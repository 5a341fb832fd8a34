/* Other containers of the pod, and how often a member of a set is run. */
#include "emissary/companions.h"

#include "emissary/attempts.h"
#include "executor/process/files.h"

#include <errno.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include <cmocka.h>

#include "tests/unit/scratch.h"

static struct event_loop *loop;
static struct template *template;
static struct error err;

static void use(const char *text)
{
	template_free(template);
	template = NULL;
	err = ERROR_NONE;
	if (template_parse(text, strlen(text), "t", &template, &err) < 0)
		fail_msg("%s", err.message);
}

static const char set[] = "{\"containerSet\":{\"containers\":[{\"name\":\"a\"},"
			  "{\"name\":\"b\",\"dependencies\":[\"a\"]},"
			  "{\"name\":\"c\",\"dependencies\":[\"a\",\"b\"]},"
			  "{\"name\":\"lost\",\"dependencies\":[\"nobody\"]}]},"
			  "\"sidecars\":[{\"name\":\"s\"}]}";

static void finish(const char *name, int code)
{
	files_make_container_directory(scratch_path(""), name, NULL);
	assert_int_equal(files_write_exit_code(scratch_path(""), name, code, NULL), 0);
}

static int failed_code;

static int await(const char *name)
{
	failed_code = 0;
	return companions_await_dependencies(template, name, loop, scratch_path(""), &failed_code,
					     &err);
}

static void test_who_is_who(void **state)
{
	(void)state;
	use(set);
	assert_non_null(companions_find_member(template, "b"));
	assert_null(companions_find_member(template, "s"));
	assert_true(companions_is_sidecar(template, "s"));
	assert_false(companions_is_sidecar(template, "a"));
	use("{\"container\":{}}");
	assert_null(companions_find_member(template, "main"));
}

static void test_ended_dependencies(void **state)
{
	(void)state;
	use(set);
	assert_int_equal(await("a"), 0);
	finish("a", 0);
	assert_int_equal(await("b"), 0);
	finish("b", 3);
	assert_int_equal(await("c"), -ECHILD);
	assert_string_equal(err.message, "dependency b exited with code 3");
	assert_int_equal(failed_code, 3);
	scratch_write("ctr/b/exitcode", "junk");
	assert_int_equal(await("c"), -EINVAL);
	assert_string_equal(err.message, "dependency b left no readable exit code");
	assert_int_equal(await("lost"), -EINVAL);
	assert_string_equal(err.message, "field containerSet.containers[lost].dependencies[0]: "
					 "there is no such container");
}

struct later {
	struct event_timer timer;
	bool cancels;
};

static void on_later(struct event_timer *timer)
{
	struct later *later = (struct later *)timer;

	if (later->cancels)
		event_loop_cancel(loop);
	else
		finish("a", 0);
}

static int await_with(bool cancels)
{
	struct later later = { .cancels = cancels };
	int r;

	use(set);
	unlink(scratch_path("ctr/a/exitcode"));
	event_timer_init(&later.timer, loop, on_later);
	event_timer_set(&later.timer, 10);
	later.cancels = cancels;
	r = await("b");
	event_timer_done(&later.timer);
	return r;
}

static void test_waiting(void **state)
{
	(void)state;
	assert_int_equal(await_with(false), 0);
	assert_int_equal(await_with(true), -ECANCELED);
	event_loop_resume(loop);
}

static int ended;

static void on_ended(struct companions *companions)
{
	assert_true(companions->have_ended);
	ended++;
}

/* Told once, when the last of them has an exit code; an empty file is none yet. */
static void test_all_must_have_ended(void **state)
{
	static const char *const names[] = { "x", "y" };
	struct companions companions;

	(void)state;
	assert_int_equal(
		companions_init(&companions, loop, scratch_path(""), names, 2, on_ended, &err), 0);
	finish("x", 1);
	scratch_write("ctr/y/exitcode", "");
	event_loop_poll(loop);
	assert_int_equal(ended, 0);
	finish("y", 0);
	event_loop_poll(loop);
	assert_int_equal(ended, 1);
	finish("y", 0);
	event_loop_poll(loop);
	assert_int_equal(ended, 1);
	companions_done(&companions);
}

static const struct {
	const char *strategy;
	int r;
	int64_t count, pause_ms;
} strategies[] = {
	{ "{}", 0, 1, 0 },
	{ "{\"retries\":3}", 0, 3, 0 },
	{ "{\"retries\":\"3\",\"duration\":\"1.5s\"}", 0, 3, 1500 },
	{ "{\"retries\":0}", 0, 1, 0 },
	{ "{\"retries\":\"0\",\"duration\":\"\"}", 0, 1, 0 },
	{ "{\"retries\":-1}", -EINVAL, 0, 0 },
	{ "{\"retries\":\"many\"}", -EINVAL, 0, 0 },
	{ "{\"retries\":1.5}", -EINVAL, 0, 0 },
	{ "{\"retries\":[]}", -EINVAL, 0, 0 },
	{ "{\"duration\":\"soon\"}", -EINVAL, 0, 0 },
	{ "{\"duration\":\"-1s\"}", -EINVAL, 0, 0 },
};

static void test_attempts(void **state)
{
	struct attempts attempts;
	char text[200];

	(void)state;
	for (size_t i = 0; i < sizeof(strategies) / sizeof(strategies[0]); i++) {
		snprintf(text, sizeof(text),
			 "{\"containerSet\":{\"containers\":[],\"retryStrategy\":%s}}",
			 strategies[i].strategy);
		use(text);
		if (attempts_load(template, &attempts, &err) != strategies[i].r)
			fail_msg("%s: %s", strategies[i].strategy, err.message);
		if (strategies[i].r < 0) {
			assert_memory_equal(err.message, "field containerSet.retryStrategy.", 33);
			continue;
		}
		assert_int_equal(attempts.count, strategies[i].count);
		assert_int_equal(attempts.pause_ms, strategies[i].pause_ms);
	}
	use("{\"container\":{}}");
	assert_int_equal(attempts_load(template, &attempts, &err), 0);
	assert_int_equal(attempts.count, 1);
}

static int set_up(void **state)
{
	loop = event_loop_new();
	return loop ? scratch_set_up(state) : -1;
}

static int tear_down(void **state)
{
	template_free(template);
	event_loop_free(loop);
	return scratch_tear_down(state);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_who_is_who), cmocka_unit_test(test_ended_dependencies),
		cmocka_unit_test(test_waiting),    cmocka_unit_test(test_all_must_have_ended),
		cmocka_unit_test(test_attempts),
	};

	return cmocka_run_group_tests(tests, set_up, tear_down);
}
