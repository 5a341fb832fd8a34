/* containerSet.retryStrategy: how often a member's command is run, and with which pause. */
#pragma once

#include "executor/base/error.h"
#include "executor/template/template.h"

#include <stdint.h>

struct attempts {
	int64_t count; /* in total, ≥ 1 */
	int64_t pause_ms;
};

/* `retries: N` (a number or a numeric string) means N attempts, as Argo's executor counts; 0, none
 * or another type of template mean one. -EINVAL for what cannot be read. */
int attempts_load(const struct template *template, struct attempts *ret, struct error *err);
