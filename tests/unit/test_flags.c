#include "executor/base/flags.h"

#include "executor/base/buffer.h"

#include <errno.h>
#include <fcntl.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

#include <cmocka.h>

#define WORDS_MAX 64

static struct {
	const char *name, *level;
	bool is_short, is_other;
	long long number;
	const char *list[FLAG_LIST_MAX + 1];
	char *words[WORDS_MAX];
	int count;
	struct error err;
} got;

static const struct flag table[] = {
	{ "name", 'n', FLAG_STRING, &got.name, "a name" },
	{ "loglevel", 0, FLAG_STRING, &got.level, "a level" },
	{ "short", 's', FLAG_BOOL, &got.is_short, "a switch" },
	{ "other", 0, FLAG_BOOL, &got.is_other, "another" },
	{ "number", 0, FLAG_INT, &got.number, "a number" },
	{ "as-group", 0, FLAG_LIST, &got.list, "a list" },
	{ .name = NULL },
};

/* Splits at '|'; returns flags_parse()'s result. */
static int parse(const char *line)
{
	static char copy[4096];
	static char program[] = "argoexec";
	char *argv[WORDS_MAX] = { program };
	int argc = 1;

	memset(&got, 0, sizeof(got));
	snprintf(copy, sizeof(copy), "%s", line);
	for (char *p = copy; *line && p; argc++) {
		argv[argc] = p;
		p = strchr(p, '|');
		if (p)
			*p++ = '\0';
	}
	got.count = flags_parse(argc, argv, table, got.words, &got.err);
	return got.count;
}

/* The words joined by '|'. */
static const char *words(void)
{
	static char joined[4096];
	size_t size = 0;

	joined[0] = '\0';
	assert_null(got.words[got.count]);
	for (int i = 0; i < got.count; i++)
		size += (size_t)snprintf(joined + size, sizeof(joined) - size, "%s%s",
					 i > 0 ? "|" : "", got.words[i]);
	return joined;
}

static void test_flags_stand_anywhere(void **state)
{
	static const char *const lines[] = {
		"--name|x|--short|kill|15|1",
		"kill|--name=x|15|--short|1",
		"kill|15|1|-n|x|-s",
		"-nx|kill|-s|15|1",
		"kill|-n=x|--short=true|15|1",
		"kill|15|--name|y|1|--name|x|-s=1",
		"--short=false|kill|15|1|-s|-nx",
	};

	(void)state;
	for (size_t i = 0; i < sizeof(lines) / sizeof(lines[0]); i++) {
		if (parse(lines[i]) != 3)
			fail_msg("%s: %s", lines[i], got.err.message);
		assert_string_equal(words(), "kill|15|1");
		assert_string_equal(got.name, "x");
		assert_true(got.is_short);
	}
}

static void test_dashes_end_flags(void **state)
{
	(void)state;
	assert_int_equal(parse("emissary|--loglevel|info|--|sh|-c|--name|--|x"), 6);
	assert_string_equal(words(), "emissary|sh|-c|--name|--|x");
	assert_string_equal(got.level, "info");
	assert_null(got.name);
	assert_int_equal(parse("--"), 0);
	assert_int_equal(parse("emissary|--"), 1);
	assert_int_equal(parse(""), 0);
}

/* A value is whatever stands there, also what looks like a flag. */
static void test_values(void **state)
{
	(void)state;
	assert_int_equal(parse("--name|--short|x"), 1);
	assert_string_equal(got.name, "--short");
	assert_false(got.is_short);
	assert_int_equal(parse("--name|--|x"), 1);
	assert_string_equal(got.name, "--");
	assert_int_equal(parse("--name=a=b"), 0);
	assert_string_equal(got.name, "a=b");
	assert_int_equal(parse("--name=|x"), 1);
	assert_string_equal(got.name, "");
	assert_int_equal(parse("-|x"), 2);
	assert_string_equal(words(), "-|x");
	assert_int_equal(parse("--number|-5"), 0);
	assert_int_equal(got.number, -5);
	assert_int_equal(parse("--number=0|--number=12"), 0);
	assert_int_equal(got.number, 12);
}

static void test_booleans(void **state)
{
	(void)state;
	assert_int_equal(parse("--short|--other=F"), 0);
	assert_true(got.is_short && !got.is_other);
	assert_int_equal(parse("--other|false"), 1); /* a word, not a value */
	assert_true(got.is_other);
	assert_string_equal(words(), "false");
	assert_int_equal(parse("--short=TRUE|--short=0"), 0);
	assert_false(got.is_short);
}

static void test_lists(void **state)
{
	_cleanup_buffer_ struct buffer line = BUFFER_INIT(4000);

	(void)state;
	assert_int_equal(parse("--as-group|a|--as-group=b,c"), 0);
	assert_string_equal(got.list[0], "a");
	assert_string_equal(got.list[1], "b,c");
	assert_null(got.list[2]);
	for (int i = 0; i < FLAG_LIST_MAX; i++)
		buffer_append_format(&line, "%s--as-group=x", i > 0 ? "|" : "");
	assert_int_equal(parse(buffer_string(&line)), 0);
	assert_non_null(got.list[FLAG_LIST_MAX - 1]);
	assert_null(got.list[FLAG_LIST_MAX]);
	buffer_append_string(&line, "|--as-group=x");
	assert_int_equal(parse(buffer_string(&line)), -EINVAL);
	assert_string_equal(got.err.message, "flag --as-group is given too often");
}

static void test_mistakes_are_named(void **state)
{
	static const struct {
		const char *line, *message;
	} cases[] = {
		{ "--nope", "unknown flag: --nope" },
		{ "--nope=1", "unknown flag: --nope" },
		{ "--nam|x", "unknown flag: --nam" },
		{ "--names|x", "unknown flag: --names" },
		{ "--=x", "unknown flag: --" },
		{ "---name", "unknown flag: ---name" },
		{ "-9", "unknown shorthand flag: '9' in -9" },
		{ "kill|-x=1", "unknown shorthand flag: 'x' in -x=1" },
		{ "--name", "flag needs an argument: --name" },
		{ "x|-n", "flag needs an argument: --name" },
		{ "--number=x", "invalid argument \"x\" for flag --number" },
		{ "--number=1.5", "invalid argument \"1.5\" for flag --number" },
		{ "--number=", "invalid argument \"\" for flag --number" },
		{ "--number|99999999999999999999",
		  "invalid argument \"99999999999999999999\" for flag --number" },
		{ "--short=maybe", "invalid argument \"maybe\" for flag --short" },
		{ "-sx", "invalid argument \"x\" for flag --short" },
	};

	(void)state;
	for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
		assert_int_equal(parse(cases[i].line), -EINVAL);
		assert_string_equal(got.err.message, cases[i].message);
	}
}

static void test_help_names_every_flag(void **state)
{
	int fd = memfd_create("help", MFD_CLOEXEC);
	char text[2048];
	ssize_t n;

	(void)state;
	flags_print(fd, table);
	n = pread(fd, text, sizeof(text) - 1, 0);
	close(fd);
	assert_true(n > 0);
	text[n] = '\0';
	assert_non_null(strstr(text, "  -n, --name string "));
	assert_non_null(strstr(text, "      --number int "));
	assert_non_null(strstr(text, "      --as-group strings "));
	assert_non_null(strstr(text, " a switch\n"));
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_flags_stand_anywhere),
		cmocka_unit_test(test_dashes_end_flags),
		cmocka_unit_test(test_values),
		cmocka_unit_test(test_booleans),
		cmocka_unit_test(test_lists),
		cmocka_unit_test(test_mistakes_are_named),
		cmocka_unit_test(test_help_names_every_flag),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
