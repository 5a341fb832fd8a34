/* Uploading a directory file by file: the tree is walked while files go up side by side. */
#pragma once

#include "executor/stage/source.h"

/* Files on their way at the same time, of one artifact; the process's budget rules as well. */
#define TREE_WIDTH 16

/* Directories below one another; each costs a descriptor while it is read. */
#define TREE_DEPTH_MAX 512

/* Every regular file below the directory `source`, and the directories where the store knows any.
 * Links and special files are left out, with a warning. Memory does not grow with the number of
 * files. What was handed over is walked as its sender, and has to be complete (source.h). */
int tree_upload(const struct stage *stage, struct store *store, const struct source *source,
		struct error *err);
