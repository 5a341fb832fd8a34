/* Where a volume of the user's is, and the directory of inputs without one. */
#pragma once

#include "executor/stage/stage.h"

#include <sys/types.h>

/* Of directories that are made. */
#define VOLUME_DIRECTORY_MODE 0755

/* A directory that nothing but our own container's files leads to, and nobody else has a hand in those; made
 * if it is missing. O_PATH. */
int volume_open_own(const char *path, struct error *err);

/* The volume that the template mounts at `mount`. Inside another volume, where others may put links, it is
 * found beneath that. Missing directories are made if wanted. O_PATH. */
int volume_open(const struct stage *stage, const char *mount, bool is_made, struct error *err);
