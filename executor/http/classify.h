/*
 * What an answer that is a failure means for whoever may try again: one table per provider, as data,
 * and the table of what holds for all of them. The tables are also printed in docs/stores/
 * (scripts/store_docs.py reads their rows as they stand: one row, one line or one pair of braces).
 */
#pragma once

#include "executor/base/error.h"

#include <stdbool.h>
#include <stddef.h>

/* A row fits if all fits that it names; the first that fits decides. */
struct classify_row {
	enum error_class class;
	const char *code; /* the provider's; "" = the answer has none; NULL = any or none */
	const char *text; /* part of the message */
	int status, status_last; /* one status, or the first and the last of a range; 0 = any */
	bool is_object; /* only if an object's absence is what a bare 404 reports */
};

struct classify_table {
	const struct classify_row *rows;
	size_t count;
};

/* Expands to the table of an array of rows. */
#define CLASSIFY_TABLE(array) \
	{ \
		(array), sizeof(array) / sizeof((array)[0]) \
	}

/* What an answer says. */
struct classify_answer {
	int status;
	const char *code, *message; /* of the provider's error document; "" = none came */
	bool is_object;
};

/* The class by the provider's table (NULL = none), then by that of all, else PERMANENT.
 * EXPIRED_CREDENTIALS, WRONG_REGION and CLOCK_SKEW say that the request can be cured, if there is a
 * way to. */
enum error_class classify(const struct classify_table *provider,
			  const struct classify_answer *answer);
