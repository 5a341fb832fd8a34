/*
 * A first look at a tree that another container hands over, before it is accepted: whether we may
 * read every part of it, as its owner, once that container has ended; and how much it is, so that
 * what is sent in the end can be held against it. A mount in the tree speaks against it: it is gone
 * when its container is.
 *
 * It goes on in slices, so that one loop can do it beside everything else, and holds one open
 * directory a level.
 */
#pragma once

#include "executor/base/identity.h"

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

struct scan {
	const struct identity *as; /* borrowed */
	DIR *directories[SCAN_DEPTH_MAX]; /* from the top to where we are */
	size_t name_sizes[SCAN_DEPTH_MAX];
	size_t depth;
	uint64_t seen; /* entries of any type */
	struct scan_counts counts;
};

/* `fd` (not owned) is a directory. 0 or a negative errno. scan_done() in any case. */
int scan_init(struct scan *scan, int fd, const struct identity *as);
void scan_done(struct scan *scan);

/* One slice: 1 if there is more, 0 at the end, or a negative errno: EACCES and EPERM (something may
 * not be read), EXDEV (a mount), E2BIG, ELOOP, ENAMETOOLONG (the limits above), or whatever reading
 * says. */
int scan_step(struct scan *scan);
