/*
 * What an answer of OSS means for whoever may try again. The one table behind it is also printed in
 * docs/stores/oss.md.
 */
#pragma once

#include "executor/base/error.h"

#include <stdbool.h>

/* As classify(), executor/http/classify.h. */
enum error_class oss_classify(int status, const char *code, const char *message, bool is_object);
