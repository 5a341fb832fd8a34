/*
 * The directory in which an archive is unpacked, beside the place where the result shall be, so
 * that the last step is a rename(2) and nothing half-done is ever seen there.
 */
#pragma once

#include "executor/base/cleanup.h"
#include "executor/base/error.h"
#include "executor/base/spot.h"

#include <stdbool.h>

#define WORKDIR_SUFFIX ".tmpdir"

struct workdir {
	char *target; /* clean path of the result, for messages */
	char *path; /* target + WORKDIR_SUFFIX, the same */
	char *base, *name; /* of both, in their directory */
	int parent_fd; /* of both */
	int fd; /* the work directory */
	bool is_made; /* and has its name yet */
};

/* Nothing owned yet; workdir_done() may be called. */
#define WORKDIR_NONE ((struct workdir){ .parent_fd = -1, .fd = -1 })
#define _cleanup_workdir_ _cleanup_(workdir_done)

/* Makes `<target>.tmpdir`, mode 0777, and missing directories above it if the target is a path; what an
 * earlier attempt left there is removed first. The target's directory need not stay open. */
int workdir_open(struct workdir *workdir, struct spot target, struct error *err);

/*
 * Exactly one entry in the work directory: that entry becomes the target. None or several: the
 * work directory itself does. A file or an empty directory at the target is replaced; anything
 * else stays, and the error says what it is.
 */
int workdir_finish(struct workdir *workdir, struct error *err);

/* Removes the work directory unless it was finished. */
void workdir_done(struct workdir *workdir);
