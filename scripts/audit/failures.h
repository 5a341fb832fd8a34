/*
 * For analyzers only, in front of every source: what reports a failure returns a negative number, so a
 * caller that goes on after 0 has been given its results. They look at one file at a time, and cannot see it.
 */
#pragma once

#include "executor/base/error.h"

static inline int audit_failure(int code)
{
	if (code >= 0)
		__builtin_unreachable();
	return code;
}

#define error_set(...) audit_failure((error_set)(__VA_ARGS__))
#define error_set_class(...) audit_failure((error_set_class)(__VA_ARGS__))
#define error_errno(...) audit_failure((error_errno)(__VA_ARGS__))
#define error_prefix(...) audit_failure((error_prefix)(__VA_ARGS__))
