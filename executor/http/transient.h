/*
 * TRANSIENT_ERROR_PATTERN: the operator's own idea of what may heal, as a regular expression that
 * is searched for in error texts. The syntax is Go's (RE2); PCRE2 runs it with limits on steps and
 * memory, so that no pattern can hang the program: a search that hits one finds nothing.
 */
#pragma once

#include "executor/base/error.h"

#include <stdbool.h>

struct transient_pattern;

/* *ret is NULL, and 0 returned, for an empty pattern. -EINVAL with a message that names the
 * variable TRANSIENT_ERROR_PATTERN and the place of the fault. */
int transient_pattern_new(const char *pattern, struct transient_pattern **ret, struct error *err);

/* The same for the value of the environment variable. */
int transient_pattern_from_environment(struct transient_pattern **ret, struct error *err);

void transient_pattern_free(struct transient_pattern *pattern);
static inline void transient_pattern_freep(struct transient_pattern **pattern)
{
	transient_pattern_free(*pattern);
}

/* False for a NULL pattern. */
bool transient_pattern_matches(const struct transient_pattern *pattern, const char *text);
