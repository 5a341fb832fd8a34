#include "executor/base/stream.h"

#include "executor/base/cleanup.h"

#include <errno.h>
#include <fcntl.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdint.h>
#include <string.h>
#include <sys/mman.h>

#include <cmocka.h>

/* Gives `step` bytes at a time, then fails if told to. */
struct slow_reader {
	struct reader reader;
	const char *data;
	size_t left, step;
	int failure;
};

static ssize_t slow_read(struct reader *base, void *data, size_t size, struct error *err)
{
	struct slow_reader *self = (struct slow_reader *)base;
	size_t n = size < self->step ? size : self->step;

	assert_true(size > 0);
	n = n < self->left ? n : self->left;
	if (n == 0 && self->failure)
		return error_set(err, self->failure, "it broke");
	memcpy(data, self->data, n);
	self->data += n;
	self->left -= n;
	return (ssize_t)n;
}

static struct slow_reader slow(const char *text, size_t step, int failure)
{
	return (struct slow_reader){ .reader.read = slow_read,
				     .data = text,
				     .left = strlen(text),
				     .step = step,
				     .failure = failure };
}

/* Takes `room` bytes. */
struct small_writer {
	struct writer writer;
	char data[64];
	size_t size, room;
};

static int small_write(struct writer *base, const void *data, size_t size, struct error *err)
{
	struct small_writer *self = (struct small_writer *)base;

	if (self->size + size > self->room)
		return error_set(err, -ENOSPC, "full");
	memcpy(self->data + self->size, data, size);
	self->size += size;
	return 0;
}

static void test_copy(void **state)
{
	struct slow_reader in = slow("hello world", 3, 0);
	struct small_writer out = { .writer.write = small_write, .room = 64 };
	unsigned long long bytes = 0;

	(void)state;
	assert_int_equal(stream_copy(&in.reader, &out.writer, &bytes, NULL), 0);
	assert_int_equal(bytes, 11);
	assert_string_equal(out.data, "hello world");
	assert_int_equal(stream_copy(&in.reader, &out.writer, &bytes, NULL), 0);
	assert_int_equal(bytes, 0);
}

static void test_copy_passes_failures_on(void **state)
{
	struct slow_reader broken = slow("hello", 3, -ECONNRESET), in = slow("hello", 3, 0);
	struct small_writer out = { .writer.write = small_write, .room = 5 };
	struct error err = ERROR_NONE;
	unsigned long long bytes = 4711;

	(void)state;
	assert_int_equal(stream_copy(&broken.reader, &out.writer, &bytes, &err), -ECONNRESET);
	assert_string_equal(err.message, "it broke");
	assert_int_equal(stream_copy(&in.reader, &out.writer, &bytes, &err), -ENOSPC);
	assert_string_equal(err.message, "full");
	assert_int_equal(bytes, 4711);
}

static void test_descriptors(void **state)
{
	int from = memfd_create("from", MFD_CLOEXEC), to = memfd_create("to", MFD_CLOEXEC);
	static char data[STREAM_CHUNK_BYTES * 2 + 17], back[sizeof(data) + 1];
	struct error err = ERROR_NONE;
	struct fd_reader in;
	struct fd_writer out;
	unsigned long long bytes;

	(void)state;
	for (size_t i = 0; i < sizeof(data); i++)
		data[i] = (char)(i * 7 + i / 1000);
	assert_int_equal(write(from, data, sizeof(data)), sizeof(data));
	lseek(from, 0, SEEK_SET);
	fd_reader_init(&in, from, "source");
	fd_writer_init(&out, to, "target");
	assert_int_equal(stream_copy(&in.reader, &out.writer, &bytes, &err), 0);
	assert_int_equal(bytes, sizeof(data));
	assert_int_equal(pread(to, back, sizeof(back), 0), sizeof(data));
	assert_memory_equal(back, data, sizeof(data));
	close(from);
	close(to);
	assert_int_equal(in.reader.read(&in.reader, back, 1, &err), -EBADF);
	assert_string_equal(err.message, "read source: bad file descriptor");
	assert_int_equal(out.writer.write(&out.writer, data, 1, &err), -EBADF);
	assert_string_equal(err.message, "write target: bad file descriptor");
}

static void test_memory(void **state)
{
	struct memory_reader in;
	char data[4];

	(void)state;
	memory_reader_init(&in, "abcde", 5);
	assert_int_equal(in.reader.read(&in.reader, data, 4, NULL), 4);
	assert_memory_equal(data, "abcd", 4);
	assert_int_equal(in.reader.read(&in.reader, data, 4, NULL), 1);
	assert_int_equal(data[0], 'e');
	assert_int_equal(in.reader.read(&in.reader, data, 4, NULL), 0);
	memory_reader_init(&in, NULL, 0);
	assert_int_equal(in.reader.read(&in.reader, data, 4, NULL), 0);
}

/* However much is looked at, and however it arrives, a reader gets everything, once. */
static void test_peek_gives_everything_back(void **state)
{
	static const char text[] = "abcdefghijkl";

	(void)state;
	for (size_t want = 1; want <= 14; want++) {
		for (size_t step = 1; step <= 13; step++) {
			struct slow_reader source = slow(text, step, 0);
			struct small_writer out = { .writer.write = small_write, .room = 64 };
			size_t expected = want < 12 ? want : 12;
			struct peek_reader peek;
			const char *data;

			peek_reader_init(&peek, &source.reader);
			assert_int_equal(peek_reader_peek(&peek, want / 2 + 1, &data, NULL),
					 want / 2 + 1);
			assert_int_equal(peek_reader_peek(&peek, want, &data, NULL), expected);
			assert_memory_equal(data, text, expected);
			assert_int_equal(peek_reader_peek(&peek, 1, &data, NULL), 1);
			assert_int_equal(stream_copy(&peek.reader, &out.writer, NULL, NULL), 0);
			assert_string_equal(out.data, text);
			peek_reader_done(&peek);
		}
	}
}

static void test_peek_of_nothing_and_of_trouble(void **state)
{
	struct slow_reader empty = slow("", 1, 0), broken = slow("ab", 1, -EIO);
	struct error err = ERROR_NONE;
	struct peek_reader peek;
	const char *data;
	char c;

	(void)state;
	peek_reader_init(&peek, &empty.reader);
	assert_int_equal(peek_reader_peek(&peek, 8, &data, &err), 0);
	assert_int_equal(peek.reader.read(&peek.reader, &c, 1, &err), 0);
	peek_reader_done(&peek);
	peek_reader_done(&peek);
	peek_reader_init(&peek, &broken.reader);
	assert_int_equal(peek_reader_peek(&peek, 8, &data, &err), -EIO);
	assert_string_equal(err.message, "it broke");
	peek_reader_done(&peek);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_copy),
		cmocka_unit_test(test_copy_passes_failures_on),
		cmocka_unit_test(test_descriptors),
		cmocka_unit_test(test_memory),
		cmocka_unit_test(test_peek_gives_everything_back),
		cmocka_unit_test(test_peek_of_nothing_and_of_trouble),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
