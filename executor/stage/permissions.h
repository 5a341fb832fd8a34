/* `mode` and `recurseMode` of an input artifact. */
#pragma once

#include "executor/base/error.h"

#include <stdbool.h>

/* chmod of `path`, and with is_recursive of everything below it. Symbolic links, `path` itself
 * included, are left alone, wherever they point. */
int permissions_set(const char *path, unsigned mode, bool is_recursive, struct error *err);
