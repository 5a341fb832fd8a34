/* `mode` and `recurseMode` of an input artifact. */
#pragma once

#include "executor/base/spot.h"

#include <stdbool.h>

/* chmod of what is there, and with is_recursive of everything below it. Symbolic links, the first name's
 * own included, are left alone, wherever they point; so is what has become one meanwhile. */
int permissions_set(struct spot spot, unsigned mode, bool is_recursive, struct error *err);

/* The same, with everything allowed to everybody: files 0666, directories 0777. */
int permissions_open(struct spot spot, bool is_recursive, struct error *err);
