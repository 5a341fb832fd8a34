/* Lexical paths, and directories made or removed as a whole. */
#pragma once

#include "executor/base/error.h"

#include <stdbool.h>
#include <stddef.h>
#include <sys/types.h>

/* Longest path this program handles, NUL included (Linux PATH_MAX). */
#define PATH_MAX_BYTES 4096

/* The lexically shortest equivalent of `path` (no `.`, `..` resolved without looking at the disk,
 * no doubled or trailing slash; "" → "."), as Go's path.Clean. Caller frees; NULL = no memory. */
char *path_clean(const char *path);

/* path_clean(a + "/" + b); empty parts are ignored. Caller frees; NULL = no memory. */
char *path_join(const char *a, const char *b);

/* True if clean `path` equals clean `parent` or lies below it, by whole components. */
bool path_is_at_or_below(const char *path, const char *parent);

/* The part behind the last slash ("/" and "" → "."); points into path. */
const char *path_basename(const char *path);

/* mkdir -p. Every directory that this call creates gets exactly `mode` (chmod after mkdir, so a
 * umask does not matter); existing ones are left alone. */
int path_make_directories(const char *path, mode_t mode, struct error *err);

/* mkdir -p for everything above the last component of path. */
int path_make_parents(const char *path, mode_t mode, struct error *err);

/* rm -rf without following symbolic links; a missing path is success. */
int path_remove_tree(const char *path, struct error *err);
