#include "executor/archive/gzip.h"

#include "executor/base/buffer.h"

#include <errno.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>
#include <zlib.h>

#include <cmocka.h>

#define OUT_BYTES_MAX (64u * 1024 * 1024)

static struct event_loop *loop;
static struct pool *pool;

static int set_up(void **state)
{
	(void)state;
	alarm(120);
	loop = event_loop_new();
	pool = loop ? pool_new(loop) : NULL;
	return pool ? 0 : -1;
}

static int tear_down(void **state)
{
	(void)state;
	pool_free(pool);
	event_loop_free(loop);
	return 0;
}

struct sink {
	struct writer writer;
	struct buffer bytes;
	size_t full_at; /* 0 = never */
};

static int take(struct writer *base, const void *data, size_t size, struct error *err)
{
	struct sink *sink = (struct sink *)base;

	if (sink->full_at && sink->bytes.size + size > sink->full_at)
		return error_set(err, -ENOSPC, "full");
	return buffer_append(&sink->bytes, data, size);
}

#define SINK() ((struct sink){ .writer.write = take, .bytes = BUFFER_INIT(OUT_BYTES_MAX) })

static void sink_done(struct sink *sink)
{
	buffer_done(&sink->bytes);
}

/* Words and noise, alternating; the same for equal sizes. */
static unsigned char *content_of(size_t size)
{
	unsigned char *data = malloc(size + 1);
	uint32_t x = 1;

	assert_non_null(data);
	for (size_t i = 0; i < size; i++) {
		x = x * 1664525 + 1013904223;
		data[i] = (i >> 16) & 1 ? (unsigned char)(x >> 24) :
					  (unsigned char)("abcdefgh"[(x >> 28) & 7]);
	}
	return data;
}

/* Writes in pieces of `step`, as a packer would. */
static int compress_into(struct sink *sink, const unsigned char *data, size_t size, size_t step,
			 int level, struct pool *threads)
{
	_cleanup_gzip_writer_ struct gzip_writer gzip;
	struct error err = ERROR_NONE;
	int r = gzip_writer_init(&gzip, &sink->writer, level, threads, &err);

	for (size_t at = 0; r == 0 && at < size; at += step)
		r = gzip.writer.write(&gzip.writer, data + at, size - at < step ? size - at : step,
				      &err);
	return r < 0 ? r : gzip.writer.finish(&gzip.writer, &err);
}

/* The judge is zlib: one member, nothing behind it. */
static void assert_gunzips_to(const struct sink *sink, const unsigned char *data, size_t size)
{
	unsigned char *out = malloc(size + 1);
	z_stream stream = { .next_in = (unsigned char *)sink->bytes.data,
			    .avail_in = (unsigned int)sink->bytes.size,
			    .next_out = out,
			    .avail_out = (unsigned int)size + 1 };

	assert_non_null(out);
	assert_int_equal(inflateInit2(&stream, 16 + 15), Z_OK);
	assert_int_equal(inflate(&stream, Z_FINISH), Z_STREAM_END);
	assert_int_equal(stream.avail_in, 0);
	assert_int_equal(stream.total_out, size);
	assert_memory_equal(out, data, size);
	inflateEnd(&stream);
	free(out);
}

static const size_t sizes[] = {
	0,
	1,
	GZIP_BLOCK_BYTES - 1,
	GZIP_BLOCK_BYTES,
	GZIP_BLOCK_BYTES + 1,
	3 * GZIP_BLOCK_BYTES,
	9 * GZIP_BLOCK_BYTES + 12345,
};

static void test_all_levels_and_sizes(void **state)
{
	(void)state;
	for (int level = DEFLATE_HUFFMAN; level <= DEFLATE_MAX; level++) {
		for (size_t i = 0; i < sizeof(sizes) / sizeof(sizes[0]); i++) {
			unsigned char *data = content_of(sizes[i]);
			struct sink threads = SINK(), alone = SINK();

			assert_int_equal(compress_into(&threads, data, sizes[i], 128 * 1024, level,
						       pool),
					 0);
			assert_gunzips_to(&threads, data, sizes[i]);
			/* However many threads, and however it is cut. */
			assert_int_equal(compress_into(&alone, data, sizes[i], 77777, level, NULL),
					 0);
			assert_int_equal(alone.bytes.size, threads.bytes.size);
			assert_memory_equal(alone.bytes.data, threads.bytes.data, alone.bytes.size);
			sink_done(&threads);
			sink_done(&alone);
			free(data);
		}
	}
}

/* Noise never grows by more than what storing it takes. */
static void test_noise_is_stored(void **state)
{
	size_t size = 5 * GZIP_BLOCK_BYTES + 99;
	unsigned char *data = malloc(size);
	uint64_t x = 88172645463325252ull;

	(void)state;
	assert_non_null(data);
	for (size_t i = 0; i < size; i++) {
		x ^= x << 13;
		x ^= x >> 7;
		x ^= x << 17;
		data[i] = (unsigned char)(x >> 32);
	}
	for (int level = DEFLATE_HUFFMAN; level <= DEFLATE_MAX; level++) {
		struct sink sink = SINK();

		assert_int_equal(compress_into(&sink, data, size, 100000, level, pool), 0);
		assert_gunzips_to(&sink, data, size);
		assert_true(sink.bytes.size <= size + size / 1000 + 100);
		sink_done(&sink);
	}
	free(data);
}

/* What repeats itself across blocks costs no more than within one. */
static void test_blocks_know_their_past(void **state)
{
	size_t size = 16 * GZIP_BLOCK_BYTES;
	unsigned char *data = content_of(size);
	struct sink sink = SINK();

	(void)state;
	/* The same 20,000 bytes of noise again and again. */
	for (size_t i = 0; i < size; i++)
		data[i] = i < 20000 ? data[65536 + i] : data[i - 20000];
	assert_int_equal(compress_into(&sink, data, size, 100000, 6, pool), 0);
	assert_gunzips_to(&sink, data, size);
	assert_true(sink.bytes.size < 20000 + size / 100);
	sink_done(&sink);
	free(data);
}

static void test_a_writer_that_fails(void **state)
{
	size_t size = 20 * GZIP_BLOCK_BYTES;
	unsigned char *data = content_of(size);

	(void)state;
	for (size_t full_at = 5; full_at < size / 2; full_at = full_at * 3 + 1) {
		struct sink sink = SINK();

		sink.full_at = full_at;
		assert_int_equal(compress_into(&sink, data, size, 50000, 1, pool), -ENOSPC);
		assert_true(sink.bytes.size <= full_at);
		sink_done(&sink);
	}
	free(data);
}

static void test_unknown_levels(void **state)
{
	struct sink sink = SINK();

	(void)state;
	assert_int_equal(compress_into(&sink, NULL, 0, 1, 10, pool), -EINVAL);
	assert_int_equal(compress_into(&sink, NULL, 0, 1, -3, pool), -EINVAL);
	assert_int_equal(sink.bytes.size, 0);
}

/* What nobody finishes leaves nothing behind, whatever is under way. */
static void test_given_up(void **state)
{
	unsigned char *data = content_of(4 * GZIP_BLOCK_BYTES);

	(void)state;
	for (int i = 0; i < 50; i++) {
		struct sink sink = SINK();
		struct gzip_writer gzip;
		struct error err;

		assert_int_equal(gzip_writer_init(&gzip, &sink.writer, 9, pool, &err), 0);
		assert_int_equal(gzip.writer.write(&gzip.writer, data,
						   (size_t)(i % 4 + 1) * GZIP_BLOCK_BYTES, &err),
				 0);
		gzip_writer_done(&gzip);
		sink_done(&sink);
	}
	free(data);
}

#define TEST(name) cmocka_unit_test_setup_teardown(name, set_up, tear_down)

int main(void)
{
	const struct CMUnitTest tests[] = {
		TEST(test_all_levels_and_sizes),   TEST(test_noise_is_stored),
		TEST(test_blocks_know_their_past), TEST(test_a_writer_that_fails),
		TEST(test_unknown_levels),         TEST(test_given_up),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
