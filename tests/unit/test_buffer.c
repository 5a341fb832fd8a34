#include "executor/base/buffer.h"
#include "executor/base/sensitive.h"

#include <errno.h>
#include <fcntl.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/resource.h>
#include <unistd.h>

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

/* --- secrets ---------------------------------------------------------------------------------- */

#define CHUNK_BYTES ((size_t)1 << 20)
/* Sanitizers keep books that are larger. */
#define REGION_BYTES_MAX ((uintptr_t)64 << 20)

/* Through a mapping that is not looked at itself. */
static bool region_has(int memory_fd, char *chunk, uintptr_t from, uintptr_t to, const char *what)
{
	for (uintptr_t at = from; at < to; at += CHUNK_BYTES) {
		size_t size = to - at < CHUNK_BYTES ? to - at : CHUNK_BYTES;
		ssize_t n = pread(memory_fd, chunk, size, (off_t)at);

		if (n > 0 && memmem(chunk, (size_t)n, what, strlen(what)))
			return true;
	}
	return false;
}

/* The whole of a file, and nothing on the heap, where it would lie on what is looked for. */
static void read_whole(const char *path, char *text, size_t size)
{
	_cleanup_close_ int fd = open(path, O_RDONLY | O_CLOEXEC);
	ssize_t n;

	assert_true(fd >= 0);
	while ((n = read(fd, text, size - 1)) > 0) {
		text += n;
		size -= (size_t)n;
	}
	*text = '\0';
}

/* In what this process has written anywhere but on its stack. */
static bool is_in_memory(const char *what)
{
	_cleanup_close_ int fd = open("/proc/self/mem", O_RDONLY | O_CLOEXEC);
	char *chunk = mmap(NULL, 2 * CHUNK_BYTES, PROT_READ | PROT_WRITE,
			   MAP_SHARED | MAP_ANONYMOUS, -1, 0);
	char *lines = chunk + CHUNK_BYTES, *line;
	bool is_found = false;

	assert_true(fd >= 0 && chunk != MAP_FAILED);
	read_whole("/proc/self/maps", lines, CHUNK_BYTES);
	while (!is_found && (line = strsep(&lines, "\n"))) {
		uintptr_t from = strtoull(line, &line, 16);
		uintptr_t to = *line == '-' ? strtoull(line + 1, &line, 16) : from;

		if (strncmp(line, " rw-p", 5) == 0 && !strstr(line, "[stack]") &&
		    to - from <= REGION_BYTES_MAX)
			is_found = region_has(fd, chunk, from, to, what);
	}
	munmap(chunk, 2 * CHUNK_BYTES);
	return is_found;
}

/* Grown twice, and given back. */
static void hold(struct buffer *buffer, const char *secret)
{
	char filler[200] = "";

	memset(filler, '-', sizeof(filler) - 1);
	assert_int_equal(buffer_append_string(buffer, filler), 0);
	assert_int_equal(buffer_append_string(buffer, secret), 0);
	for (size_t i = 0; i < 4; i++)
		assert_int_equal(buffer_append_string(buffer, filler), 0);
	assert_true(is_in_memory(secret));
	assert_int_equal(strncmp(buffer->data + strlen(filler), secret, strlen(secret)), 0);
	buffer_done(buffer);
	assert_null(buffer->data);
}

/* Not where AddressSanitizer may put variables of a function, which is searched: on the stack. */
__attribute__((no_sanitize("address"))) static void test_secrets_leave_nothing(void **state)
{
	struct buffer plain = BUFFER_INIT(1 << 20), locked = BUFFER_SECRET(1 << 20);
	char left[32], nothing[32];
	char *copy;

	(void)state;
	snprintf(left, sizeof(left), "key %d of nobody", getpid());
	snprintf(nothing, sizeof(nothing), "key %d of somebody", getpid());
	hold(&plain, left);
	/* What is looked for would be found. */
	assert_true(is_in_memory(left));
	hold(&locked, nothing);
	assert_false(is_in_memory(nothing));
	copy = sensitive_copy(nothing);
	assert_string_equal(copy, nothing);
	assert_true(is_in_memory(nothing));
	sensitive_free(copy, strlen(copy));
	assert_false(is_in_memory(nothing));
	sensitive_free(NULL, 0);
}

/* Where nothing may be locked, all goes on. */
static int holds_without_locks(void *context)
{
	const struct rlimit none = { .rlim_cur = 0, .rlim_max = 0 };
	struct buffer buffer = BUFFER_SECRET(1000);

	(void)context;
	if (scratch_drop_privileges() < 0 || setrlimit(RLIMIT_MEMLOCK, &none) < 0)
		return __LINE__;
	if (buffer_append_string(&buffer, "secret") < 0 || strcmp(buffer.data, "secret") != 0)
		return __LINE__;
	buffer_done(&buffer);
	return 0;
}

static void test_secrets_without_locks(void **state)
{
	(void)state;
	scratch_run_child(holds_without_locks, NULL);
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
		cmocka_unit_test(test_secrets_leave_nothing),
		cmocka_unit_test(test_secrets_without_locks),
		cmocka_unit_test(test_growth),
		cmocka_unit_test(test_reserve_then_raise_size),
		cmocka_unit_test(test_consume),
		cmocka_unit_test(test_reset_take_and_done),
		cmocka_unit_test(test_out_of_memory),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
