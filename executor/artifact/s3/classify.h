/*
 * What an answer of an S3 server means for whoever may try again. The one table behind it is also
 * printed in docs/stores/s3.md.
 */
#pragma once

#include "executor/base/error.h"

#include <stdbool.h>

/* As classify(), executor/http/classify.h. */
enum error_class s3_classify(int status, const char *code, const char *message, bool is_object);
