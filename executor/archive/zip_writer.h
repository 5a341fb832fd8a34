/*
 * A zip archive (PKWARE APPNOTE 6.3) written as a stream: deflated entries with data descriptors,
 * UTF-8 flag where a name needs it, zip64 where a number does, Unix modes, and modification times
 * both as DOS time (UTC) and as Info-ZIP's extended timestamp.
 * The central directory is kept in memory until the end: about 60 bytes and the name per entry.
 *
 * Written by hand, not through libarchive, for its names: see tar_writer.h.
 */
#pragma once

#include "executor/archive/deflate.h"
#include "executor/archive/member.h"
#include "executor/base/buffer.h"
#include "executor/base/stream.h"

/* About a million entries; more would not fit the memory that a transfer may use. */
#define ZIP_DIRECTORY_BYTES_MAX (128u * 1024 * 1024)

struct zip_writer {
	struct writer counter; /* writes to out and counts */
	struct writer *out; /* not owned */
	struct deflater *deflater;
	struct buffer directory;
	uint64_t offset;
	uint64_t count;
	uint64_t entry_offset;
	struct member entry; /* name is borrowed between begin and end */
};

int zip_writer_init(struct zip_writer *zip, struct writer *out, int level, struct error *err);
void zip_writer_done(struct zip_writer *zip);
#define _cleanup_zip_writer_ _cleanup_(zip_writer_done)

/* A regular file (member->size bytes of content follow through zip_writer_data, then
 * zip_writer_end_entry), a directory or a symbolic link (complete at once). `name` without a
 * trailing slash must stay valid until the entry ends. Anything else: -EINVAL. */
int zip_writer_begin(struct zip_writer *zip, const struct member *member, struct error *err);
int zip_writer_data(struct zip_writer *zip, const void *data, size_t size, struct error *err);
int zip_writer_end_entry(struct zip_writer *zip, struct error *err);

/* Writes the central directory; `out` is not finished. */
int zip_writer_finish(struct zip_writer *zip, struct error *err);
