#include "executor/base/flags.h"

#include "executor/base/text.h"

#include <errno.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>

static const struct flag *find_long(const struct flag *table, const char *name, size_t size)
{
	for (; table->name; table++)
		if (strlen(table->name) == size && strncmp(table->name, name, size) == 0)
			return table;
	return NULL;
}

static const struct flag *find_short(const struct flag *table, char name)
{
	for (; table->name; table++)
		if (table->short_name == name)
			return table;
	return NULL;
}

static int append(const struct flag *flag, const char *value, struct error *err)
{
	const char **list = flag->target;

	for (size_t i = 0; i < FLAG_LIST_MAX; i++) {
		if (!list[i]) {
			list[i] = value;
			return 0;
		}
	}
	return error_set(err, -EINVAL, "flag --%s is given too often", flag->name);
}

static int store(const struct flag *flag, const char *value, struct error *err)
{
	int64_t number;

	switch (flag->kind) {
	case FLAG_STRING:
		*(const char **)flag->target = value;
		return 0;
	case FLAG_LIST:
		return append(flag, value, err);
	case FLAG_BOOL:
		if (text_parse_bool(value, flag->target) == 0)
			return 0;
		break;
	case FLAG_INT:
		if (text_parse_int64(value, &number) == 0) {
			*(long long *)flag->target = number;
			return 0;
		}
		break;
	}
	return error_set(err, -EINVAL, "invalid argument \"%.100s\" for flag --%s", value,
			 flag->name);
}

struct words {
	char **argv;
	int argc;
	int next;
};

/* The value behind `=`, or "true" for a boolean, or the next word. */
static int take_value(const struct flag *flag, const char *inline_value, struct words *words,
		      struct error *err)
{
	if (inline_value)
		return store(flag, inline_value, err);
	if (flag->kind == FLAG_BOOL)
		return store(flag, "true", err);
	if (words->next >= words->argc)
		return error_set(err, -EINVAL, "flag needs an argument: --%s", flag->name);
	return store(flag, words->argv[words->next++], err);
}

static int parse_flag(const char *word, const struct flag *table, struct words *words,
		      struct error *err)
{
	const struct flag *flag;
	const char *value;

	if (word[1] == '-') {
		const char *end = strchrnul(word + 2, '=');

		flag = find_long(table, word + 2, (size_t)(end - word - 2));
		value = *end ? end + 1 : NULL;
		if (!flag)
			return error_set(err, -EINVAL, "unknown flag: %.*s", (int)(end - word),
					 word);
		return take_value(flag, value, words, err);
	}
	flag = find_short(table, word[1]);
	if (!flag)
		return error_set(err, -EINVAL, "unknown shorthand flag: '%c' in %.100s", word[1],
				 word);
	value = word[2] == '=' ? word + 3 : word[2] ? word + 2 : NULL;
	return take_value(flag, value, words, err);
}

int flags_parse(int argc, char **argv, const struct flag *table, char **words, struct error *err)
{
	struct words source = { .argv = argv, .argc = argc, .next = 1 };
	int count = 0;

	while (source.next < argc) {
		char *word = argv[source.next++];
		int r;

		if (strcmp(word, "--") == 0) {
			while (source.next < argc)
				words[count++] = argv[source.next++];
			break;
		}
		if (word[0] != '-' || word[1] == '\0') {
			words[count++] = word;
			continue;
		}
		r = parse_flag(word, table, &source, err);
		if (r < 0)
			return r;
	}
	words[count] = NULL;
	return count;
}

void flags_print(int fd, const struct flag *table)
{
	static const char *const kinds[] = { "string", "", "int", "strings" };

	for (; table->name; table++) {
		char name[80];

		snprintf(name, sizeof(name), "--%s %s", table->name, kinds[table->kind]);
		if (table->short_name)
			dprintf(fd, "  -%c, %-40s %s\n", table->short_name, name, table->help);
		else
			dprintf(fd, "      %-40s %s\n", name, table->help);
	}
}
