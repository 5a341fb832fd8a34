/* What packing and unpacking tell their caller, and ask it, while they run. */
#pragma once

#include "executor/base/error.h"

#include <stdbool.h>

struct hooks {
	/* Something was left out or changed, and the work goes on. One line, no newline; valid
	 * during the call only. NULL = not interested. */
	void (*warn)(void *context, const char *message);
	/* Asked before every entry and every chunk of data. NULL = never cancelled. */
	bool (*is_cancelled)(void *context);
	void *context;
};

void hooks_warn(const struct hooks *hooks, const char *format, ...)
	__attribute__((format(printf, 2, 3)));

/* 0, or -ECANCELED (class CANCELLED). */
int hooks_check(const struct hooks *hooks, struct error *err);
