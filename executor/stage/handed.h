/*
 * What the wrapper of main has handed over: for each output artifact of its own file system an open
 * file or directory, or why there is none. Whoever opens an artifact's source (source.h) looks here
 * first. Descriptors can be passed on to another process with what handed_describe() says of them.
 *
 * All of this comes from user code at worst: what is in here has been checked (offers.h), and a tree
 * is walked as its sender (entry.h).
 */
#pragma once

#include "executor/base/error.h"
#include "executor/base/identity.h"
#include "executor/json/json.h"
#include "executor/stage/scan.h"

struct handed_item {
	struct handed_item *next;
	uint64_t number; /* from 1; a later item of the table has a larger one */
	char *path; /* of the artifact, as the template has it, clean */
	int fd; /* -1: there is none */
	int code; /* why: positive errno; ENOENT = there is no such file */
	struct identity identity; /* whose it is */
	struct scan_counts counts; /* of a directory, when it was accepted */
	struct opened
		*opened; /* what the wrapper has opened of it for us; the identity refers to it */
};

struct handed {
	struct handed_item *items; /* zeroed memory is an empty table */
	uint64_t last; /* number */
};

void handed_done(struct handed *handed);

/* A new item for a path that has none yet; the caller fills the rest in at once, fd is the table's
 * then. NULL without memory. */
struct handed_item *handed_add(struct handed *handed, const char *path);
void handed_remove(struct handed *handed, const char *path);

/* NULL: nobody has handed it over. */
const struct handed_item *handed_find(const struct handed *handed, const char *path);

/* What is to be passed on with handed_describe(): a descriptor of the caller's, -EBADF if the item has none,
 * or another negative errno. */
int handed_pass(const struct handed_item *item);

/* All but the descriptor as JSON (NULL without memory), and back: *fd is taken, if there is one. The
 * reader finds out anew how it can become the sender. 0, or -EINVAL or -ENOMEM. */
struct json_object *handed_describe(const struct handed_item *item);
int handed_adopt(struct handed *handed, struct json_object *description, int *fd);
