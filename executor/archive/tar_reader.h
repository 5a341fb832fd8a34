/*
 * The entries of a tar archive, in order, through libarchive: V7, ustar, pax, GNU long names,
 * base-256 numbers, and sparse files of all kinds. Damaged archives are errors, not guesses.
 * Names come as the bytes that the archive has, whatever their character set.
 */
#pragma once

#include "executor/archive/member.h"
#include "executor/base/cleanup.h"
#include "executor/base/stream.h"

/* What libarchive may read for the headers of one entry (it allows 1 MiB for one pax header), and
 * at one time within content (a sparse map): else a small archive could ask for any memory. */
#define TAR_READER_HEADER_BYTES_MAX (4u * 1024 * 1024)
#define TAR_READER_STEP_BYTES_MAX (1024u * 1024)

struct tar_reader;

/* A part of an entry's content; what no part covers is zeros. */
struct tar_part {
	const void *data; /* valid until the next call */
	size_t size;
	uint64_t offset;
};

/* has_own_end: the source itself tells a cut (it is compressed); otherwise an archive that ends
 * without the end mark is an error. The source must outlive the reader. */
int tar_reader_new(struct reader *source, bool has_own_end, struct tar_reader **ret,
		   struct error *err);
void tar_reader_free(struct tar_reader **reader);
#define _cleanup_tar_reader_ _cleanup_(tar_reader_free)

/* 1 and the next entry (its strings are valid until the next call), or 0 at the end. Content that
 * was not read is skipped. */
int tar_reader_next(struct tar_reader *reader, struct member *ret, struct error *err);

/* 1 and a part of the current entry's content, or 0 at its end. */
int tar_reader_data(struct tar_reader *reader, struct tar_part *ret, struct error *err);
