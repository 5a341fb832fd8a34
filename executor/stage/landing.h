/* Putting what a store gives into a new file. */
#pragma once

#include "executor/base/spot.h"
#include "executor/base/stream.h"

#include <sys/types.h>

/* Everything from the reader into a new file in the place of whatever has that name; no file after a
 * failure. */
int landing_write(struct spot spot, mode_t mode, struct reader *reader, struct error *err);

/* Returns r. A place that is missing is no missing artifact: an optional one is not skipped for it. */
int landing_not_absent(int r, struct error *err);
