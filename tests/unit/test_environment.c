#include "executor/template/environment.h"

#include <errno.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include <cmocka.h>

static struct environment environment;
static struct error err;

/* Only ours: the test runner speaks to cmocka through the environment. */
static void forget_ours(void)
{
	for (char **p = environ; *p;) {
		char name[128];

		if (strncmp(*p, "ARGO_", 5) != 0) {
			p++;
			continue;
		}
		snprintf(name, sizeof(name), "%.*s", (int)strcspn(*p, "="), *p);
		unsetenv(name);
		p = environ;
	}
}

/* "NAME=value|NAME=value": this and nothing else is set; returns environment_load(). */
static int load(const char *variables)
{
	char *copy = strdup(variables), *rest = copy, *word;

	forget_ours();
	while ((word = strsep(&rest, "|"))) {
		char *value = strchr(word, '=');

		if (value) {
			*value = '\0';
			setenv(word, value + 1, 1);
		}
	}
	free(copy);
	err = ERROR_NONE;
	return environment_load(&environment, &err);
}

static void test_everything(void **state)
{
	(void)state;
	assert_int_equal(load("ARGO_POD_NAME=p|ARGO_WORKFLOW_NAME=w|ARGO_WORKFLOW_UID=u|"
			      "ARGO_INSTANCE_ID=i|ARGO_NODE_ID=n|ARGO_CONTAINER_NAME=c|"
			      "ARGO_INCLUDE_SCRIPT_OUTPUT=true|ARGO_INITLESS_POD=true|"
			      "ARGO_DEADLINE=2026-08-21T12:39:06Z|"
			      "ARGO_TERMINATION_GRACE_PERIOD_SECONDS=7|"
			      "ARGO_PROGRESS_FILE=/var/run/argo/progress|"
			      "ARGO_PROGRESS_PATCH_TICK_DURATION=1m0s|"
			      "ARGO_PROGRESS_FILE_TICK_DURATION=3s"),
			 0);
	assert_string_equal(environment.pod_name, "p");
	assert_string_equal(environment.workflow_name, "w");
	assert_string_equal(environment.workflow_uid, "u");
	assert_string_equal(environment.instance_id, "i");
	assert_string_equal(environment.node_id, "n");
	assert_string_equal(environment.container_name, "c");
	assert_true(environment.wants_script_output && environment.is_initless);
	assert_true(environment.has_deadline);
	assert_int_equal(environment.deadline_s, 1787315946);
	assert_int_equal(environment.grace_s, 7);
	assert_string_equal(environment.progress_file, "/var/run/argo/progress");
	assert_int_equal(environment.progress_patch_ms, 60000);
}

static void test_next_to_nothing(void **state)
{
	(void)state;
	assert_int_equal(load("ARGO_POD_NAME="), 0);
	assert_string_equal(environment.workflow_name, "");
	assert_string_equal(environment.container_name, "");
	assert_false(environment.wants_script_output || environment.is_initless);
	assert_false(environment.has_deadline);
	assert_int_equal(environment.grace_s, ENVIRONMENT_GRACE_DEFAULT_S);
	assert_string_equal(environment.progress_file, "");
}

static void test_not_a_controllers_pod(void **state)
{
	(void)state;
	assert_int_equal(load("ARGO_WORKFLOW_NAME=w"), -ENXIO);
	assert_non_null(strstr(err.message, "ARGO_POD_NAME is not set"));
	environment_load_wrapper(&environment); /* a wrapper needs none of it */
	assert_string_equal(environment.pod_name, "");
	assert_string_equal(environment.workflow_name, "w");
}

static void test_deadlines(void **state)
{
	(void)state;
	assert_int_equal(load("ARGO_POD_NAME=p|ARGO_DEADLINE=0001-01-01T00:00:00Z"), 0);
	assert_false(environment.has_deadline);
	assert_int_equal(load("ARGO_POD_NAME=p|ARGO_DEADLINE="), 0);
	assert_false(environment.has_deadline);
	assert_int_equal(load("ARGO_POD_NAME=p|ARGO_DEADLINE=1970-01-01T00:00:00Z"), 0);
	assert_true(environment.has_deadline);
	assert_int_equal(load("ARGO_POD_NAME=p|ARGO_DEADLINE=tomorrow"), -EINVAL);
	assert_string_equal(err.message, "ARGO_DEADLINE \"tomorrow\" is not an RFC 3339 time");
}

static void test_booleans_are_exact(void **state)
{
	static const char *const no[] = { "false", "True", "1", "t", "", "true " };

	(void)state;
	forget_ours();
	assert_false(environment_is_true("X"));
	for (size_t i = 0; i < sizeof(no) / sizeof(no[0]); i++) {
		setenv("X", no[i], 1);
		assert_false(environment_is_true("X"));
	}
	setenv("X", "true", 1);
	assert_true(environment_is_true("X"));
	assert_string_equal(environment_get("X"), "true");
	assert_string_equal(environment_get("Y"), "");
}

static const struct {
	const char *text;
	int64_t seconds;
} graces[] = {
	{ "", ENVIRONMENT_GRACE_DEFAULT_S },
	{ "soon", ENVIRONMENT_GRACE_DEFAULT_S },
	{ "1.5", ENVIRONMENT_GRACE_DEFAULT_S },
	{ "0", ENVIRONMENT_GRACE_DEFAULT_S },
	{ "-5", ENVIRONMENT_GRACE_DEFAULT_S },
	{ "1", 1 },
	{ "31536000", 31536000 },
	{ "9223372036854775", ENVIRONMENT_GRACE_MAX_S },
	{ "9223372036854775807", ENVIRONMENT_GRACE_MAX_S },
	{ "9223372036854775808", ENVIRONMENT_GRACE_DEFAULT_S },
};

static void test_grace(void **state)
{
	int64_t ns;

	(void)state;
	for (size_t i = 0; i < sizeof(graces) / sizeof(graces[0]); i++) {
		setenv("ARGO_TERMINATION_GRACE_PERIOD_SECONDS", graces[i].text, 1);
		environment_load_wrapper(&environment);
		assert_int_equal(environment.grace_s, graces[i].seconds);
		assert_false(__builtin_mul_overflow(environment.grace_s, 1000000000LL, &ns));
	}
}

/* Without two positive durations there is no progress. */
static void test_progress_off(void **state)
{
	static const char *const pairs[][2] = {
		{ "0s", "3s" }, { "1m", "0" },   { "", "3s" },
		{ "1m", "" },   { "-1s", "3s" }, { "soon", "3s" },
	};
	char variables[200];

	(void)state;
	for (size_t i = 0; i < sizeof(pairs) / sizeof(pairs[0]); i++) {
		snprintf(variables, sizeof(variables),
			 "ARGO_POD_NAME=p|ARGO_PROGRESS_FILE=/f|"
			 "ARGO_PROGRESS_PATCH_TICK_DURATION=%s|ARGO_PROGRESS_FILE_TICK_DURATION=%s",
			 pairs[i][0], pairs[i][1]);
		assert_int_equal(load(variables), 0);
		assert_string_equal(environment.progress_file, "");
	}
	assert_int_equal(load("ARGO_POD_NAME=p|ARGO_PROGRESS_FILE=/f|"
			      "ARGO_PROGRESS_PATCH_TICK_DURATION=1us|"
			      "ARGO_PROGRESS_FILE_TICK_DURATION=1us"),
			 0);
	assert_string_equal(environment.progress_file, "/f");
	assert_int_equal(environment.progress_patch_ms, 1);
}

static void test_lists_of_names(void **state)
{
	static const char *const lists[][2] = {
		{ "", "" },
		{ "a", "a;" },
		{ "a,b-c", "a;b-c;" },
		{ " a , b ,", "a;b;" },
		{ ",, ,\t\n,", "" },
		{ "a b,c", "a b;c;" },
	};
	char name[ENVIRONMENT_NAME_MAX], found[1024], longest[400];
	const char *cursor;

	(void)state;
	for (size_t i = 0; i < sizeof(lists) / sizeof(lists[0]); i++) {
		cursor = lists[i][0];
		found[0] = '\0';
		while (environment_next_name(&cursor, name)) {
			size_t used = strlen(found);

			snprintf(found + used, sizeof(found) - used, "%.200s;", name);
		}
		assert_string_equal(found, lists[i][1]);
	}
	memset(longest, 'x', sizeof(longest) - 1);
	longest[sizeof(longest) - 1] = '\0';
	cursor = longest;
	assert_true(environment_next_name(&cursor, name));
	assert_int_equal(strlen(name), ENVIRONMENT_NAME_MAX - 1);
	assert_false(environment_next_name(&cursor, name));
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_everything),
		cmocka_unit_test(test_next_to_nothing),
		cmocka_unit_test(test_not_a_controllers_pod),
		cmocka_unit_test(test_deadlines),
		cmocka_unit_test(test_booleans_are_exact),
		cmocka_unit_test(test_grace),
		cmocka_unit_test(test_progress_off),
		cmocka_unit_test(test_lists_of_names),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
