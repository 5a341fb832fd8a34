/* The outputs object, from template and captured values. */
#include "executor/report/outputs.h"

#include <errno.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

static struct json_object *parse(const char *text)
{
	struct json_object *value = NULL;
	struct error err = ERROR_NONE;

	if (text && json_parse(text, strlen(text), "test", &value, &err) < 0)
		fail_msg("%s", err.message);
	return value;
}

static void expect(const char *template, const char *values, const char *saved, const char *logs,
		   const char *result, const char *wanted)
{
	_cleanup_json_ struct json_object *a = parse(template), *b = parse(values);
	_cleanup_json_ struct json_object *c = parse(saved), *d = parse(logs), *e = parse(wanted);
	_cleanup_json_ struct json_object *before = json_copy(a), *outputs = NULL;
	_cleanup_buffer_ struct buffer text = BUFFER_INIT(65536);
	struct outputs_source source = {
		.template_outputs = a,
		.values = b,
		.saved_artifacts = c,
		.log_artifacts = d,
		.result = result,
		.result_size = result ? strlen(result) : 0,
	};

	assert_int_equal(outputs_build(&source, &outputs, NULL), 0);
	json_print(outputs, &text, NULL);
	if (!json_equal(outputs, e))
		fail_msg("%s is not %s", buffer_string(&text), wanted);
	assert_true(json_equal(a, before)); /* the template is left as it was */
}

static void test_nothing(void **state)
{
	(void)state;
	expect(NULL, NULL, NULL, NULL, NULL, "{}");
	expect("{\"artifacts\":[{\"name\":\"a\",\"path\":\"/a\"}]}", "{}", "[]", "[]", NULL, "{}");
	expect("{\"parameters\":[]}", NULL, NULL, NULL, "", "{\"result\":\"\"}");
}

/* As Argo 4.1.2 reports it (fixture output-parameter). */
static void test_parameters(void **state)
{
	(void)state;
	expect("{\"parameters\":[{\"name\":\"hello-param\",\"valueFrom\":{\"path\":\"/tmp/h\","
	       "\"default\":\"Foobar\"},\"globalName\":\"my-global\"},"
	       "{\"name\":\"space\",\"valueFrom\":{\"path\":\"/tmp/space\"}}]}",
	       "{\"hello-param\":\"hello world\",\"space\":\"  a\\n\\nb \\n\"}", NULL,
	       "[{\"name\":\"main-logs\",\"s3\":{\"key\":\"k/main.log\"}}]", "result-line",
	       "{\"artifacts\":[{\"name\":\"main-logs\",\"s3\":{\"key\":\"k/main.log\"}}],"
	       "\"parameters\":[{\"globalName\":\"my-global\",\"name\":\"hello-param\","
	       "\"value\":\"hello world\",\"valueFrom\":{\"default\":\"Foobar\",\"path\":"
	       "\"/tmp/h\"}},{\"name\":\"space\",\"value\":\"  a\\n\\nb \\n\",\"valueFrom\":"
	       "{\"path\":\"/tmp/space\"}}],\"result\":\"result-line\"}");
}

/* A parameter that could not be read stays without value (fixture missing-output-parameter). */
static void test_missing_parameter(void **state)
{
	(void)state;
	expect("{\"parameters\":[{\"name\":\"p\",\"valueFrom\":{\"path\":\"/tmp/none\"}}]}", "{}",
	       NULL, NULL, NULL,
	       "{\"parameters\":[{\"name\":\"p\",\"valueFrom\":{\"path\":\"/tmp/none\"}}]}");
}

static void test_scalars_become_strings(void **state)
{
	(void)state;
	expect("{\"parameters\":[{\"name\":\"p\",\"value\":1.50,\"default\":true,"
	       "\"enum\":[1,\"b\",false,12345678901234567],\"valueFrom\":{\"default\":7}}]}",
	       NULL, NULL, NULL, NULL,
	       "{\"parameters\":[{\"name\":\"p\",\"value\":\"1.50\",\"default\":\"true\","
	       "\"enum\":[\"1\",\"b\",\"false\",\"12345678901234567\"],"
	       "\"valueFrom\":{\"default\":\"7\"}}]}");
}

static void test_unknown_fields_survive(void **state)
{
	(void)state;
	expect("{\"parameters\":[{\"name\":\"p\",\"description\":\"d\",\"new\":{\"a\":[1]}}]}",
	       "{\"p\":\"v\",\"other\":\"x\"}", NULL, NULL, NULL,
	       "{\"parameters\":[{\"name\":\"p\",\"description\":\"d\",\"new\":{\"a\":[1]},"
	       "\"value\":\"v\"}]}");
}

static void test_artifacts_in_order_with_required_members(void **state)
{
	(void)state;
	expect(NULL, NULL,
	       "[{\"name\":\"s\",\"path\":\"/s\",\"archive\":{\"none\":{}},\"s3\":{\"key\":\"k\"}},"
	       "{\"name\":\"a\",\"azure\":{\"blob\":\"b\"}},{\"name\":\"g\",\"gcs\":{}},"
	       "{\"name\":\"o\",\"oss\":{\"bucket\":\"b\"}},{\"name\":\"p\",\"plugin\":{}},"
	       "{\"name\":\"h\",\"hdfs\":{}},{\"name\":\"w\",\"http\":{}},"
	       "{\"name\":\"f\",\"artifactory\":{}},{\"name\":\"t\",\"git\":{}},"
	       "{\"name\":\"r\",\"raw\":{\"data\":\"d\"}}]",
	       "[{\"name\":\"main-logs\",\"oss\":{\"key\":\"l\"}}]", NULL,
	       "{\"artifacts\":[{\"name\":\"s\",\"path\":\"/s\",\"archive\":{\"none\":{}},"
	       "\"s3\":{\"key\":\"k\"}},"
	       "{\"name\":\"a\",\"azure\":{\"blob\":\"b\",\"container\":\"\",\"endpoint\":\"\"}},"
	       "{\"name\":\"g\",\"gcs\":{\"key\":\"\"}},"
	       "{\"name\":\"o\",\"oss\":{\"bucket\":\"b\",\"key\":\"\"}},"
	       "{\"name\":\"p\",\"plugin\":{\"key\":\"\"}},{\"name\":\"h\",\"hdfs\":{\"path\":\"\"}},"
	       "{\"name\":\"w\",\"http\":{\"url\":\"\"}},"
	       "{\"name\":\"f\",\"artifactory\":{\"url\":\"\"}},"
	       "{\"name\":\"t\",\"git\":{\"repo\":\"\"}},{\"name\":\"r\",\"raw\":{\"data\":\"d\"}},"
	       "{\"name\":\"main-logs\",\"oss\":{\"key\":\"l\"}}]}");
}

static void test_hostile_templates(void **state)
{
	(void)state;
	expect("[]", "[]", "{}", "7", NULL, "{}");
	expect("{\"parameters\":{\"a\":1},\"artifacts\":7}", "7", NULL, NULL, NULL, "{}");
	expect("{\"parameters\":[7,null,\"x\",{\"name\":[1],\"enum\":{}}]}", NULL, NULL, NULL, NULL,
	       "{\"parameters\":[{\"name\":[1],\"enum\":{}}]}");
}

static void test_result_bytes(void **state)
{
	_cleanup_json_ struct json_object *outputs = NULL;
	struct outputs_source source = { .result = "a\0\xff", .result_size = 3 };
	size_t size;

	(void)state;
	assert_int_equal(outputs_build(&source, &outputs, NULL), 0);
	assert_memory_equal(json_string(json_get(outputs, "result"), &size), "a\0\xef\xbf\xbd", 5);
	assert_int_equal(size, 5);
}

static void limit_beside(const char *text, size_t others, size_t max, int code, const char *wanted,
			 const char *message)
{
	_cleanup_json_ struct json_object *outputs = parse(text), *value = parse(wanted);
	struct error err = ERROR_NONE;

	assert_int_equal(outputs_limit(outputs, others, max, &err), code);
	assert_true(json_equal(outputs, value));
	if (message && !strstr(err.message, message))
		fail_msg("\"%s\" is not in \"%s\"", message, err.message);
	assert_int_equal(err.code, code);
}

static void limit(const char *text, size_t max, int code, const char *wanted, const char *message)
{
	limit_beside(text, 0, max, code, wanted, message);
}

static void test_limit_beside_another_writer(void **state)
{
	static const char text[] = "{\"result\":\"bbbb\"}";

	(void)state;
	limit_beside(text, 83, 100, 0, text, NULL);
	limit_beside(text, 84, 100, -EMSGSIZE, "{}",
		     "outputs of 101 bytes (another writer's are 84 of them) exceed the limit of "
		     "100; use artifacts for large values; not reported: result (6 bytes)");
	limit_beside(text, 100, 100, -EMSGSIZE, "{}", "what is left is still too large");
}

static void test_limit(void **state)
{
	static const char text[] = "{\"result\":\"bbbb\",\"parameters\":[{\"name\":\"p\",\"value\":"
				   "\"aaaaaaaa\"},{\"name\":\"q\",\"value\":\"c\"}]}";

	(void)state;
	limit(text, sizeof(text) - 1, 0, text, NULL);
	limit(text, sizeof(text) - 2, -EMSGSIZE,
	      "{\"result\":\"bbbb\",\"parameters\":[{\"name\":\"p\"},{\"name\":\"q\",\"value\":"
	      "\"c\"}]}",
	      "exceed the limit of 88; use artifacts for large values; not reported: parameter p "
	      "(10 bytes)");
	/* What is left then has 70 bytes exactly. */
	limit(text, 70, -EMSGSIZE,
	      "{\"result\":\"bbbb\",\"parameters\":[{\"name\":\"p\"},{\"name\":\"q\",\"value\":\"c\"}]}",
	      "parameter p (10 bytes)");
	limit(text, 69, -EMSGSIZE,
	      "{\"parameters\":[{\"name\":\"p\"},{\"name\":\"q\",\"value\":\"c\"}]}",
	      "parameter p (10 bytes) result (6 bytes)");
	limit(text, 1, -EMSGSIZE, "{\"parameters\":[{\"name\":\"p\"},{\"name\":\"q\"}]}",
	      "what is left is still too large");
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_nothing),
		cmocka_unit_test(test_parameters),
		cmocka_unit_test(test_missing_parameter),
		cmocka_unit_test(test_scalars_become_strings),
		cmocka_unit_test(test_unknown_fields_survive),
		cmocka_unit_test(test_artifacts_in_order_with_required_members),
		cmocka_unit_test(test_hostile_templates),
		cmocka_unit_test(test_result_bytes),
		cmocka_unit_test(test_limit),
		cmocka_unit_test(test_limit_beside_another_writer),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
