/* What a wrapper saves of its container's own file system. */
#include "executor/stage/collect.h"

#include "executor/archive/unpack.h"
#include "executor/base/path.h"

#include <errno.h>
#include <fcntl.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>

#include <cmocka.h>

#include "tests/unit/scratch.h"
#include "tests/unit/stage_fixture.h"

/* "<kind><scratch directory>/<name><suffix>" below run/outputs. */
static const char *collected(const char *kind, const char *name, const char *suffix)
{
	static char path[600];

	snprintf(path, sizeof(path), "run/outputs/%s%s%s", kind, scratch_path(name), suffix);
	return path;
}

static int collect(struct error *err)
{
	return collect_outputs(stage_fixture_template(), scratch_path("run"), NULL,
			       stage_fixture_log(), err);
}

static bool exists(const char *name)
{
	return access(scratch_path(name), F_OK) == 0;
}

static void test_parameter(void **state)
{
	struct error err = ERROR_NONE;
	mode_t saved = umask(0);

	(void)state;
	stage_fixture_begin(
		"{\"container\":{},\"outputs\":{\"parameters\":[{\"name\":\"p\","
		"\"valueFrom\":{\"path\":\"%s/main//p.txt\"}},"
		"{\"name\":\"no-file\",\"valueFrom\":{}},{\"name\":\"none\"},"
		"{\"name\":\"missing\",\"valueFrom\":{\"path\":\"/nonexistent/x\"}}]}}");
	stage_fixture_put("main/p.txt", "value\n");
	assert_int_equal(collect(&err), 0);
	umask(saved);
	assert_string_equal(scratch_read(collected("parameters", "main/p.txt", "")), "value\n");
	assert_int_equal(scratch_mode(collected("parameters", "main/p.txt", "")), 0666);
	assert_non_null(strstr(stage_fixture_logged(),
			       "level=WARN msg=\"Output parameter's file does not exist\" "
			       "name=missing"));
	stage_fixture_end();
}

static void check_archive(const char *name, const char *inside, const char *content)
{
	int fd = open(scratch_path(collected("artifacts", name, ".tgz")), O_RDONLY | O_CLOEXEC);
	struct error err = ERROR_NONE;
	struct fd_reader reader;
	char path[100];

	assert_true(fd >= 0);
	fd_reader_init(&reader, fd, "archive");
	if (unpack_tar(&reader.reader, spot_by_path(scratch_path("unpacked")),
		       &(struct unpack_options){ 0 }, &err) < 0)
		fail_msg("%s", err.message);
	close(fd);
	snprintf(path, sizeof(path), "unpacked%s", inside);
	assert_string_equal(scratch_read(path), content);
	assert_int_equal(path_remove_tree(scratch_path("unpacked"), NULL), 0);
	assert_false(exists(collected("artifacts", name, ".tgz.tmp")));
}

static void test_artifacts(void **state)
{
	struct error err = ERROR_NONE;

	(void)state;
	stage_fixture_begin("{\"container\":{},\"outputs\":{\"artifacts\":["
			    "{\"name\":\"d\",\"path\":\"%s/main/tree/\"},"
			    "{\"name\":\"m\",\"path\":\"/nonexistent/x\"}]}}");
	stage_fixture_put("main/tree/below/file", "deep");
	assert_int_equal(collect(&err), 0);
	check_archive("main/tree", "/below/file", "deep");
	assert_non_null(strstr(stage_fixture_logged(), "msg=\"Output artifact does not exist\""));
	stage_fixture_end();
	stage_fixture_begin("{\"container\":{},\"outputs\":{\"artifacts\":["
			    "{\"name\":\"f\",\"path\":\"%s/main/tree/below/file\"}]}}");
	assert_int_equal(collect(&err), 0);
	check_archive("main/tree/below/file", "", "deep");
	stage_fixture_end();
}

/* Volumes are wait's: nothing of them is copied. */
static void test_volumes_are_left_alone(void **state)
{
	struct error err = ERROR_NONE;

	(void)state;
	stage_fixture_begin("{\"container\":{\"volumeMounts\":[{\"mountPath\":\"/work\"}]},"
			    "\"outputs\":{\"artifacts\":[{\"name\":\"v\",\"path\":\"/work/a\"}],"
			    "\"parameters\":[{\"name\":\"p\","
			    "\"valueFrom\":{\"path\":\"/work/p\"}}]}}");
	assert_int_equal(collect(&err), 0);
	assert_string_equal(stage_fixture_logged(), "");
	assert_false(exists("run/outputs/artifacts/work"));
	assert_false(exists("run/outputs/parameters/work"));
	stage_fixture_end();
}

/* One failure does not keep the others from being saved; the first one is returned. */
static void test_goes_on_after_a_failure(void **state)
{
	struct error err = ERROR_NONE;
	struct stat st;

	(void)state;
	stage_fixture_begin("{\"container\":{},\"outputs\":{\"parameters\":["
			    "{\"name\":\"dir\",\"valueFrom\":{\"path\":\"/etc\"}},"
			    "{\"name\":\"dots\",\"valueFrom\":{\"path\":\"%s/good\"}}],"
			    "\"artifacts\":[{\"name\":\"a\",\"path\":\"/tmp/a/../b\"}]}}");
	stage_fixture_put("good", "g");
	assert_int_equal(collect(&err), -EISDIR);
	assert_string_equal(err.message, "output parameter dir: read /etc: is a directory");
	assert_int_equal(stat(scratch_path(collected("parameters", "good", "")), &st), 0);
	assert_non_null(strstr(stage_fixture_logged(), "Directory traversal is not permitted"));
	stage_fixture_end();
}

static void test_limits(void **state)
{
	static char large[COLLECT_PARAMETER_BYTES_MAX + 1];
	struct error err = ERROR_NONE;

	(void)state;
	stage_fixture_begin("{\"container\":{},\"outputs\":{\"parameters\":[{\"name\":\"p\","
			    "\"valueFrom\":{\"path\":\"%s/large\"}}]}}");
	memset(large, 'x', sizeof(large));
	scratch_write_bytes("large", large, sizeof(large));
	assert_int_equal(collect(&err), -EMSGSIZE);
	assert_non_null(strstr(err.message, "larger than the limit of 1048576 bytes"));
	scratch_write_bytes("large", large, sizeof(large) - 1);
	assert_int_equal(collect(&err), 0);
	stage_fixture_end();
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_parameter),
		cmocka_unit_test(test_artifacts),
		cmocka_unit_test(test_volumes_are_left_alone),
		cmocka_unit_test(test_goes_on_after_a_failure),
		cmocka_unit_test(test_limits),
	};

	return cmocka_run_group_tests(tests, stage_fixture_set_up, scratch_tear_down);
}
