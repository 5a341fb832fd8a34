/*
 * Files with several names, while a tree is packed: what each was first stored as. A file is known by
 * its number, its size and its time together: a number alone may be given to another file as soon as
 * its file is removed, and a file that has changed since is no longer what was stored.
 */
#pragma once

#include "executor/base/buffer.h"

#include <stdbool.h>
#include <stdint.h>
#include <sys/stat.h>

/* Files beyond these are not remembered: some 10 MiB. */
#define HARD_LINKS_COUNT_MAX 65536
#define HARD_LINKS_NAMES_BYTES_MAX (4u * 1024 * 1024)

struct hard_links {
	struct hard_links_file *files; /* by hash; as many as `room`, a power of two */
	size_t count, room;
	struct buffer names;
};

#define HARD_LINKS_INIT \
	{ \
		.names = BUFFER_INIT(HARD_LINKS_NAMES_BYTES_MAX), \
	}

void hard_links_done(struct hard_links *links);

/* The name that was remembered for it, valid until the next call; NULL = none. */
const char *hard_links_find(const struct hard_links *links, const struct stat *st);

/* 0; -ENOBUFS beyond the limits above; -ENOMEM. */
int hard_links_remember(struct hard_links *links, const struct stat *st, const char *name);
