/* Archives that are hostile or odd, and what must become of each. */
#pragma once

#include "tests/unit/unpack_support.h"

struct hostile {
	const char *title;
	struct entry entries[10];
	int wanted; /* 0 or a negative errno */
	/* Of the error, or (wanted 0) of the warnings: what it must contain; "" = no warning. */
	const char *message;
	/* wanted 0: "path=content", "path->target", "path/" (a directory), "!path" (nothing). */
	const char *expected[6];
	bool is_damaged; /* no end mark */
};

extern const struct hostile hostile_archives[];
extern const size_t hostile_archives_count;
