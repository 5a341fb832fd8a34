#include "emissary/command.h"

#include "executor/base/buffer.h"

#include <errno.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cmocka.h>

#include "tests/unit/scratch.h"

#define ARGUMENT_MAX 131072

static char *words[] = { (char *)"sh", (char *)"-c", NULL };
static struct command command;
static struct error err;

static int build(int argc)
{
	const struct role role = { .argc = argc, .argv = words };

	err = ERROR_NONE;
	return command_build(&role, &command, &err);
}

static void test_words_alone(void **state)
{
	(void)state;
	unsetenv("ARGO_CONTAINER_ARGS_FILE");
	assert_int_equal(build(2), 0);
	assert_int_equal(command.argc, 2);
	assert_string_equal(command.argv[1], "-c");
	assert_null(command.argv[2]);
	command_done(&command);
	command_done(&command);
	assert_int_equal(build(0), -EINVAL);
	assert_string_equal(err.message,
			    "no command to run: neither the pod nor its image names one");
	command_done(&command);
}

static void test_words_from_the_file(void **state)
{
	(void)state;
	setenv("ARGO_CONTAINER_ARGS_FILE", scratch_path("args"), 1);
	scratch_write("args", "[\"echo \\u00e4\",\"\",\"x\"]");
	assert_int_equal(build(2), 0);
	assert_int_equal(command.argc, 5);
	assert_string_equal(command.argv[2], "echo \xc3\xa4");
	assert_string_equal(command.argv[3], "");
	assert_null(command.argv[5]);
	command_done(&command);
	assert_int_equal(build(0), 0); /* the program is the first of them */
	assert_string_equal(command.argv[0], "echo \xc3\xa4");
	command_done(&command);
}

static void test_bad_files(void **state)
{
	static const char *const bad[] = {
		"", "{}", "\"x\"", "[1]", "[\"a\",null]", "[\"a\"", "[\"a\\u0000b\"]"
	};

	(void)state;
	setenv("ARGO_CONTAINER_ARGS_FILE", scratch_path("args"), 1);
	for (size_t i = 0; i < sizeof(bad) / sizeof(bad[0]); i++) {
		scratch_write("args", bad[i]);
		assert_int_equal(build(2), -EINVAL);
		assert_memory_equal(err.message, "failed to read container args: ", 31);
		assert_non_null(strstr(err.message, scratch_path("args")));
		command_done(&command);
	}
	setenv("ARGO_CONTAINER_ARGS_FILE", "/nonexistent", 1);
	assert_int_equal(build(2), -ENOENT);
	assert_string_equal(err.message, "failed to read container args: open /nonexistent: no "
					 "such file or directory");
	command_done(&command);
}

/* What execve(2) would refuse goes into files. */
static void test_long_arguments(void **state)
{
	static char fitting[ARGUMENT_MAX + 1], too_long[ARGUMENT_MAX + 2];
	_cleanup_buffer_ struct buffer text = BUFFER_INIT(1 << 20);
	struct stat st;

	(void)state;
	setenv("ARGO_CONTAINER_ARGS_FILE", scratch_path("args"), 1);
	memset(fitting, 'x', sizeof(fitting) - 1);
	memset(too_long, 'y', sizeof(too_long) - 1);
	buffer_append_format(&text, "[\"%s\",\"%s\"]", fitting, too_long);
	scratch_write("args", buffer_string(&text));
	assert_int_equal(build(2), 0);
	assert_int_equal(strlen(command.argv[2]), ARGUMENT_MAX); /* as long as may be */
	/* Arguments are counted without the program. */
	assert_string_equal(command.argv[3], "@/tmp/argo_arg_2.txt");
	assert_int_equal(stat("/tmp/argo_arg_2.txt", &st), 0);
	assert_int_equal(st.st_size, ARGUMENT_MAX + 1);
	assert_int_equal(st.st_mode & 0777, 0644);
	unlink("/tmp/argo_arg_2.txt");
	command_done(&command);
}

static void test_resolve(void **state)
{
	char *saved = strdup(getenv("PATH"));

	(void)state;
	unsetenv("ARGO_CONTAINER_ARGS_FILE");
	setenv("PATH", "/nonexistent:/bin", 1);
	assert_int_equal(build(2), 0);
	assert_int_equal(command_resolve(&command, &err), 0);
	assert_string_equal(command.argv[0], "/bin/sh");
	command_done(&command);
	setenv("PATH", "/nonexistent", 1);
	assert_int_equal(build(2), 0);
	assert_int_equal(command_resolve(&command, &err), -ENOENT);
	assert_string_equal(err.message, "failed to find name in PATH: exec: \"sh\": executable "
					 "file not found in $PATH");
	command_done(&command);
	setenv("PATH", saved, 1);
	free(saved);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_words_alone), cmocka_unit_test(test_words_from_the_file),
		cmocka_unit_test(test_bad_files),   cmocka_unit_test(test_long_arguments),
		cmocka_unit_test(test_resolve),
	};

	return cmocka_run_group_tests(tests, scratch_set_up, scratch_tear_down);
}
