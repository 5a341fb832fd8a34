/*
 * Files with several names, while a tree is packed or an archive unpacked: which number each has in the
 * archive, and what it was first called. A file is known by its numbers, its size and its time together:
 * a number alone may be given to another file as soon as its file is removed, and a file that has changed
 * since is no longer what was stored.
 */
#pragma once

#include "executor/base/buffer.h"

#include <stdbool.h>
#include <stdint.h>
#include <time.h>

/* Files beyond these are not remembered: some 16 MiB. */
#define HARD_LINKS_COUNT_MAX 65536
#define HARD_LINKS_NAMES_BYTES_MAX (4u * 1024 * 1024)

struct hard_links_file {
	uint64_t dev, ino, size; /* by which it is known, with its time */
	struct timespec mtime;
	uint64_t made_dev, made_ino; /* of what was unpacked */
	uint32_t number; /* from 1, in the order in which they were remembered */
	uint32_t name; /* offset into names */
};

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

/* What was remembered of the file that `key` describes, valid until the next call; NULL = nothing. */
const struct hard_links_file *hard_links_find(const struct hard_links *links,
					      const struct hard_links_file *key);

/* Gives it a number. `name` is "" where nobody will ask. -ENOBUFS beyond the limits above; -ENOMEM. */
int hard_links_remember(struct hard_links *links, struct hard_links_file *file, const char *name);

const char *hard_links_name(const struct hard_links *links, const struct hard_links_file *file);
