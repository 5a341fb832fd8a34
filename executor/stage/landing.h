/* Putting what a store gives into a new file. */
#pragma once

#include "executor/base/stream.h"

#include <sys/types.h>

/* Everything from the reader into a new file in the place of whatever has that name; no file after a
 * failure. */
int landing_write(const char *path, mode_t mode, struct reader *reader, struct error *err);
