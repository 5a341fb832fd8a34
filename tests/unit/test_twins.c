/* Archives that say which of their members are one file, truthfully or not. Each name has the content of
 * its own member in any case. */
#include "executor/base/cleanup.h"
#include "tests/unit/unpack_support.h"

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

static struct buffer tar = BUFFER_INIT(40000000);

static int setup(void **state)
{
	buffer_reset(&tar);
	return unpack_setup(state);
}

static int teardown(void **state)
{
	buffer_done(&tar);
	return unpack_teardown(state);
}

static void add_record(struct buffer *pax, const char *key, const char *value)
{
	size_t rest = strlen(key) + strlen(value) + 3, length = rest + 1;

	while (length != rest + (size_t)snprintf(NULL, 0, "%zu", length))
		length++;
	assert_int_equal(buffer_append_format(pax, "%zu %s=%s\n", length, key, value), 0);
}

/* NULL: that record is not there. */
static void add_numbers(const char *dev, const char *ino, const char *nlink)
{
	_cleanup_buffer_ struct buffer pax = BUFFER_INIT(10000);

	if (dev)
		add_record(&pax, "SCHILY.dev", dev);
	if (ino)
		add_record(&pax, "SCHILY.ino", ino);
	if (nlink)
		add_record(&pax, "SCHILY.nlink", nlink);
	add_entry(&tar, &(struct entry)PAX_(buffer_string(&pax)));
}

static void add_file(const char *ino, const char *name, const char *content)
{
	add_numbers("0", ino, "2");
	add_entry(&tar, &(struct entry)FILE_(name, content));
}

static void unpack_all(void)
{
	struct error err;

	add_end(&tar);
	if (unpack_buffer(&tar, &err) < 0)
		fail_msg("%s", err.message);
}

static struct stat look(const char *name)
{
	struct stat st;

	assert_return_code(lstat(sandbox_path("in/art/%s", name), &st), errno);
	return st;
}

static void assert_one(const char *a, const char *b)
{
	assert_int_equal(look(a).st_ino, look(b).st_ino);
}

static void assert_two(const char *a, const char *b)
{
	assert_int_not_equal(look(a).st_ino, look(b).st_ino);
}

static void equal_numbers_and_content_are_one_file(void **state)
{
	(void)state;
	add_file("1", "t/a", "one");
	add_file("2", "t/b", "two");
	add_file("1", "t/c", "one");
	add_file("1", "t/d/e", "one");
	add_file("2", "t/f", "two");
	add_file("3", "t/empty", "");
	add_file("3", "t/empty2", "");
	unpack_all();
	assert_one("a", "c");
	assert_one("a", "d/e");
	assert_one("b", "f");
	assert_one("empty", "empty2");
	assert_two("a", "b");
	assert_int_equal(look("a").st_nlink, 3);
	verify_entry("d/e=one");
	verify_entry("f=two");
	assert_string_equal(buffer_string(&warnings), "");
}

/* The same size: where they differ is at the start, within, at the end; and what follows is in order. */
static void other_content_is_another_file(void **state)
{
	(void)state;
	add_file("1", "t/a", "content");
	add_file("1", "t/b", "Content");
	add_file("1", "t/c", "conTent");
	add_file("1", "t/d", "contenT");
	add_file("1", "t/e", "content");
	unpack_all();
	verify_entry("a=content");
	verify_entry("b=Content");
	verify_entry("c=conTent");
	verify_entry("d=contenT");
	assert_one("a", "e");
	assert_int_equal(look("a").st_nlink, 2);
	assert_int_equal(look("b").st_nlink, 1);
	assert_int_equal(look("c").st_nlink, 1);
}

/* Several chunks, with zeros that become holes, and one byte that differs behind them. */
static void large_content_that_differs_late(void **state)
{
	const size_t size = 1000000;
	char *content = malloc(size + 1);

	(void)state;
	assert_non_null(content);
	memset(content, 'x', size);
	content[size] = '\0';
	for (int i = 0; i < 3; i++) {
		char name[] = "t/0";

		name[2] = (char)('0' + i);
		if (i == 2)
			content[size - 1] = 'y';
		add_file("1", name, content);
		/* A hole in the midst: add_entry() takes a string. */
		memset(tar.data + (tar.size - (size + BLOCK - 1) / BLOCK * BLOCK) + 200000, 0,
		       500000);
	}
	unpack_all();
	assert_one("0", "1");
	assert_two("0", "2");
	assert_int_equal(RUN(NULL, "cmp", "-n", "999999", sandbox_path("in/art/0"),
			     sandbox_path("in/art/2")),
			 0);
	assert_int_equal(RUN(NULL, "cmp", "-s", sandbox_path("in/art/0"), sandbox_path("in/art/2")),
			 1);
	assert_true(look("2").st_blocks * 512 < 700000);
	free(content);
}

static void other_sizes_modes_and_numbers_are_other_files(void **state)
{
	(void)state;
	add_file("1", "t/a", "content");
	add_file("1", "t/longer", "content and more");
	add_numbers("0", "1", "2");
	add_entry(&tar, &(struct entry){ '0', "t/mode", NULL, "content", 0600 });
	add_numbers("5", "1", "2");
	add_entry(&tar, &(struct entry)FILE_("t/dev", "content"));
	add_numbers("0", "1", "1");
	add_entry(&tar, &(struct entry)FILE_("t/nlink", "content"));
	add_numbers("0", "1", NULL);
	add_entry(&tar, &(struct entry)FILE_("t/no-nlink", "content"));
	add_numbers(NULL, "1", "2");
	add_entry(&tar, &(struct entry)FILE_("t/no-dev", "content"));
	add_numbers("0", NULL, "2");
	add_entry(&tar, &(struct entry)FILE_("t/no-ino", "content"));
	add_entry(&tar, &(struct entry)FILE_("t/none", "content"));
	unpack_all();
	assert_int_equal(look("a").st_nlink, 1);
	verify_entry("longer=content and more");
	assert_int_equal(look("mode").st_mode, S_IFREG | 0600);
	verify_entry("none=content");
}

/* Nonsense is no reason to fail, nor to link what has other content. */
static void odd_numbers(void **state)
{
	static const char *const odd[] = {
		"-1", "18446744073709551615", "99999999999999999999999", "x", "", "0"
	};
	char name[32];

	(void)state;
	for (size_t i = 0; i < sizeof(odd) / sizeof(*odd); i++) {
		for (int second = 0; second < 2; second++) {
			snprintf(name, sizeof(name), "t/%zu.%d", i, second);
			add_numbers(odd[i], odd[i], odd[i]);
			add_entry(&tar, &(struct entry)FILE_(name, second ? "two" : "one"));
		}
	}
	unpack_all();
	for (size_t i = 0; i < sizeof(odd) / sizeof(*odd); i++) {
		snprintf(name, sizeof(name), "%zu.0=one", i);
		verify_entry(name);
		snprintf(name, sizeof(name), "%zu.1=two", i);
		verify_entry(name);
	}
}

static void numbers_of_what_is_no_file_mean_nothing(void **state)
{
	(void)state;
	for (int i = 0; i < 2; i++) {
		char name[16];

		snprintf(name, sizeof(name), "t/d%d", i);
		add_numbers("0", "1", "2");
		add_entry(&tar, &(struct entry)DIR_(name));
		snprintf(name, sizeof(name), "t/l%d", i);
		add_numbers("0", "1", "2");
		add_entry(&tar, &(struct entry)LINK_(name, "d0"));
		snprintf(name, sizeof(name), "t/f%d", i);
		add_file("1", name, "");
		snprintf(name, sizeof(name), "t/h%d", i);
		add_numbers("0", "1", "2");
		add_entry(&tar, &(struct entry)HARD_(name, "t/f0"));
	}
	unpack_all();
	verify_entry("d1/");
	verify_entry("l1->d0");
	assert_one("f0", "f1");
	assert_one("f0", "h1");
	assert_int_equal(look("f0").st_nlink, 4);
}

/* What the first name stands for later is not what was unpacked. */
static void a_first_name_that_was_replaced(void **state)
{
	(void)state;
	add_file("1", "t/a", "content");
	add_entry(&tar, &(struct entry)FILE_("t/a", "CONTENT"));
	add_file("1", "t/b", "content");
	add_file("2", "t/c", "content");
	add_entry(&tar, &(struct entry)HARD_("t/c", "t/b"));
	add_file("2", "t/d", "content");
	unpack_all();
	verify_entry("a=CONTENT");
	verify_entry("b=content");
	assert_one("b", "c");
	verify_entry("d=content");
	assert_two("c", "d");
}

/* The same name again, with the same and with other content; and in the place of another file, of a link. */
static void a_name_that_is_taken(void **state)
{
	(void)state;
	add_file("1", "t/a", "content");
	add_file("1", "t/a", "content");
	add_file("1", "t/b", "content");
	add_entry(&tar, &(struct entry)FILE_("t/c", "other"));
	add_file("1", "t/c", "content");
	add_entry(&tar, &(struct entry)LINK_("t/l", "c"));
	add_file("1", "t/l", "content");
	add_file("1", "t/a", "CONTENT");
	unpack_all();
	verify_entry("a=CONTENT");
	verify_entry("b=content");
	assert_one("b", "c");
	assert_one("b", "l");
	assert_int_equal(look("b").st_nlink, 3);
	assert_int_equal(look("a").st_nlink, 1);
}

/* Through a link to where it leads outside, nothing goes; inside, it is the place that counts. */
static void links_on_the_way(void **state)
{
	struct error err;

	(void)state;
	add_file("1", "t/d/a", "content");
	add_entry(&tar, &(struct entry)LINK_("t/to", "d"));
	add_file("1", "t/to/b", "content");
	unpack_all();
	assert_one("d/a", "d/b");
	clear_in();
	buffer_reset(&tar);
	add_file("1", "t/a", "content");
	add_entry(&tar, &(struct entry)LINK_("t/to", "%O"));
	add_file("1", "t/to/b", "content");
	add_end(&tar);
	assert_true(unpack_buffer(&tar, &err) < 0);
	assert_nothing_left();
	buffer_reset(&tar);
	add_file("1", "t/a", "secret");
	add_file("1", "../outside/secret", "secret");
	add_end(&tar);
	assert_int_equal(unpack_buffer(&tar, &err), -EXDEV);
	assert_nothing_left();
}

static void many_numbers(void **state)
{
	const int count = 4000;
	char ino[32], name[32];

	(void)state;
	for (int i = 0; i < 2 * count; i++) {
		snprintf(ino, sizeof(ino), "%llu", (unsigned long long)(i % count) << 32);
		snprintf(name, sizeof(name), "t/%d", i);
		add_file(ino, name, "x");
	}
	unpack_all();
	for (int i = 0; i < count; i++) {
		snprintf(ino, sizeof(ino), "%d", i);
		snprintf(name, sizeof(name), "%d", i + count);
		assert_one(ino, name);
	}
	assert_string_equal(buffer_string(&warnings), "");
}

/* An archive that ends within the content of a second name leaves nothing. */
static void cut_within_a_second_name(void **state)
{
	struct error err;

	(void)state;
	add_file("1", "t/a", "content");
	add_file("1", "t/b", "content");
	tar.size -= BLOCK - 3;
	assert_int_equal(unpack_buffer(&tar, &err), -EBADMSG);
	assert_nothing_left();
}

int main(void)
{
	const struct CMUnitTest tests[] = {
#define T(function) cmocka_unit_test_setup_teardown(function, setup, teardown)
		T(equal_numbers_and_content_are_one_file),
		T(other_content_is_another_file),
		T(large_content_that_differs_late),
		T(other_sizes_modes_and_numbers_are_other_files),
		T(odd_numbers),
		T(numbers_of_what_is_no_file_mean_nothing),
		T(a_first_name_that_was_replaced),
		T(a_name_that_is_taken),
		T(links_on_the_way),
		T(many_numbers),
		T(cut_within_a_second_name),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
