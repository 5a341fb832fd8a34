/*
 * Where an input artifact goes, and where it is put together before: what has a final name is whole.
 */
#pragma once

#include "executor/base/path.h"
#include "executor/stage/stage.h"

struct place {
	char target[PATH_MAX_BYTES];
	/* Where it is put together: the target, or a name inside of it where the target is a
	 * directory of the user's, which may be the root of a volume. */
	char landing[PATH_MAX_BYTES + 264];
	char temporary[PATH_MAX_BYTES + 272]; /* of a file, or the directory of a prefix */
	bool joins; /* landing is not the target */
};

/* Finds the place, makes the directories above it, and removes what an earlier attempt left there. In a
 * volume the way must not lead out of it. */
int place_prepare(const struct stage *stage, const struct template_artifact *artifact,
		  struct place *place, struct error *err);

/* Moves what is complete at `temporary` to `landing`; it is gone after a failure. */
int place_fill(const struct place *place, struct error *err);

/* From `landing` to `target`. */
int place_settle(const struct place *place, struct error *err);
