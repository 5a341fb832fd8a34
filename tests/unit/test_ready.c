/* What a wrapper makes of the supervisor's file `status`. */
#include "emissary/ready.h"

#include "executor/event/loop.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cmocka.h>

#include "tests/unit/scratch.h"

/* It has 30 s to show up, and 30 s from one sign of life to the next. */
static void test_silence(void **state)
{
	static const char *const texts[] = { NULL, "", "RUNNING\n", "RUNNING", "junk", "READYX\n" };

	(void)state;
	for (size_t i = 0; i < sizeof(texts) / sizeof(texts[0]); i++) {
		assert_int_equal(ready_judge(texts[i], 0), READY_WAIT);
		assert_int_equal(ready_judge(texts[i], 30000), READY_WAIT);
		assert_int_equal(ready_judge(texts[i], 30001), READY_DEAD);
	}
}

/* However old: it is said once. */
static void test_last_words(void **state)
{
	(void)state;
	for (int64_t age_ms = 0; age_ms <= 3600000; age_ms += 3600000) {
		assert_int_equal(ready_judge("READY\n", age_ms), READY_GO);
		assert_int_equal(ready_judge("READY", age_ms), READY_GO);
		assert_int_equal(ready_judge("FAILED\nno such key\n", age_ms), READY_FAILED);
		assert_int_equal(ready_judge("FAILED", age_ms), READY_FAILED);
	}
}

/* Only that it is not there yet is worth waiting for. */
static void test_what_cannot_be_looked_at(void **state)
{
	struct event_loop *loop = event_loop_new();
	struct error err = ERROR_NONE;
	char root[4096];

	(void)state;
	assert_non_null(loop);
	assert_int_equal(symlink("loop", scratch_path("loop")), 0);
	snprintf(root, sizeof(root), "%s", scratch_path("loop"));
	assert_true(ready_await(loop, root, &err) < 0);
	assert_non_null(strstr(err.message, "loop/status"));
	event_loop_free(loop);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_silence),
		cmocka_unit_test(test_last_words),
		cmocka_unit_test(test_what_cannot_be_looked_at),
	};

	return cmocka_run_group_tests(tests, scratch_set_up, scratch_tear_down);
}
