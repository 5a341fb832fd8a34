/* The names in a directory, sorted by byte value. */
#pragma once

#include "executor/base/buffer.h"

#include <stdint.h>

struct listing {
	struct buffer names; /* NUL-terminated, one behind the other */
	struct buffer offsets; /* uint32_t into names, in order */
	size_t count;
};
#define LISTING_INIT(max_bytes) \
	((struct listing){ .names = BUFFER_INIT(max_bytes), .offsets = BUFFER_INIT(max_bytes) })
#define _cleanup_listing_ _cleanup_(listing_done)

/* Reads the directory behind `fd` (not owned; its position is moved). 0, -EMSGSIZE over the
 * listing's maximum, or a negative errno. */
int listing_read(struct listing *listing, int fd);
const char *listing_name(const struct listing *listing, size_t index);
void listing_done(struct listing *listing);
