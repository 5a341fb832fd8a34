/*
 * One step of a walk through a tree that somebody else may be changing: from an open directory to
 * one of its entries. No link is followed, nothing blocks, nothing but a name in that directory is
 * reached.
 *
 * A tree that another container has handed over is walked with its identity: then only what that
 * may read is opened, and no mount is entered (openat2 with RESOLVE_BENEATH, RESOLVE_NO_XDEV and
 * RESOLVE_NO_MAGICLINKS; where that is not to be had, the mount is asked for). What it has opened for
 * us (identity.h) takes the place of what we may not look at or open ourselves.
 */
#pragma once

#include "executor/base/identity.h"

#include <sys/stat.h>

/* As fstatat() without following. 0 or a negative errno. `as` may be NULL. */
int entry_stat(int parent_fd, const char *name, const struct identity *as, struct stat *ret);

/* The same, and opens what is a file or a directory then, at the price of becoming somebody else once:
 * *ret_fd is as from entry_open(), -EBADF for anything else. It may be another thing by then. */
int entry_stat_and_open(int parent_fd, const char *name, const struct identity *as,
			struct stat *ret, int *ret_fd);

/* For reading; O_DIRECTORY may be added by `flags`. The descriptor, or a negative errno: ELOOP for a
 * link, ENXIO for what only O_PATH opens, EXDEV for a mount, EACCES for what only we might read. A
 * descriptor of what was opened for us shares its position. */
int entry_open(int parent_fd, const char *name, int flags, const struct identity *as);

/* The same without changing who we are: between identity_enter() and identity_leave(). */
int entry_open_entered(int parent_fd, const char *name, int flags, const struct identity *as);

/* What lies below a directory, as ourselves and as strictly, one component at a time: no link anywhere.
 * "" is the directory. The descriptor or a negative errno; EXDEV also for "..". */
int entry_open_path(int fd, const char *path, int flags);

/* The text of a link: its length, at most size - 1 (NUL-terminated), or a negative errno. */
ssize_t entry_read_link(int parent_fd, const char *name, const struct identity *as, char *buffer,
			size_t size);
