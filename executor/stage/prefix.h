/* Loading everything below a prefix: pages of names go on while objects are fetched side by side. */
#pragma once

#include "executor/artifact/store.h"
#include "executor/stage/ledger.h"

#include <sys/types.h>

/* Objects on their way at the same time, of one artifact; the process's budget rules as well. */
#define PREFIX_WIDTH 16

/* Of directories that are made. */
#define PREFIX_DIRECTORY_MODE 0755

/* Fills the directory `directory_fd` (not owned, good for *at() calls; `directory` is its path, for
 * messages) with all that is below the store's key; what arrives counts
 * for `entry`. NOT_FOUND if there is nothing. After a failure some of it may be there. Memory does
 * not grow with the number of objects. */
int prefix_load(struct event_loop *loop, struct store *store, int directory_fd,
		const char *directory, mode_t mode, struct ledger_entry *entry, struct error *err);
