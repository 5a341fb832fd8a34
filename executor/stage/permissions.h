/* `mode` and `recurseMode` of an input artifact. */
#pragma once

#include "executor/base/error.h"

#include <stdbool.h>

/* chmod of `path`, and with is_recursive of everything below it. Symbolic links, `path` itself
 * included, are left alone, wherever they point. */
int permissions_set(const char *path, unsigned mode, bool is_recursive, struct error *err);

/* The same, with everything allowed to everybody: files 0666, directories 0777. */
int permissions_open(const char *path, bool is_recursive, struct error *err);
