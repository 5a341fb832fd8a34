#include "executor/base/buffer.h"

#include <errno.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdint.h>
#include <string.h>

#include <cmocka.h>

#include "tests/unit/scratch.h"

static void test_append_keeps_a_nul_behind(void **state)
{
	_cleanup_buffer_ struct buffer buffer = BUFFER_INIT(1000);

	(void)state;
	assert_string_equal(buffer_string(&buffer), "");
	assert_null(buffer.data);
	assert_int_equal(buffer_append(&buffer, "ab\0c", 4), 0);
	assert_int_equal(buffer_append_string(&buffer, "de"), 0);
	assert_int_equal(buffer_append_format(&buffer, "%d-%s", 7, "x"), 0);
	assert_int_equal(buffer.size, 9);
	assert_memory_equal(buffer.data, "ab\0cde7-x", 10);
	assert_int_equal(buffer_append(&buffer, NULL, 0), 0);
	assert_int_equal(buffer.size, 9);
}

static void test_maximum_is_exact(void **state)
{
	_cleanup_buffer_ struct buffer buffer = BUFFER_INIT(5);

	(void)state;
	assert_int_equal(buffer_append_string(&buffer, "123456"), -EMSGSIZE);
	assert_int_equal(buffer.size, 0);
	assert_int_equal(buffer_append_string(&buffer, "123"), 0);
	assert_int_equal(buffer_append_string(&buffer, "456"), -EMSGSIZE);
	assert_int_equal(buffer_append_format(&buffer, "%03d", 1), -EMSGSIZE);
	assert_int_equal(buffer_append(&buffer, "", SIZE_MAX), -EMSGSIZE);
	assert_null(buffer_reserve(&buffer, 3));
	assert_string_equal(buffer_string(&buffer), "123");
	assert_int_equal(buffer_append_format(&buffer, "%s", "45"), 0);
	assert_string_equal(buffer_string(&buffer), "12345");
	assert_int_equal(buffer_append(&buffer, "", 0), 0);
	assert_int_equal(buffer_append(&buffer, "x", 1), -EMSGSIZE);
}

static void test_growth(void **state)
{
	_cleanup_buffer_ struct buffer buffer = BUFFER_INIT(1 << 20);

	(void)state;
	for (unsigned i = 0; i < 100000; i++)
		assert_int_equal(buffer_append_format(&buffer, "%u,", i % 10), 0);
	assert_int_equal(buffer.size, 200000);
	assert_int_equal(strlen(buffer.data), 200000);
	assert_true(buffer.capacity < 2 * 200001 + 256);
	for (size_t i = 0; i < buffer.size; i += 2)
		assert_int_equal(buffer.data[i], '0' + (int)(i / 2 % 10));
}

static void test_reserve_then_raise_size(void **state)
{
	_cleanup_buffer_ struct buffer buffer = BUFFER_INIT(600);
	char *room = buffer_reserve(&buffer, 600);

	(void)state;
	assert_non_null(room);
	memset(room, 'r', 600);
	buffer.size += 600;
	assert_int_equal(buffer_append(&buffer, "", 0), 0); /* puts the NUL */
	assert_int_equal(strlen(buffer_string(&buffer)), 600);
	assert_null(buffer_reserve(&buffer, 1));
}

static void test_consume(void **state)
{
	_cleanup_buffer_ struct buffer buffer = BUFFER_INIT(100);

	(void)state;
	buffer_consume(&buffer, 0);
	buffer_append_string(&buffer, "abcdef");
	buffer_consume(&buffer, 2);
	assert_string_equal(buffer_string(&buffer), "cdef");
	buffer_consume(&buffer, 0);
	buffer_consume(&buffer, 4);
	assert_int_equal(buffer.size, 0);
	assert_string_equal(buffer_string(&buffer), "");
	buffer_append_string(&buffer, "g");
	assert_string_equal(buffer_string(&buffer), "g");
}

static void test_reset_take_and_done(void **state)
{
	struct buffer buffer = BUFFER_INIT(100);
	char *memory, *taken;

	(void)state;
	buffer_reset(&buffer);
	assert_null(buffer_take(&buffer));
	buffer_append_string(&buffer, "abc");
	memory = buffer.data;
	buffer_reset(&buffer);
	assert_string_equal(buffer_string(&buffer), "");
	buffer_append_string(&buffer, "de");
	assert_ptr_equal(buffer.data, memory);
	taken = buffer_take(&buffer);
	assert_string_equal(taken, "de");
	assert_string_equal(buffer_string(&buffer), "");
	free(taken);
	buffer_append_string(&buffer, "f");
	buffer_done(&buffer);
	buffer_done(&buffer);
	assert_int_equal(buffer_append_string(&buffer, "g"), 0);
	buffer_done(&buffer);
}

/* The sanitizer's allocator ends the process otherwise; a plain build never calls this. */
const char *__asan_default_options(void);
const char *__asan_default_options(void)
{
	return "allocator_may_return_null=1";
}

/* A request beyond the address space fails and what was there stays. */
static int run_out_of_memory(void *context)
{
	struct buffer buffer = BUFFER_INIT(SIZE_MAX / 4);
	const size_t huge = (size_t)1 << 46; /* more than the sanitizer or the kernel would map */

	(void)context;
	if (buffer_append_string(&buffer, "kept") != 0)
		return __LINE__;
	if (buffer_reserve(&buffer, huge))
		return __LINE__;
	if (buffer_append(&buffer, buffer.data, huge) != -ENOMEM)
		return __LINE__;
	return strcmp(buffer_string(&buffer), "kept") == 0 ? 0 : __LINE__;
}

static void test_out_of_memory(void **state)
{
	(void)state;
	scratch_run_child(run_out_of_memory, NULL);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_append_keeps_a_nul_behind),
		cmocka_unit_test(test_maximum_is_exact),
		cmocka_unit_test(test_growth),
		cmocka_unit_test(test_reserve_then_raise_size),
		cmocka_unit_test(test_consume),
		cmocka_unit_test(test_reset_take_and_done),
		cmocka_unit_test(test_out_of_memory),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
