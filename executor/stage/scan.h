/*
 * A first look at a tree that another container hands over, before it is accepted: whether we may
 * read every part of it, as its owner, once that container has ended; and how much it is, so that
 * what is sent in the end can be held against it. A mount in the tree speaks against it: it is gone
 * when its container is.
 *
 * What we may not open ourselves its owner is asked for, some names of one directory at a time; what it
 * has opened is kept (opened.h) for whoever reads the tree in the end.
 *
 * It goes on in slices, so that one loop can do it beside everything else, and holds one open
 * directory a level.
 */
#pragma once

#include "executor/base/identity.h"
#include "executor/process/channel.h"

#include <dirent.h>
#include <stdbool.h>
#include <stdint.h>

/* Beyond these a tree is left to its wrapper. */
#define SCAN_ENTRIES_MAX 1000000
#define SCAN_DEPTH_MAX 64
#define SCAN_NAME_MAX 4095 /* of an entry, all directories included */

/* Entries that one slice looks at: some milliseconds. */
#define SCAN_SLICE 1024

struct scan_counts {
	uint64_t files, directories, links; /* the top counts too; other types do not */
};

enum scan_state { SCAN_END, SCAN_MORE, SCAN_ASKS };

struct scan_directory;

struct scan {
	const struct identity *as; /* borrowed */
	struct scan_level {
		DIR *directory;
		size_t size; /* of its path */
		bool is_closed; /* we may look up nothing in it */
	} levels[SCAN_DEPTH_MAX]; /* from the top to where we are */
	size_t depth, depth_above; /* of the first level */
	char path[SCAN_NAME_MAX + 1]; /* of the directory at hand */
	uint64_t seen; /* entries of any type */
	struct scan_counts counts;
	struct channel_ask
		ask; /* names in the directory ask_fd; those of none after scan_answer() */
	int ask_size, ask_fd;
	struct opened *opened; /* what was answered; for the owner to take */
	size_t opened_max; /* descriptors that it may hold; set by the owner */
	struct scan_directory
		*closed; /* of those, directories that are still to be looked through */
};

/* `fd` (not owned) is a directory. 0 or a negative errno. scan_done() in any case. */
int scan_init(struct scan *scan, int fd, const struct identity *as);
void scan_done(struct scan *scan);

/* One slice: a scan_state, or a negative errno: EXDEV (a mount), E2BIG, ELOOP, ENAMETOOLONG, EMFILE (the
 * limits above), or whatever reading says. SCAN_ASKS: scan->ask is to be answered before the next one. */
int scan_step(struct scan *scan);

/* For each name that was asked for an open descriptor, taken by TAKE_FD, or why there is none (positive
 * errno). What kind of files they are has been checked. 0 or a negative errno: EACCES and EPERM
 * (something may not be read). */
int scan_answer(struct scan *scan, const int *codes, int *fds);
