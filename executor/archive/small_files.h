/*
 * The small files of a tar, made a batch at a time: while the next files are read from the archive, a
 * thread opens the new ones and sets their modes (half of what a small file takes, and nearly all that
 * confinement adds to it); then they get their content and times here.
 *
 *	r = small_files_takes(member) ? small_files_add(&small, tar, location, member, &err)
 *				      : small_files_flush(&small, &err);
 *	…
 *	r = small_files_flush(&small, &err);
 *
 * What is made is what would be made one by one in the order of the archive: a batch begins when all of
 * the one before is open, and where opening one fails, for whatever reason, it and those behind it are
 * made by tree_file_create(), which says why. Errors may come with a later member than theirs.
 */
#pragma once

#include "executor/archive/hooks.h"
#include "executor/archive/tar_reader.h"
#include "executor/archive/tree.h"
#include "executor/base/buffer.h"
#include "executor/event/pool.h"

/* Of one file's content. */
#define SMALL_FILES_BYTES_MAX (16u * 1024)
/* A batch: so many files, each with a descriptor, in so many directories (the same), with so much
 * content and names. There are two. */
#define SMALL_FILES_BATCH 32
#define SMALL_FILES_DIRECTORIES 8
#define SMALL_FILES_BATCH_BYTES (128u * 1024)

struct small_file {
	struct member member; /* its name: at name_at */
	size_t name_at, location_at, content_at; /* in the text of the batch */
	int directory_fd; /* the batch's */
	int fd; /* -1: not opened */
	bool has_mode;
};

struct small_batch {
	struct pool_job job;
	bool is_started;
	int directory_fds[SMALL_FILES_DIRECTORIES]; /* in the order of their files; owned */
	size_t directory_count;
	struct small_file files[SMALL_FILES_BATCH];
	size_t count;
	struct buffer text; /* names, locations, content */
};

struct small_files {
	struct tree *tree; /* outlives it, as do pool and hooks */
	struct pool *pool; /* NULL: nothing beside */
	const struct hooks *hooks;
	struct small_batch batches[2];
	unsigned current; /* that is being collected; the other one may be being opened */
};

void small_files_init(struct small_files *small, struct tree *tree, struct pool *pool,
		      const struct hooks *hooks);
/* Files that were not flushed are lost. */
void small_files_done(struct small_files *small);

/* A regular file that is small, and nothing else: without other names, without attributes. */
bool small_files_takes(const struct member *member);

/* Reads its content. Errors as of tree_file_open(), tree_file_close() and tar_reader_data(). */
int small_files_add(struct small_files *small, struct tar_reader *tar, const char *location,
		    const struct member *member, struct error *err);

/* Something else is to be made at `location`, a directory or files below it: makes what was added, if
 * that could be in the way. */
int small_files_give_way(struct small_files *small, const char *location, struct error *err);

/* Makes all that was added. */
int small_files_flush(struct small_files *small, struct error *err);
