/*
 * tar entries as Go's archive/tar writes them: POSIX ustar where every field fits, otherwise a pax
 * extended header in front (POSIX.1-2001) with just the fields that do not. Owners are numbers
 * only: the names known here are not those of the container that made the files. A file with several
 * names is written under each, with records by which readers may find out (member.h). Directory names
 * end without a slash, the type says what they are. No access or change times.
 *
 * Written by hand, not through libarchive: its pax writer translates names from the locale's
 * character set, and a static program in the C locale can only mark every non-ASCII name
 * "hdrcharset=BINARY", which GNU tar warns about.
 */
#pragma once

#include "executor/archive/member.h"
#include "executor/base/stream.h"

/* The header(s) of one entry. Exactly member->size bytes of content must follow, then
 * tar_write_padding(). Sockets do not exist in tar: -EINVAL. */
int tar_write_header(struct writer *out, const struct member *member, struct error *err);

/* Fills up the last block of `size` bytes of content. */
int tar_write_padding(struct writer *out, uint64_t size, struct error *err);

/* The end mark: two blocks of zeros. */
int tar_write_end(struct writer *out, struct error *err);
