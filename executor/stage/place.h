/*
 * Where an input artifact goes, and where it is put together before: what has a final name is whole.
 *
 * Others may write to a volume at the same time, and put links where directories were. So the directory
 * is found once, beneath its volume, and is a descriptor from then on; nothing is found by its path.
 */
#pragma once

#include "executor/base/path.h"
#include "executor/base/spot.h"
#include "executor/stage/stage.h"

struct place {
	int directory_fd; /* of landing and temporary; good for *at() calls; -1 = none */
	bool joins; /* landing is not the target, which is that directory */
	/* For messages, but for the last component of the last two. */
	char target[PATH_MAX_BYTES];
	/* Where it is put together: the target, or a name inside of it where the target is a
	 * directory of the user's, which may be the root of a volume. */
	char landing[PATH_MAX_BYTES + 264];
	char temporary[PATH_MAX_BYTES + 272]; /* of a file, or the directory of a prefix */
};

/* Finds the place, makes the directories above it, and removes what an earlier attempt left there. In a
 * volume the way must not lead out of it. */
int place_prepare(const struct stage *stage, const struct template_artifact *artifact,
		  struct place *place, struct error *err);
void place_done(struct place *place);

/* Valid as long as the place is, and stays where it is. */
struct spot place_target(const struct place *place);
struct spot place_landing(const struct place *place);
struct spot place_temporary(const struct place *place);

/* Moves what is complete at `temporary` to `landing`; it is gone after a failure. */
int place_fill(const struct place *place, struct error *err);

/* From `landing` to `target`. */
int place_settle(const struct place *place, struct error *err);
