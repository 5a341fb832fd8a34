/*
 * Opening what a stranger names, without ever leaving a directory: openat2(2) with RESOLVE_BENEATH
 * where the kernel has it and lets us, else the same walk by hand. Symbolic links may be followed
 * as long as every step stays below; absolute links and `..` above the top do not.
 */
#pragma once

#include <stdbool.h>

struct beneath {
	int root_fd; /* not owned */
	bool by_hand; /* set when openat2 turns out to be missing or forbidden */
};

/*
 * A descriptor (O_PATH) of the directory `path`, relative to the root ("" = the root itself).
 * *ret_has_links, if not NULL, tells whether a symbolic link was on the way. -EXDEV: it leads
 * outside; -ENOENT, -ENOTDIR, -ELOOP, … as open(2).
 */
int beneath_open_directory(struct beneath *beneath, const char *path, bool *ret_has_links);

/* True if following `path` to its end, whatever lies there or nothing, leaves the root. */
bool beneath_leaves(struct beneath *beneath, const char *path);

/* The number of directories between the root and the directory `fd`, found by going up;
 * -ELOOP if it is more than max, or if the root is not met. */
int beneath_depth(const struct beneath *beneath, int fd, int max);
