/*
 * The entries of a zip archive (PKWARE APPNOTE 6.3), in the order of its central directory, which
 * alone knows modes and sizes; so this needs a seekable file. Store and deflate, zip64, data in
 * front of the archive; no encryption, no parts. Checksums and sizes are verified. The directory
 * is read entry by entry: memory does not grow with it.
 *
 * Read by hand, not through libarchive, which in the C locale gives no name at all to an entry
 * whose UTF-8 name is not ASCII.
 */
#pragma once

#include "executor/archive/member.h"
#include "executor/base/cleanup.h"
#include "executor/base/error.h"

#include <stddef.h>

struct zip_reader;

/* fd: a regular file, not owned, read with pread(2). */
int zip_reader_new(int fd, struct zip_reader **ret, struct error *err);
void zip_reader_free(struct zip_reader **reader);
#define _cleanup_zip_reader_ _cleanup_(zip_reader_free)

/* 1 and the next entry (its name is valid until the next call), or 0 at the end. The type is
 * directory, regular or symbolic link (whose text is its content; member.link stays NULL); modes
 * are those that the creator wrote, or 0644 and 0755 where it wrote none. */
int zip_reader_next(struct zip_reader *reader, struct member *ret, struct error *err);

/* Up to `size` bytes of the current entry's content; 0 at the end, when size and checksum have
 * proved right. */
ssize_t zip_reader_data(struct zip_reader *reader, void *data, size_t size, struct error *err);
