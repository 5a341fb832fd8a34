/* One entry of an archive, whatever the format; and what its names may look like. */
#pragma once

#include "executor/archive/attributes.h"

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/stat.h>
#include <sys/types.h>

/* Longest entry name: no path longer than Linux's PATH_MAX (NUL included) can be opened later. */
#define MEMBER_NAME_MAX 4095

/* Most directories between the top and an entry. The walks here, and those of everybody who later
 * removes or uploads the tree, hold one descriptor a level, and 1,024 is a usual soft limit. */
#define MEMBER_DEPTH_MAX 512

struct member {
	const char *name; /* as in the archive; not NULL */
	const char *link; /* symbolic link text, or the name that a hard link repeats; else NULL */
	bool is_hard_link; /* `link` names an earlier entry; the type in `mode` means nothing */
	mode_t mode; /* type and permission bits, as st_mode */
	uid_t uid;
	gid_t gid;
	uint64_t size; /* bytes of content; 0 unless a regular file */
	struct timespec mtime;
	struct timespec atime;
	bool has_mtime;
	bool has_atime;
	dev_t device; /* of a character or block device */
	const struct buffer *attributes; /* (attributes.h); NULL = none */
	/* A regular file that has other names in the archive, each with its content: the members with
	 * these same numbers. */
	bool is_shared;
	uint64_t shared_dev, shared_ino;
};

/*
 * Where the entry `name` lies below the directory that is unpacked into: lexically clean, without
 * a leading slash (an absolute name is taken as relative), "" for that directory itself.
 * Caller frees. -EXDEV if it lies outside, -ENAMETOOLONG and -ELOOP (depth) beyond the limits
 * above, -ENOMEM.
 */
int member_locate(const char *name, char **ret);

/* True if a symbolic link at `location` (as from member_locate) with the text `target` points
 * strictly below the top, judged by the text alone; absolute targets never do. */
bool member_link_is_inside(const char *location, const char *target);

/* True if the text alone may be misleading: `..` behind a component that could itself be a
 * symbolic link. */
bool member_link_needs_resolving(const char *target);

/* Enough for a name in a message, short enough to leave room for the reason. */
#define MEMBER_PRINTABLE_MAX 1024

/* The name as one line of valid UTF-8: other bytes and control characters become '?', a long one
 * is cut. `buffer` has MEMBER_PRINTABLE_MAX bytes; returns buffer. */
const char *member_printable(const char *name, char *buffer);
