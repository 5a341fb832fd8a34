/*
 * Where a journal (journal.h) outlives its process: a file in a directory that only this container has,
 * which is a volume mounted there for it alone. A controller gives each container with the executor's
 * image such a /tmp. In the container's own file system a file would be gone with the container, so
 * nobody would ever read it.
 *
 * Whoever can write to it can have anything reported. So the mount must not overlap any other mount of
 * this container, under which the volumes of main are mirrored and /var/run/argo lies; the file is
 * opened without following links, belongs to us, has one name and is nobody else's to read; and one
 * process at a time has it.
 */
#pragma once

#include "executor/base/error.h"

#include <stdbool.h>

#define JOURNAL_PLACE_NAME "argoexec-journal"

/* Opens the file in `directory` (absolute, clean), which is made if need be. The descriptor, which ends
 * the lock when it is closed; or a negative errno: -ENOTUNIQ if the directory is not private, -EBUSY if
 * another process has the journal, -EPERM if the file may be somebody else's. */
int journal_place_open(const char *directory, struct error *err);

/* Removes the file, if it is the one that is open as `fd`. */
void journal_place_remove(const char *directory, int fd);

/* The part of it that judges a text like /proc/self/mountinfo. */
bool journal_place_is_private(const char *mountinfo, const char *directory);
