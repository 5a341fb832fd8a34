#include "executor/template/template.h"

#include "executor/base/cleanup.h"
#include "executor/base/fd.h"
#include "executor/template/template_check.h"

#include <errno.h>
#include <glob.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>

#include <cmocka.h>

#include "tests/unit/scratch.h"

#define _cleanup_template_ _cleanup_(template_freep)

static struct template *parse(const char *text)
{
	struct template *template = NULL;
	struct error err = ERROR_NONE;

	if (template_parse(text, strlen(text), "t", &template, &err) < 0)
		fail_msg("%s", err.message);
	return template;
}

static void test_all_fields(void **state)
{
	_cleanup_template_ struct template *template = parse(
		"{\"name\":\"x\",\"unknown\":{\"kept\":1},"
		"\"container\":{\"image\":\"i\",\"volumeMounts\":["
		"{\"name\":\"a\",\"mountPath\":\"/work\"},{\"mountPath\":\"/work/inner/\"}]},"
		"\"inputs\":{\"artifacts\":[{\"name\":\"i\",\"path\":\"/tmp//in/\",\"mode\":420,"
		"\"recurseMode\":true,\"optional\":true,\"s3\":{\"key\":\"k\"}}]},"
		"\"outputs\":{\"parameters\":[{\"name\":\"p\",\"valueFrom\":{\"path\":\"/p\"}}],"
		"\"artifacts\":[{\"name\":\"n\",\"path\":\"/a\",\"archive\":{\"none\":{}}},"
		"{\"name\":\"t\",\"path\":\"/b\",\"archive\":{\"tar\":{\"compressionLevel\":9}}},"
		"{\"name\":\"z\",\"path\":\"/c\",\"archive\":{\"zip\":{}}},"
		"{\"name\":\"u\",\"path\":\"/d\"},"
		"{\"name\":\"d\",\"path\":\"/e\",\"archive\":{\"tar\":{}}}]},"
		"\"archiveLocation\":{\"archiveLogs\":true,\"s3\":{\"bucket\":\"b\"}}}");
	static const enum template_archive archives[] = { ARCHIVE_NONE, ARCHIVE_TAR, ARCHIVE_ZIP,
							  ARCHIVE_UNSET, ARCHIVE_TAR };

	(void)state;
	assert_int_equal(template->type, TEMPLATE_CONTAINER);
	assert_int_equal(template->input_count, 1);
	assert_string_equal(template->inputs[0].name, "i");
	assert_string_equal(template->inputs[0].path, "/tmp/in");
	assert_true(template->inputs[0].has_mode && template->inputs[0].is_optional);
	assert_true(template->inputs[0].is_mode_recursive);
	assert_int_equal(template->inputs[0].mode, 0644);
	assert_int_equal(template->output_count, 5);
	for (size_t i = 0; i < 5; i++) {
		assert_int_equal(template->outputs[i].archive, archives[i]);
		assert_int_equal(template->outputs[i].compression_level, i == 1 ? 9 : -1);
		assert_false(template->outputs[i].has_mode || template->outputs[i].is_optional);
	}
	assert_string_equal(template_find_mount(template, "/work/inner/x"), "/work/inner");
	assert_string_equal(template_find_mount(template, "/work"), "/work");
	assert_null(template_find_mount(template, "/workshop"));
	assert_int_equal(template->container_count, 1);
	assert_string_equal(template->containers[0], "main");
	assert_true(template_archives_logs(template));
	assert_int_equal(json_length(template_output_parameters(template)), 1);
	assert_int_equal(json_get_int(json_get(template->json, "unknown"), "kept", 0), 1);
}

static void test_types(void **state)
{
	static const struct {
		const char *text;
		enum template_type type;
		bool has_result;
	} cases[] = {
		{ "{\"container\":{}}", TEMPLATE_CONTAINER, true },
		{ "{\"script\":{}}", TEMPLATE_SCRIPT, true },
		{ "{\"resource\":{}}", TEMPLATE_RESOURCE, false },
		{ "{\"data\":{}}", TEMPLATE_DATA, true },
		{ "{\"containerSet\":{\"containers\":[{\"name\":\"a\"}]}}", TEMPLATE_CONTAINER_SET,
		  false },
		{ "{\"containerSet\":{\"containers\":[{\"name\":\"a\"},{}]}}",
		  TEMPLATE_CONTAINER_SET, true },
		{ "{\"http\":{}}", TEMPLATE_OTHER, true },
		{ "{}", TEMPLATE_OTHER, false },
	};

	(void)state;
	for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
		_cleanup_template_ struct template *template = parse(cases[i].text);

		assert_int_equal(template->type, cases[i].type);
		assert_int_equal(template_has_result(template), cases[i].has_result);
		assert_false(template_archives_logs(template));
		assert_null(template_archive_location(template));
	}
}

static void test_container_set_and_script(void **state)
{
	_cleanup_template_ struct template *set =
		parse("{\"containerSet\":{\"volumeMounts\":[{\"mountPath\":\"/w\"}],"
		      "\"containers\":[{\"name\":\"a\"},{\"name\":\"b\"},{}]}}");
	_cleanup_template_ struct template *script =
		parse("{\"script\":{\"source\":\"echo \\u00e4\\n\"}}");
	_cleanup_template_ struct template *empty = parse("{\"script\":{\"source\":\"\"}}");
	size_t size = 0;

	(void)state;
	assert_int_equal(set->container_count, 3);
	assert_string_equal(set->containers[1], "b");
	assert_string_equal(set->containers[2], "main");
	assert_string_equal(template_find_mount(set, "/w/x"), "/w");
	assert_null(template_script_source(set, &size));
	assert_string_equal(template_script_source(script, &size), "echo \xc3\xa4\n");
	assert_int_equal(size, 8);
	assert_null(template_script_source(empty, &size));
}

static void test_wrong_kinds_are_named(void **state)
{
	static const char *const cases[][2] = {
		{ "[]", "t: field template: expected an object, found array" },
		{ "\"x\"", "t: field template: expected an object, found string" },
		{ "{\"inputs\":[]}", "t: field template.inputs: expected object, found array" },
		{ "{\"script\":\"x\"}", "t: field template.script: expected object, found string" },
		{ "{\"script\":{\"source\":1}}",
		  "t: field script.source: expected string, found number" },
		{ "{\"outputs\":{\"artifacts\":{}}}",
		  "t: field outputs.artifacts: expected array, found object" },
		{ "{\"outputs\":{\"artifacts\":[1]}}",
		  "t: field outputs.artifacts[0]: expected an object, found number" },
		{ "{\"inputs\":{\"artifacts\":[{\"name\":\"a\"},{}]}}",
		  "t: field inputs.artifacts[1].name is missing" },
		{ "{\"inputs\":{\"artifacts\":[{\"name\":\"a\",\"path\":true}]}}",
		  "t: field inputs.artifacts[0].path: expected string, found boolean" },
		{ "{\"inputs\":{\"artifacts\":[{\"name\":\"a\",\"mode\":\"0644\"}]}}",
		  "t: field inputs.artifacts[0].mode: expected number, found string" },
		{ "{\"inputs\":{\"artifacts\":[{\"name\":\"a\",\"optional\":1}]}}",
		  "t: field inputs.artifacts[0].optional: expected boolean, found number" },
		{ "{\"inputs\":{\"artifacts\":[{\"name\":\"a\",\"s3\":[]}]}}",
		  "t: field inputs.artifacts[0].s3: expected object, found array" },
		{ "{\"inputs\":{\"artifacts\":[{\"name\":\"a\",\"archive\":\"tar\"}]}}",
		  "t: field inputs.artifacts[0].archive: expected object, found string" },
		{ "{\"inputs\":{\"artifacts\":[{\"name\":\"a\",\"archive\":{\"tar\":1}}]}}",
		  "t: field inputs.artifacts[0].archive.tar: expected object, found number" },
		{ "{\"inputs\":{\"artifacts\":[{\"name\":\"a\",\"archive\":"
		  "{\"tar\":{\"compressionLevel\":\"9\"}}}]}}",
		  "t: field inputs.artifacts[0].archive.tar.compressionLevel: expected number, "
		  "found string" },
		{ "{\"outputs\":{\"artifacts\":[{\"name\":\"a/b\"}]}}",
		  "t: field outputs.artifacts[0].name: \"a/b\" is not a usable name" },
		{ "{\"outputs\":{\"artifacts\":[{\"name\":\"..\"}]}}",
		  "t: field outputs.artifacts[0].name: \"..\" is not a usable name" },
		{ "{\"outputs\":{\"artifacts\":[{\"name\":\"\"}]}}",
		  "t: field outputs.artifacts[0].name: \"\" is not a usable name" },
		{ "{\"outputs\":{\"parameters\":[{\"name\":\"p\",\"valueFrom\":{\"path\":1}}]}}",
		  "t: field outputs.parameters[0].valueFrom.path: expected string, found number" },
		{ "{\"outputs\":{\"artifacts\":[{\"name\":\"a\"},{\"name\":\"b\"},{\"name\":\"a\"}]}}",
		  "t: field outputs.artifacts: the name \"a\" is not unique" },
		{ "{\"inputs\":{\"parameters\":[{\"name\":\"p\"},{\"name\":\"p\"}]}}",
		  "t: field inputs.parameters: the name \"p\" is not unique" },
		{ "{\"outputs\":{\"artifacts\":[{\"name\":\"a.{}_-9\"},{\"name\":\"a b\"}]}}",
		  "t: field outputs.artifacts[1].name: \"a b\" cannot be reported: letters, digits "
		  "and -_{}. only" },
		{ "{\"outputs\":{\"parameters\":[{\"name\":\"p.q\"}]}}",
		  "t: field outputs.parameters[0].name: \"p.q\" cannot be reported: letters, digits "
		  "and -_ only" },
		{ "{\"outputs\":{\"parameters\":[{\"name\":\"\"}]}}",
		  "t: field outputs.parameters[0].name: \"\" cannot be reported: letters, digits "
		  "and -_ only" },
		{ "{\"inputs\":{\"artifacts\":[{\"name\":\"a\",\"oss\":{\"key\":\"k\"},"
		  "\"s3\":{\"key\":\"k\"}}]}}",
		  "t: artifact a: field inputs.artifacts[0]: two locations, s3 and oss; there can be "
		  "one" },
		{ "{\"outputs\":{\"artifacts\":[{\"name\":\"a\"},{\"name\":\"b\",\"raw\":{\"data\":"
		  "\"x\"},\"s3\":{\"bucket\":\"k\"}}]}}",
		  "t: artifact b: field outputs.artifacts[1]: two locations, s3 and raw; there can be "
		  "one" },
		{ "{\"archiveLocation\":{\"gcs\":{\"bucket\":\"b\"},\"azure\":{\"blob\":\"x\"}}}",
		  "t: field archiveLocation: two locations, gcs and azure; there can be one" },
		{ "{\"container\":{\"volumeMounts\":[{}]}}",
		  "t: field container.volumeMounts[0].mountPath is missing" },
		{ "{\"containerSet\":{\"containers\":[{\"name\":\"../x\"}]}}",
		  "t: field containerSet.containers[0].name: \"../x\" is no DNS label" },
	};

	(void)state;
	for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
		struct template *template = NULL;
		struct error err = ERROR_NONE;

		assert_int_equal(template_parse(cases[i][0], strlen(cases[i][0]), "t", &template,
						&err),
				 -EINVAL);
		assert_string_equal(err.message, cases[i][1]);
		assert_null(template);
	}
}

/* What is passed on has one name as input and as output, be it artifact or parameter. */
static void test_names_are_unique_in_their_list_only(void **state)
{
	_cleanup_template_ struct template *template =
		parse("{\"inputs\":{\"artifacts\":[{\"name\":\"x\",\"path\":\"/i\"}],"
		      "\"parameters\":[{\"name\":\"x\"}]},"
		      "\"outputs\":{\"artifacts\":[{\"name\":\"x\",\"path\":\"/o\"}],"
		      "\"parameters\":[{\"name\":\"x\",\"valueFrom\":{\"path\":\"/p\"}}]}}");

	(void)state;
	assert_string_equal(template->inputs[0].name, "x");
	assert_string_equal(template->outputs[0].name, "x");
}

/* A default of the repository is no second location, nor is one in which nothing is set; what is
 * empty is not passed on. */
static void test_one_location_and_empty_ones(void **state)
{
	_cleanup_template_ struct template *template =
		parse("{\"inputs\":{\"artifacts\":[{\"name\":\"i\",\"path\":\"/i\",\"s3\":{},"
		      "\"oss\":null,\"gcs\":{\"key\":\"k\"},\"raw\":{\"data\":\"\"}}]},"
		      "\"outputs\":{\"artifacts\":[{\"name\":\"o\",\"s3\":{\"key\":\"k\"}}]},"
		      "\"archiveLocation\":{\"archiveLogs\":false,\"azure\":{\"blob\":\"\"},"
		      "\"gcs\":{\"bucket\":\"b\"}}}");
	struct json_object *input = template->inputs[0].json;

	(void)state;
	assert_int_equal(json_length(input), 3);
	assert_string_equal(json_get_string(json_get(input, "gcs"), "key", ""), "k");
	assert_int_equal(json_length(template->outputs[0].json), 2);
	assert_int_equal(json_length(template_archive_location(template)), 2);
	assert_non_null(json_get(template_archive_location(template), "gcs"));
}

static void test_hostile_text(void **state)
{
	static char deep[100000], large[TEMPLATE_BYTES_MAX + 2];
	struct template *template = NULL;
	struct error err = ERROR_NONE;

	(void)state;
	memset(deep, '[', sizeof(deep));
	assert_int_equal(template_parse(deep, sizeof(deep), "t", &template, &err), -EINVAL);
	memset(large, ' ', sizeof(large));
	assert_int_equal(template_parse(large, sizeof(large), "t", &template, &err), -EMSGSIZE);
	assert_int_equal(template_parse("{}\0", 3, "t", &template, &err), -EINVAL);
	assert_int_equal(template_parse("", 0, "t", &template, &err), -EINVAL);
	assert_int_equal(template_parse("null", 4, "t", &template, &err), -EINVAL);
	assert_null(template);
}

static void check_path(const char *path, bool is_fine)
{
	_cleanup_json_ struct json_object *artifact = json_new_object();
	struct error err = ERROR_NONE;

	json_set_string(artifact, "name", "a");
	json_set_string(artifact, "path", path);
	if ((template_check_path(artifact, &err) == 0) != is_fine)
		fail_msg("%s: %s", path, err.message);
}

static void test_paths(void **state)
{
	static const char *const fine[] = { "/a",        "/a/b/",    "/a/..b", "/a...",
					    "/tmp/./",   "/a///",    "/..",    "/../a",
					    "/a/../a/b", "relative", "/a//." };
	static const char *const bad[] = { "",        "/tmp/a/../b",    "/tmp/..", "/a/../..",
					   "/a/../a", "/a/b/../../etc", "/a/.." };

	(void)state;
	for (size_t i = 0; i < sizeof(fine) / sizeof(fine[0]); i++)
		check_path(fine[i], true);
	for (size_t i = 0; i < sizeof(bad) / sizeof(bad[0]); i++)
		check_path(bad[i], false);
}

static void test_sources(void **state)
{
	struct template *template = NULL;
	struct error err = ERROR_NONE;

	(void)state;
	setenv("ARGO_TEMPLATE", "{\"name\":\"environment\"}", 1);
	scratch_write("template", "{\"name\":\"file\"}");
	assert_int_equal(template_load(scratch_path(""), &template, &err), 0);
	assert_string_equal(json_get_string(template->json, "name", ""), "environment");
	template_free(template);
	assert_int_equal(template_load_installed(scratch_path(""), &template, &err), 0);
	assert_string_equal(json_get_string(template->json, "name", ""), "file");
	template_free(template);
	setenv("ARGO_TEMPLATE", "{", 1);
	assert_int_equal(template_load(scratch_path(""), &template, &err), -EINVAL);
	assert_memory_equal(err.message, "template (ARGO_TEMPLATE): not valid JSON", 40);
	setenv("ARGO_TEMPLATE", TEMPLATE_OFFLOADED, 1);
	assert_int_equal(template_load(scratch_path(""), &template, &err), -ENOENT);
	assert_string_equal(err.message, "failed to load template: open " TEMPLATE_OFFLOADED_FILE
					 ": no such file or directory");
	unsetenv("ARGO_TEMPLATE");
	assert_int_equal(template_load(scratch_path(""), &template, &err), 0);
	assert_int_equal(template_install(template, scratch_path(""), &err), 0);
	assert_string_equal(scratch_read("template"), "{\"name\":\"file\"}");
	assert_int_equal(scratch_mode("template"), 0444);
	template_free(template);
	unlink(scratch_path("template"));
	assert_int_equal(template_load_installed(scratch_path(""), &template, &err), -ENOENT);
}

/* Counts the templates in the environment of the pod's containers. */
static int parse_containers(struct json_object *list)
{
	int count = 0;

	for (size_t i = 0; i < json_length(list); i++) {
		struct json_object *environment = json_get(json_at(list, i), "env");

		for (size_t j = 0; j < json_length(environment); j++) {
			struct json_object *variable = json_at(environment, j);
			const char *value = json_get_string(variable, "value", "");

			if (strcmp(json_get_string(variable, "name", ""), "ARGO_TEMPLATE") != 0 ||
			    strcmp(value, TEMPLATE_OFFLOADED) == 0)
				continue;
			template_free(parse(value));
			count++;
		}
	}
	return count;
}

/* The templates that a real controller wrote. */
static void test_recorded_pods(void **state)
{
	glob_t found;
	int count = 0;

	(void)state;
	assert_int_equal(glob("tests/fixtures/*/pod-*.json", 0, NULL, &found), 0);
	for (size_t i = 0; i < found.gl_pathc; i++) {
		_cleanup_buffer_ struct buffer text = BUFFER_INIT(TEMPLATE_BYTES_MAX);
		_cleanup_json_ struct json_object *pod = NULL;
		struct error err = ERROR_NONE;

		if (file_read(found.gl_pathv[i], &text, &err) < 0 ||
		    json_parse(text.data, text.size, found.gl_pathv[i], &pod, &err) < 0)
			fail_msg("%s", err.message);
		count += parse_containers(json_find(pod, "spec", "initContainers", NULL));
		count += parse_containers(json_find(pod, "spec", "containers", NULL));
	}
	assert_true(count >= 20 && (size_t)count + 3 >= found.gl_pathc);
	globfree(&found);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_all_fields),
		cmocka_unit_test(test_types),
		cmocka_unit_test(test_container_set_and_script),
		cmocka_unit_test(test_wrong_kinds_are_named),
		cmocka_unit_test(test_names_are_unique_in_their_list_only),
		cmocka_unit_test(test_one_location_and_empty_ones),
		cmocka_unit_test(test_hostile_text),
		cmocka_unit_test(test_paths),
		cmocka_unit_test(test_sources),
		cmocka_unit_test(test_recorded_pods),
	};

	return cmocka_run_group_tests(tests, scratch_set_up, scratch_tear_down);
}
