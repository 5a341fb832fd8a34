/* What an answer means for whoever may try again: a provider's codes first, then what holds for all. */
#pragma once

#include "executor/base/error.h"

#include <stdbool.h>
#include <stddef.h>

struct object_code {
	const char *code;
	enum error_class class;
};

/* The class of an answer with HTTP `status` (no 2xx), the Code and the Message of its Error
 * document ("" = none came). `is_object` tells whose absence a bare 404 reports. EXPIRED_CREDENTIALS,
 * WRONG_REGION and CLOCK_SKEW say that the request can be cured, if there is a way to. */
enum error_class object_classify(const struct object_code *codes, size_t count, int status,
				 const char *code, const char *message, bool is_object);
