#include "executor/archive/small_files.h"
#include "executor/base/cleanup.h"
#include "tests/unit/unpack_support.h"

#include <errno.h>
#include <ftw.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <unistd.h>

#include <cmocka.h>

#define TAR_BYTES_MAX (32u * 1024 * 1024)
#define SEEDS 300
#define ENTRIES_MAX 120
/* The places that unpacking has open, and one file. */
#define DESCRIPTORS_MIN 7

static struct event_loop *loop;
static struct pool *pool;

static int set_up(void **state)
{
	loop = event_loop_new();
	pool = loop ? pool_new(loop) : NULL;
	return pool ? unpack_setup(state) : -1;
}

static int tear_down(void **state)
{
	pool_free(pool);
	event_loop_free(loop);
	return unpack_teardown(state);
}

static int unpack_with(const struct buffer *tar, const struct unpack_options *options,
		       struct error *err)
{
	struct memory_reader reader;

	*err = ERROR_NONE;
	memory_reader_init(&reader, tar->data, tar->size);
	return unpack_tar(&reader.reader, spot_by_path(sandbox_path("in/art")), options, err);
}

static int unpack_beside(const struct buffer *tar, struct error *err)
{
	const struct unpack_options options = { .hooks = usual.hooks, .pool = pool };

	return unpack_with(tar, &options, err);
}

/* --- like one by one ---------------------------------------------------------------------- */

/* A number below `end`. */
static unsigned below(unsigned end, unsigned *seed)
{
	*seed = *seed * 1103515245 + 12345;
	return (*seed >> 16) % end;
}

/* Few enough names that they get in each other's way. */
static void make_name(char name[32], unsigned *seed)
{
	static const char *const tops[] = { "",     "",   "d/", "d/", "e/",
					    "d/s/", "l/", "1/", "2/", "e/3/" };

	snprintf(name, 32, "%s%u", tops[below(10, seed)], below(60, seed));
}

/* Content begins with the number of the entry; `padding` bytes follow. */
static void add_random(struct buffer *tar, unsigned number, size_t padding, unsigned *seed)
{
	_cleanup_free_ char *content = calloc(1, padding + 16);
	char name[32], other[32];
	struct entry entry = { .name = name };
	unsigned kind = below(60, seed);

	assert_non_null(content);
	make_name(name, seed);
	make_name(other, seed);
	if (kind == 0) {
		entry = (struct entry)LINK_("l", "e");
	} else if (kind == 1) {
		entry = (struct entry)LINK_(name, "d");
	} else if (kind == 2) {
		entry = (struct entry)HARD_(name, other);
	} else if (kind < 5) {
		entry = (struct entry)DIR_(name);
	} else {
		memset(content, 'p', padding + 8);
		content[snprintf(content, 9, "%07u", number)] = ' ';
		entry.type = '0';
		entry.content = content;
		entry.mode = 0400 + below(0400, seed);
	}
	add_entry(tar, &entry);
}

static struct buffer make_random(unsigned seed, size_t padding)
{
	struct buffer tar = BUFFER_INIT(TAR_BYTES_MAX);
	unsigned count = 1 + below(ENTRIES_MAX, &seed);

	/* So that there is never only one. */
	add_entry(&tar, &(struct entry)DIR_("d"));
	add_entry(&tar, &(struct entry)DIR_("e"));
	for (unsigned i = 0; i < count; i++)
		add_random(&tar, i, padding, &seed);
	add_end(&tar);
	return tar;
}

static struct buffer found = { .max = 1024 * 1024 };

/* What is there, but for how much padding it has. */
static int note(const char *path, const struct stat *st, int type, struct FTW *ftw)
{
	char text[32] = "";

	(void)ftw;
	if (type == FTW_SL) {
		assert_true(readlink(path, text, sizeof(text) - 1) > 0);
	} else if (type == FTW_F) {
		struct buffer content = get_file(path);

		snprintf(text, sizeof(text), "%.8s", content.data);
		buffer_done(&content);
	}
	return buffer_append_format(&found, "%s %o %ld %u %s\n", path, st->st_mode,
				    type == FTW_F ? (long)st->st_mtim.tv_sec : 0,
				    type == FTW_F ? (unsigned)st->st_nlink : 0, text);
}

static int compare_lines(const void *a, const void *b)
{
	return strcmp(*(char *const *)a, *(char *const *)b);
}

/* Sorted; caller frees. Then the place is empty again. */
static char *take_what_is_there(void)
{
	struct buffer sorted = BUFFER_INIT(found.max);
	static char *lines[4 * ENTRIES_MAX];
	size_t count = 0;
	char *rest, *line;

	buffer_reset(&found);
	assert_int_equal(nftw(sandbox_path("in"), note, 16, FTW_PHYS), 0);
	rest = found.data;
	while ((line = strsep(&rest, "\n")))
		lines[count++] = line;
	qsort(lines, count, sizeof(lines[0]), compare_lines);
	for (size_t i = 0; i < count; i++)
		assert_int_equal(buffer_append_format(&sorted, "%s\n", lines[i]), 0);
	clear_in();
	return buffer_take(&sorted);
}

/* Files that are too large are made one by one. */
static void what_is_made_is_what_one_by_one_makes(void **state)
{
	(void)state;
	for (unsigned seed = 1; seed <= SEEDS; seed++) {
		_cleanup_buffer_ struct buffer small = make_random(seed, 0);
		_cleanup_buffer_ struct buffer large = make_random(seed, SMALL_FILES_BYTES_MAX);
		_cleanup_free_ char *wanted = NULL, *made = NULL;
		struct error err, other;
		int r = unpack_beside(&small, &err);

		made = take_what_is_there();
		if (unpack_with(&large, &usual, &other) != r)
			fail_msg("seed %u: %s, one by one %s", seed, err.message, other.message);
		wanted = take_what_is_there();
		if (strcmp(made, wanted) != 0)
			fail_msg("seed %u: made\n%s, one by one\n%s", seed, made, wanted);
	}
	buffer_done(&found);
}

/* --- the bad day -------------------------------------------------------------------------- */

/* "d/<number>" of "content <number>". */
static void add_numbered(struct buffer *tar, unsigned count)
{
	for (unsigned i = 0; i < count; i++) {
		char name[32], content[32];

		snprintf(name, sizeof(name), "d/%u", i);
		snprintf(content, sizeof(content), "content %u", i);
		add_entry(tar, &(struct entry)FILE_(name, content));
	}
}

static void verify_numbered(unsigned count)
{
	for (unsigned i = 0; i < count; i++) {
		char line[64];

		snprintf(line, sizeof(line), "%u=content %u", i, i);
		verify_entry(line);
	}
}

static void descriptors_may_be_few(void **state)
{
	_cleanup_buffer_ struct buffer tar = BUFFER_INIT(TAR_BYTES_MAX);
	struct rlimit before, few;
	struct error err;
	int r, fd = dup(0);

	(void)state;
	assert_return_code(fd, errno);
	close(fd);
	add_numbered(&tar, 100);
	add_end(&tar);
	assert_return_code(getrlimit(RLIMIT_NOFILE, &before), errno);
	for (unsigned more = DESCRIPTORS_MIN; more < 3 * SMALL_FILES_BATCH; more++) {
		few = before;
		few.rlim_cur = (rlim_t)fd + more;
		assert_return_code(setrlimit(RLIMIT_NOFILE, &few), errno);
		r = unpack_beside(&tar, &err);
		assert_return_code(setrlimit(RLIMIT_NOFILE, &before), errno);
		if (r < 0)
			fail_msg("%u more: %s", more, err.message);
		verify_numbered(100);
		clear_in();
	}
}

static void what_cannot_be_made_is_named(void **state)
{
	_cleanup_buffer_ struct buffer tar = BUFFER_INIT(TAR_BYTES_MAX);
	struct error err;

	(void)state;
	add_entry(&tar, &(struct entry)DIR_("d/77"));
	add_numbered(&tar, 300);
	add_end(&tar);
	assert_int_equal(unpack_beside(&tar, &err), -EISDIR);
	assert_string_equal(err.message, "create d/77: is a directory");
	assert_nothing_left();
}

static bool cancel(void *context)
{
	unsigned *left = context;

	return (*left)-- == 0;
}

static void cancelling_leaves_nothing(void **state)
{
	_cleanup_buffer_ struct buffer tar = BUFFER_INIT(TAR_BYTES_MAX);
	struct unpack_options options = { .hooks.is_cancelled = cancel, .pool = pool };
	struct error err;
	unsigned left, calls = 0;

	(void)state;
	add_numbered(&tar, 100);
	add_end(&tar);
	for (int r = -1; r < 0; calls++) {
		left = calls;
		options.hooks.context = &left;
		r = unpack_with(&tar, &options, &err);
		if (r == 0)
			break;
		assert_int_equal(r, -ECANCELED);
		assert_nothing_left();
	}
	assert_true(calls > 100);
	verify_numbered(100);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test_setup_teardown(what_is_made_is_what_one_by_one_makes, set_up,
						tear_down),
		cmocka_unit_test_setup_teardown(descriptors_may_be_few, set_up, tear_down),
		cmocka_unit_test_setup_teardown(what_cannot_be_made_is_named, set_up, tear_down),
		cmocka_unit_test_setup_teardown(cancelling_leaves_nothing, set_up, tear_down),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
