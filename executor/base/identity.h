/*
 * Looking at files as another process would: never more than it may read itself. What another
 * container hands over is walked this way, since a process of root may read what its peer may not.
 *
 * The file system's user, groups and capabilities belong to a thread, so they are changed for a few
 * calls that do not wait, and changed back: no other work of this thread ever runs under them.
 */
#pragma once

#include "executor/base/opened.h"

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/stat.h>
#include <sys/types.h>

/* Groups of a peer that are taken into account. */
#define IDENTITY_GROUPS_MAX 64

struct identity {
	uid_t uid;
	gid_t gid;
	gid_t groups[IDENTITY_GROUPS_MAX];
	size_t group_count;
	/* How to become it, found out by identity_init(). */
	bool is_anybody; /* impossible: only what everybody may read counts */
	bool changes_user, changes_group, changes_groups, changes_capabilities;
	uid_t own_uid;
	gid_t own_gid;
	gid_t own_groups[IDENTITY_GROUPS_MAX];
	size_t own_group_count;
	uint32_t own_effective; /* capabilities 0 to 31 */
	/* What it has opened for us, where we may not; borrowed, set by whoever has it. NULL = nothing. */
	const struct opened *opened;
};

/* Needs to be done again after a change of our own credentials. More groups than the maximum are
 * ignored. */
void identity_init(struct identity *identity, uid_t uid, gid_t gid, const gid_t *groups,
		   size_t group_count);

/* From here on opening, looking up and listing are done as that identity (NULL: as ourselves), in
 * this thread, until identity_leave(). 0, or -EPERM. */
int identity_enter(const struct identity *identity);
void identity_leave(const struct identity *identity);

/* Whether what was opened may be read, where the kernel had only our own rights to go by. */
bool identity_may_read(const struct identity *identity, const struct stat *st);
