/*
 * A place in a directory that is open, for writing where others can write, too: whatever they put in the
 * way that led to the directory, it stays the same one.
 */
#pragma once

#include "executor/base/error.h"

#include <fcntl.h>

struct spot {
	int directory_fd; /* not owned; O_PATH will do */
	const char *name; /* in that directory: one component */
	const char *path; /* of it, for messages */
};

/* For a path that nobody else has a hand in: its name is all of it. */
static inline struct spot spot_by_path(const char *path)
{
	return (struct spot){ .directory_fd = AT_FDCWD, .name = path, .path = path };
}

/* rm -rf without following symbolic links; a missing one is success. */
int spot_remove_tree(struct spot spot, struct error *err);
