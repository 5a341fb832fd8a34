/* Two who read one open directory in turn. */
#include "executor/base/directory.h"

#include "executor/base/cleanup.h"
#include "tests/unit/archive_support.h"

#include <errno.h>
#include <fcntl.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include <cmocka.h>

/* With names of 200 bytes: several times what is read at once. */
#define COUNT 600

static int setup(void **state)
{
	(void)state;
	sandbox_make();
	return 0;
}

static int teardown(void **state)
{
	(void)state;
	sandbox_remove();
	return 0;
}

static int open_directory(void)
{
	int fd = open(sandbox_path("d"), O_RDONLY | O_DIRECTORY | O_CLOEXEC);

	assert_return_code(fd, errno);
	return fd;
}

static struct directory *make(int fd)
{
	struct directory *directory;

	assert_int_equal(directory_new(fd, &directory), 0);
	return directory;
}

/* Marks the next name as seen; false at the end. */
static bool read_one(struct directory *directory, bool seen[COUNT])
{
	const char *name;
	int r = directory_next(directory, &name);
	long number;

	assert_return_code(r, -r);
	if (r == 0)
		return false;
	number = strtol(name, NULL, 10);
	assert_in_range(number, 0, COUNT - 1);
	assert_false(seen[number]);
	seen[number] = true;
	return true;
}

static void assert_all(const bool seen[COUNT])
{
	for (int i = 0; i < COUNT; i++)
		assert_true(seen[i]);
}

static void each_reader_sees_every_name_once(void **state)
{
	bool seen[2][COUNT] = { { false }, { false } };
	struct directory *readers[2];
	int fd;

	(void)state;
	for (int i = 0; i < COUNT; i++)
		put_text(sandbox_path("d/%0200d", i), "");
	fd = open_directory();
	readers[0] = make(fcntl(fd, F_DUPFD_CLOEXEC, 0));
	readers[1] = make(fd);
	/* One is ahead, and somebody else moves the position, too. */
	for (int i = 0; i < 100; i++)
		assert_true(read_one(readers[0], seen[0]));
	while (read_one(readers[1], seen[1])) {
		assert_return_code(lseek(fd, 0, SEEK_SET), errno);
		read_one(readers[0], seen[0]);
	}
	assert_all(seen[0]);
	assert_all(seen[1]);
	assert_false(read_one(readers[0], seen[0]));
	directory_free(readers[0]);
	directory_free(readers[1]);
	assert_int_equal(fcntl(fd, F_GETFD), -1);
}

static void an_empty_directory_has_no_names(void **state)
{
	bool seen[COUNT] = { false };
	struct directory *directory;

	(void)state;
	put_directory(sandbox_path("d"), 0755);
	directory = make(open_directory());
	assert_false(read_one(directory, seen));
	directory_free(directory);
}

static void what_is_no_directory_is_an_error(void **state)
{
	struct directory *directory;
	const char *name;

	(void)state;
	put_text(sandbox_path("d"), "x");
	directory = make(open(sandbox_path("d"), O_RDONLY | O_CLOEXEC));
	assert_int_equal(directory_next(directory, &name), -ENOTDIR);
	directory_free(directory);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test_setup_teardown(each_reader_sees_every_name_once, setup, teardown),
		cmocka_unit_test_setup_teardown(an_empty_directory_has_no_names, setup, teardown),
		cmocka_unit_test_setup_teardown(what_is_no_directory_is_an_error, setup, teardown),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
