#include "tests/unit/unpack_support.h"

#include "executor/archive/gzip.h"
#include "executor/archive/pack.h"
#include "executor/base/cleanup.h"
#include "executor/base/path.h"

#include <errno.h>
#include <fcntl.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdint.h>
#include <string.h>
#include <sys/stat.h>

#include <cmocka.h>

#define MTIME_OCTAL "14524770400" /* EPOCH */

static void put_octal(char *field, int digits, unsigned long long value)
{
	char text[32];

	snprintf(text, sizeof(text), "%0*llo", digits, value);
	memcpy(field, text, (size_t)digits);
}

void add_padding(struct buffer *tar)
{
	static const char zeros[BLOCK];

	assert_int_equal(buffer_append(tar, zeros, (BLOCK - tar->size % BLOCK) % BLOCK), 0);
}

static void copy_name(char *field, const char *name)
{
	char whole[PATH_MAX_BYTES];

	if (strncmp(name, "%O", 2) == 0) {
		snprintf(whole, sizeof(whole), "%s%s", sandbox_path("outside"), name + 2);
		name = whole;
	}
	/* A name of 100 bytes has no NUL in a tar header. */
	assert_true(strlen(name) <= 100);
	for (size_t i = 0; name[i]; i++)
		field[i] = name[i];
}

void add_block(struct buffer *tar, const struct entry *entry, size_t size)
{
	char block[BLOCK] = { 0 };
	unsigned sum = 0;

	copy_name(block, entry->name);
	put_octal(block + 100, 7, entry->mode ? entry->mode : 0644);
	put_octal(block + 108, 7, 0);
	put_octal(block + 116, 7, 0);
	put_octal(block + 124, 11, entry->size ? entry->size : size);
	memcpy(block + 136, MTIME_OCTAL, 11);
	block[156] = entry->type;
	if (entry->link)
		copy_name(block + 157, entry->link);
	memcpy(block + 257, "ustar\00000", 8);
	put_octal(block + 329, 7, 1);
	put_octal(block + 337, 7, 3);
	memset(block + 148, ' ', 8);
	for (size_t i = 0; i < BLOCK; i++)
		sum += (unsigned char)block[i];
	put_octal(block + 148, 6, sum);
	block[154] = '\0';
	assert_int_equal(buffer_append(tar, block, BLOCK), 0);
}

void add_entry(struct buffer *tar, const struct entry *entry)
{
	size_t size = entry->content ? strlen(entry->content) : 0;

	add_block(tar, entry, size);
	if (size > 0)
		assert_int_equal(buffer_append(tar, entry->content, size), 0);
	add_padding(tar);
}

void add_end(struct buffer *tar)
{
	static const char zeros[2 * BLOCK];

	assert_int_equal(buffer_append(tar, zeros, sizeof(zeros)), 0);
}

void compress_data(const struct buffer *from, struct collector *out)
{
	struct error err = ERROR_NONE;
	struct gzip_writer gzip;

	collector_init(out, UNLIMITED);
	assert_int_equal(gzip_writer_init(&gzip, &out->writer, 1, NULL, &err), 0);
	assert_int_equal(gzip.writer.write(&gzip.writer, from->data, from->size, &err), 0);
	assert_int_equal(gzip.writer.finish(&gzip.writer, &err), 0);
	gzip_writer_done(&gzip);
}

struct buffer warnings = { .max = 100000 };

static void on_warning(void *context, const char *message)
{
	(void)context;
	assert_null(strchr(message, '\n'));
	buffer_append_format(&warnings, "%s\n", message);
}

const struct unpack_options usual = { .hooks.warn = on_warning };

int unpack_setup(void **state)
{
	(void)state;
	sandbox_make();
	put_directory(sandbox_path("in"), 0755);
	put_text(sandbox_path("outside/secret"), "secret");
	put_directory(sandbox_path("outside/dir"), 0700);
	buffer_reset(&warnings);
	return 0;
}

int unpack_teardown(void **state)
{
	(void)state;
	sandbox_remove();
	buffer_done(&warnings);
	return 0;
}

int unpack(const void *data, size_t size, struct error *err)
{
	struct memory_reader reader;

	*err = ERROR_NONE;
	memory_reader_init(&reader, data, size);
	return unpack_tar(&reader.reader, spot_by_path(sandbox_path("in/art")), &usual, err);
}

int unpack_buffer(const struct buffer *data, struct error *err)
{
	return unpack(data->data, data->size, err);
}

int unpack_zip_at(const char *path, struct error *err)
{
	_cleanup_close_ int fd = open(path, O_RDONLY | O_CLOEXEC);

	assert_return_code(fd, errno);
	*err = ERROR_NONE;
	return unpack_zip(fd, spot_by_path(sandbox_path("in/art")), &usual, err);
}

void clear_in(void)
{
	struct error err = ERROR_NONE;

	assert_int_equal(path_remove_tree(sandbox_path("in"), &err), 0);
	put_directory(sandbox_path("in"), 0755);
}

void assert_nothing_left(void)
{
	_cleanup_free_ char *left = snapshot(sandbox_path("in"), false);

	assert_string_equal(left, "");
}

void verify_entry(const char *expected)
{
	const char *arrow = strstr(expected, "->"), *equals = strchr(expected, '=');
	size_t size = strlen(expected);
	char text[PATH_MAX_BYTES];
	struct stat st;

	if (expected[0] == '!') {
		assert_int_equal(lstat(sandbox_path("in/art/%s", expected + 1), &st), -1);
	} else if (arrow) {
		ssize_t n = readlink(sandbox_path("in/art/%.*s", (int)(arrow - expected), expected),
				     text, sizeof(text) - 1);

		assert_true(n >= 0);
		text[n] = '\0';
		assert_string_equal(text, arrow + 2);
	} else if (equals) {
		_cleanup_buffer_ struct buffer content =
			get_file(sandbox_path("in/art/%.*s", (int)(equals - expected), expected));

		assert_int_equal(content.size, strlen(equals + 1));
		assert_memory_equal(content.data, equals + 1, content.size);
	} else {
		assert_int_equal(expected[size - 1], '/');
		assert_return_code(stat(sandbox_path("in/art/%s", expected), &st), errno);
		assert_true(S_ISDIR(st.st_mode));
	}
}

void make_source(void)
{
	_cleanup_free_ char *data = malloc(200000);

	for (size_t i = 0; i < 200000; i++)
		data[i] = (char)((i * 2654435761u) >> 13);
	put_file(sandbox_path("src/t/big"), data, 200000, 0640);
	put_text(sandbox_path("src/t/a/b/c"), "abc\n");
	put_file(sandbox_path("src/t/exe"), "#!\n", 3, 0755);
	put_file(sandbox_path("src/t/empty"), "", 0, 0600);
	put_directory(sandbox_path("src/t/dir"), 0777);
	put_text(sandbox_path("src/t/gr\xc3\xbc\xc3\x9f"), "utf-8\n");
	put_text(sandbox_path(
			 "src/t/"
			 "long-long-long-long-long-long-long-long-long-long-long-long-long-long-"
			 "long-long-long-long-long-long-long-long-long-long-long-long-name"),
		 "l\n");
	assert_return_code(symlink("../exe", sandbox_path("src/t/a/link")), errno);
	assert_return_code(link(sandbox_path("src/t/exe"), sandbox_path("src/t/hard")), errno);
	assert_return_code(symlink("exe", sandbox_path("src/t/soft")), errno);
}

struct collector pack_source(enum pack_format format, const char *path)
{
	struct pack_options options = { .format = format, .level = 1 };
	struct error err = ERROR_NONE;
	struct collector out;

	collector_init(&out, UNLIMITED);
	assert_int_equal(pack_tree(AT_FDCWD, path, &options, &out.writer, NULL, &err), 0);
	return out;
}

void assert_same_as_source(void)
{
	_cleanup_free_ char *wanted = NULL, *got = snapshot(sandbox_path("in/art"), true);

	wanted = snapshot(sandbox_path("src/t"), true);
	assert_string_equal(wanted, got);
}
