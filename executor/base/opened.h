/*
 * Entries of a tree that somebody with other rights has opened for us: descriptors, found by the
 * directory and the name that they stand under. What is in here was handed to us, so whoever walks the
 * tree as its owner (entry.h) may use it where the kernel would refuse.
 *
 * A link or a special file is there as an O_PATH descriptor: enough to tell what it is.
 */
#pragma once

#include <stddef.h>

struct opened;

/* NULL without memory. */
struct opened *opened_new(void);
void opened_free(struct opened *opened);
static inline void opened_freep(struct opened **opened)
{
	opened_free(*opened);
}

/* `name` in the directory `parent_fd` (not owned) is `fd`, which is the table's then, also after a
 * failure; or there is none (-1), and `code` (negative errno) says why. 0 or a negative errno. */
int opened_add(struct opened *opened, int parent_fd, const char *name, int fd, int code);

/* The descriptor, which stays the table's; the code, if there is none; or -ENODATA: not in the table. */
int opened_find(const struct opened *opened, int parent_fd, const char *name);

/* Descriptors in it. */
size_t opened_count(const struct opened *opened);

/* How many a process may have for this: half of what it is allowed at all. A soft limit of 1,024 is usual,
 * for those who use select(); it is raised. */
#define OPENED_MAX 16384
size_t opened_make_room(void);

/* All of it and `fd`, as one descriptor for another process: a socket in which they wait. Ours stays as it
 * is. A descriptor or a negative errno. */
int opened_bundle(const struct opened *opened, int fd);

/* And out of there again: the bundle is closed. 0 or a negative errno. */
int opened_unbundle(int bundle, struct opened **ret, int *ret_fd);
