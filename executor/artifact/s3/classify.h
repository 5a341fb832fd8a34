/*
 * What an answer of an S3 server means for whoever may try again. The one table behind it is also
 * printed in docs/stores/s3.md.
 */
#pragma once

#include "executor/base/error.h"

#include <stdbool.h>

/* The class of an answer with HTTP `status` (no 2xx), the Code and the Message of its Error
 * document ("" = none came). `is_object` tells whose absence a bare 404 reports. WRONG_REGION and
 * CLOCK_SKEW say that the request can be cured, if the answer tells how. */
enum error_class s3_classify(int status, const char *code, const char *message, bool is_object);
