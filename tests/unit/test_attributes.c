#include "executor/archive/attributes.h"

#include "executor/archive/pack.h"
#include "executor/archive/unpack.h"
#include "tests/unit/scratch.h"

#include <errno.h>
#include <fcntl.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/xattr.h>
#include <unistd.h>

#include <cmocka.h>

struct sink {
	struct writer writer;
	struct buffer bytes;
};

static int take(struct writer *base, const void *data, size_t size, struct error *err)
{
	(void)err;
	return buffer_append(&((struct sink *)base)->bytes, data, size);
}

static bool has_attributes; /* the file system; what cannot be kept is told then */
static unsigned warnings;

static void count_warning(void *context, const char *message)
{
	(void)context, (void)message;
	warnings++;
}

static void set(const char *name, const char *attribute, const void *value, size_t size)
{
	int r = setxattr(scratch_path(name), attribute, value, size, 0);

	has_attributes = r == 0;
	if (r < 0)
		assert_int_equal(errno, ENOTSUP);
}

static struct buffer read_from(const char *name)
{
	struct buffer list = ATTRIBUTES_INIT;
	int fd = open(scratch_path(name), O_RDONLY | O_CLOEXEC);

	assert_true(fd >= 0);
	assert_int_equal(attributes_read(&list, fd), 0);
	close(fd);
	return list;
}

static void pack_and_unpack(const char *name, const char *target)
{
	struct pack_options packing = { .format = PACK_TAR_GZ, .level = 1 };
	struct unpack_options unpacking = { .hooks.warn = count_warning };
	struct sink sink = { .writer.write = take, .bytes = BUFFER_INIT(1u << 20) };
	struct memory_reader reader;
	struct error err = ERROR_NONE;

	warnings = 0;
	if (pack_tree(AT_FDCWD, scratch_path(name), &packing, &sink.writer, NULL, &err) < 0)
		fail_msg("%s", err.message);
	memory_reader_init(&reader, sink.bytes.data, sink.bytes.size);
	if (unpack_tar(&reader.reader, spot_by_path(scratch_path(target)), &unpacking, &err) < 0)
		fail_msg("%s", err.message);
	buffer_done(&sink.bytes);
}

static void test_kept_through_an_archive(void **state)
{
	static const char *const names[][2] = { { "t/file", "u/file" },
						{ "t/plain", "u/plain" },
						{ "t", "u" } };
	size_t sizes[3];

	(void)state;
	assert_return_code(mkdir(scratch_path("t"), 0755), errno);
	scratch_write("t/file", "content");
	scratch_write("t/plain", "content");
	set("t", "user.of.directory", "d", 1);
	set("t/file", "user.b", "two\nlines\0and a NUL", 19);
	set("t/file", "user.a", "", 0);
	set("t/file", "user.c", names, 16);
	set("t/file", "user.with=sign", "x", 1);
	pack_and_unpack("t", "u");
	for (size_t i = 0; i < 3; i++) {
		_cleanup_buffer_ struct buffer before = read_from(names[i][0]);
		_cleanup_buffer_ struct buffer after = read_from(names[i][1]);

		assert_int_equal(before.size, after.size);
		if (before.size > 0)
			assert_memory_equal(before.data, after.data, before.size);
		sizes[i] = after.size;
	}
	assert_string_equal(scratch_read("u/file"), "content");
	assert_int_equal(warnings, 0);
	assert_int_equal(sizes[1], 0);
	if (has_attributes) {
		assert_int_equal(sizes[0], 3 * (7 + 4) + 19 + 16);
		assert_int_equal(sizes[2], 18 + 4 + 1);
	}
}

static void test_lists(void **state)
{
	_cleanup_buffer_ struct buffer list = ATTRIBUTES_INIT;
	static char large[ATTRIBUTES_BYTES_MAX];
	struct attribute attribute;
	size_t at = 0;

	(void)state;
	assert_int_equal(attributes_add(&list, &(struct attribute){ "user.a", "1", 1 }), 0);
	/* What gives rights, or belongs to the machine. */
	assert_int_equal(
		attributes_add(&list, &(struct attribute){ "security.capability", "x", 1 }), 0);
	assert_int_equal(
		attributes_add(&list, &(struct attribute){ "trusted.overlay.opaque", "y", 1 }), 0);
	assert_int_equal(
		attributes_add(&list, &(struct attribute){ "system.posix_acl_access", "z", 1 }), 0);
	assert_int_equal(attributes_add(&list,
					&(struct attribute){ "user.b", large, sizeof(large) }),
			 -EMSGSIZE);
	assert_int_equal(attributes_add(&list, &(struct attribute){ "user.c", "", 0 }), 0);
	assert_true(attributes_next(&list, &at, &attribute));
	assert_string_equal(attribute.name, "user.a");
	assert_int_equal(attribute.size, 1);
	assert_int_equal(attribute.value[0], '1');
	assert_true(attributes_next(&list, &at, &attribute));
	assert_string_equal(attribute.name, "user.c");
	assert_int_equal(attribute.size, 0);
	assert_false(attributes_next(&list, &at, &attribute));
}

/* A place without them takes the rest, and is told of once. */
static void test_refused(void **state)
{
	_cleanup_buffer_ struct buffer list = ATTRIBUTES_INIT;
	int fd = open("/dev/null", O_RDONLY | O_CLOEXEC);

	(void)state;
	assert_true(fd >= 0);
	assert_int_equal(attributes_set(&list, fd), 0);
	assert_int_equal(attributes_add(&list, &(struct attribute){ "user.a", "1", 1 }), 0);
	assert_true(attributes_set(&list, fd) < 0);
	close(fd);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_kept_through_an_archive),
		cmocka_unit_test(test_lists),
		cmocka_unit_test(test_refused),
	};

	return cmocka_run_group_tests(tests, scratch_set_up, scratch_tear_down);
}
