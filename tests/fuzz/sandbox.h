/* A place to unpack archives: in/ has the target in/art; what is in outside/ must never change. */
#pragma once

#include "executor/archive/unpack.h"
#include "executor/base/buffer.h"

/* Small, so that a bomb is refused at once. */
#define SANDBOX_BYTES_MAX (1024 * 1024)
#define SANDBOX_ENTRIES_MAX 300

extern const struct unpack_options sandbox_options;

/* The target; makes the place at the first call. */
const char *sandbox_target(void);

/*
 * Looks at what unpacking has left, whose result was r, and clears it away. Required: outside/ is as
 * it was; after a failure there is nothing, else the target alone, of no more than
 * SANDBOX_BYTES_MAX, without a link that leads out of in/.
 */
void sandbox_check(int r, const struct error *err);

/* --- tar archives made by hand ---------------------------------------------------------- */

#define SANDBOX_TAR_BLOCK 512

/* Appends an entry; long names get a GNU header of their own in front. `link` may be NULL. */
void sandbox_add_entry(struct buffer *tar, char type, const char *name, const char *link,
		       const char *content);
/* Makes the checksum of every block right that looks like a header, so that what is mutated is
 * still read. */
void sandbox_fix_checksums(char *tar, size_t size);
