/*
 * Command-line flags in the grammar that Argo's users and controller write: `--name value`,
 * `--name=value`, `-n value`, booleans as `--name` or `--name=false`; flags may stand before,
 * between and behind the words; `--` ends them. A flag given twice: the last one wins.
 */
#pragma once

#include "executor/base/error.h"

#include <stdbool.h>

enum flag_kind { FLAG_STRING, FLAG_BOOL, FLAG_INT, FLAG_LIST };

/* Values that a FLAG_LIST collects; more are an error. */
#define FLAG_LIST_MAX 32

struct flag {
	const char *name; /* without dashes; NULL ends a table */
	char short_name; /* 0 = none */
	enum flag_kind kind;
	/* const char **, bool *, long long *, or const char *[FLAG_LIST_MAX + 1]. */
	void *target;
	const char *help;
};

/*
 * Parses the words argv[1…argc), stores flag values, and moves everything else to the front of
 * `words` (room for argc + 1), NULL terminated; what follows `--` is words. Strings are borrowed.
 * Returns the number of words, or -EINVAL with "unknown flag: --x" and the like.
 */
int flags_parse(int argc, char **argv, const struct flag *table, char **words, struct error *err);

/* Prints the table as the "Flags:" part of a usage text. */
void flags_print(int fd, const struct flag *table);
