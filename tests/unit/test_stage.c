#include "executor/base/cleanup.h"
#include "executor/base/path.h"
#include "executor/stage/collect.h"
#include "executor/stage/load.h"
#include "executor/stage/permissions.h"
#include "executor/stage/save.h"
#include "executor/stage/source.h"

#include <errno.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>

#include <cmocka.h>

#include "tests/unit/scratch.h"

static const struct log quiet = { .fd = -1, .level = LOG_ERROR };
static char *root, *inputs, *main_root;
static struct event_loop *loop;
static struct template *template;

static struct stage open_stage(const char *text)
{
	struct error err = ERROR_NONE;

	if (template_parse(text, strlen(text), "test", &template, &err) < 0)
		fail_msg("%s", err.message);
	return (struct stage){
		.template = template,
		.log = &quiet,
		.store = { .loop = loop, .log = &quiet, .secret_directory = "/nonexistent" },
		.root = root,
		.inputs = inputs,
		.main_root = main_root,
	};
}

/* `a.tmp` beside the target `a` is nobody's temporary file. */
static void test_neighbours_of_an_input_stay(void **state)
{
	struct stage stage =
		open_stage("{\"container\":{\"volumeMounts\":[{\"mountPath\":\"/data\"}]},"
			   "\"inputs\":{\"artifacts\":["
			   "{\"name\":\"a\",\"path\":\"/data/a\",\"raw\":{\"data\":\"new\"}},"
			   "{\"name\":\"b.tmp\",\"path\":\"/b.tmp\",\"raw\":{\"data\":\"one\"}},"
			   "{\"name\":\"b\",\"path\":\"/b\",\"raw\":{\"data\":\"two\"}}]}}");
	struct error err = ERROR_NONE;

	(void)state;
	assert_int_equal(path_make_directories(scratch_path("mainctrfs/data"), 0755, &err), 0);
	scratch_write("mainctrfs/data/a", "old");
	scratch_write("mainctrfs/data/a.tmp", "user's");
	if (load_inputs(&stage, &err) < 0)
		fail_msg("%s", err.message);
	assert_string_equal(scratch_read("mainctrfs/data/a"), "new");
	assert_string_equal(scratch_read("mainctrfs/data/a.tmp"), "user's");
	assert_string_equal(scratch_read("inputs/b.tmp"), "one");
	assert_string_equal(scratch_read("inputs/b"), "two");
	assert_int_equal(scratch_count("mainctrfs/data"), 2);
	assert_int_equal(scratch_count("inputs"), 2);
	template_free(template);
}

/* The wrapper and `wait` agree on where an output lies whose path is relative. */
static void test_relative_outputs(void **state)
{
	struct stage stage =
		open_stage("{\"container\":{},\"outputs\":{"
			   "\"parameters\":[{\"name\":\"p\",\"valueFrom\":{\"path\":\"out/p\"}}],"
			   "\"artifacts\":[{\"name\":\"o\",\"path\":\"out/o\"}]}}");
	_cleanup_json_ struct json_object *values = json_new_object();
	_cleanup_source_ struct source source = { .fd = -1 };
	struct error err = ERROR_NONE;

	(void)state;
	assert_int_equal(path_make_directories(scratch_path("work/out"), 0755, &err), 0);
	scratch_write("work/out/p", "value\n");
	scratch_write("work/out/o", "artifact");
	assert_int_equal(chdir(scratch_path("work")), 0);
	if (collect_outputs(template, root, NULL, &quiet, &err) < 0)
		fail_msg("%s", err.message);
	if (source_open(&stage, &template->outputs[0], &source, &err) < 0)
		fail_msg("%s", err.message);
	assert_true(source.size > 0);
	if (save_parameters(&stage, values, &err) < 0)
		fail_msg("%s", err.message);
	assert_string_equal(json_get_string(values, "p", ""), "value");
	template_free(template);
}

/* A path that leaves no room for our own directories is told, not cut. */
static void test_long_output_paths(void **state)
{
	char text[4 * PATH_MAX_BYTES], path[PATH_MAX_BYTES - 4];
	_cleanup_json_ struct json_object *values = json_new_object();
	_cleanup_source_ struct source source = { .fd = -1 };
	struct error err = ERROR_NONE;
	struct stage stage;

	(void)state;
	memset(path, 'x', sizeof(path) - 1);
	path[sizeof(path) - 1] = '\0';
	for (size_t i = 0; i < sizeof(path) - 1; i += 200)
		path[i] = '/';
	snprintf(text, sizeof(text),
		 "{\"container\":{\"volumeMounts\":[{\"mountPath\":\"%s\"}]},\"outputs\":{"
		 "\"parameters\":[{\"name\":\"p\",\"valueFrom\":{\"path\":\"%s\"}}],"
		 "\"artifacts\":[{\"name\":\"o\",\"path\":\"%s\"}]}}",
		 path, path, path);
	stage = open_stage(text);
	assert_int_equal(save_parameters(&stage, values, &err), -ENAMETOOLONG);
	assert_non_null(strstr(err.message, "is too long"));
	assert_int_equal(source_open(&stage, &template->outputs[0], &source, &err), -ENAMETOOLONG);
	template_free(template);
}

/* Who writes to the outer volume may put a link where the inner one is mounted. */
static void test_outputs_of_a_volume_inside_a_volume(void **state)
{
	struct stage stage = open_stage(
		"{\"container\":{\"volumeMounts\":[{\"mountPath\":\"/outer/way/inner\"},"
		"{\"mountPath\":\"/outer\"}]},\"outputs\":{"
		"\"parameters\":[{\"name\":\"p\",\"valueFrom\":{\"path\":\"/outer/way/inner/p\"}}],"
		"\"artifacts\":[{\"name\":\"o\",\"path\":\"/outer/way/inner/p\"}]}}");
	_cleanup_json_ struct json_object *values = json_new_object();
	struct source source = { .fd = -1 };
	struct error err = ERROR_NONE;

	(void)state;
	assert_int_equal(
		path_make_directories(scratch_path("mainctrfs/outer/way/inner"), 0755, &err), 0);
	assert_int_equal(path_make_directories(scratch_path("keys/inner"), 0755, &err), 0);
	scratch_write("mainctrfs/outer/way/inner/p", "value");
	scratch_write("keys/inner/p", "secret");
	if (save_parameters(&stage, values, &err) < 0)
		fail_msg("%s", err.message);
	assert_string_equal(json_get_string(values, "p", ""), "value");
	assert_int_equal(source_open(&stage, &template->outputs[0], &source, &err), 0);
	source_close(&source);
	assert_int_equal(rename(scratch_path("mainctrfs/outer/way"),
				scratch_path("mainctrfs/outer/was")),
			 0);
	assert_int_equal(symlink("../../keys", scratch_path("mainctrfs/outer/way")), 0);
	assert_int_equal(save_parameters(&stage, values, &err), -EXDEV);
	assert_int_equal(source_open(&stage, &template->outputs[0], &source, &err), -EXDEV);
	template_free(template);
}

/* The whole artifact may be a link, to somebody else's file. */
static void test_permissions_of_a_link(void **state)
{
	(void)state;
	scratch_write("secret", "x");
	assert_int_equal(chmod(scratch_path("secret"), 0600), 0);
	assert_int_equal(symlink("secret", scratch_path("link")), 0);
	assert_int_equal(permissions_set(spot_by_path(scratch_path("link")), 0777, false, NULL), 0);
	assert_int_equal(permissions_set(spot_by_path(scratch_path("link")), 0777, true, NULL), 0);
	assert_int_equal(scratch_mode("secret"), 0600);
	assert_int_equal(permissions_set(spot_by_path(scratch_path("secret")), 0640, true, NULL),
			 0);
	assert_int_equal(scratch_mode("secret"), 0640);
}

static int set_up(void **state)
{
	if (scratch_set_up(state) < 0)
		return -1;
	root = strdup(scratch_path("argo"));
	inputs = strdup(scratch_path("inputs"));
	main_root = strdup(scratch_path("mainctrfs"));
	loop = event_loop_new();
	return loop ? 0 : -1;
}

static int tear_down(void **state)
{
	event_loop_free(loop);
	free(root);
	free(inputs);
	free(main_root);
	return chdir("/") < 0 ? -1 : scratch_tear_down(state);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_neighbours_of_an_input_stay),
		cmocka_unit_test(test_relative_outputs),
		cmocka_unit_test(test_long_output_paths),
		cmocka_unit_test(test_outputs_of_a_volume_inside_a_volume),
		cmocka_unit_test(test_permissions_of_a_link),
	};

	return cmocka_run_group_tests(tests, set_up, tear_down);
}
