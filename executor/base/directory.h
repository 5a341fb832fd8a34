/*
 * The names in a directory, a few at a time, for a walk that waits between them. The position in a
 * directory belongs to the open file, not to the descriptor: whoever has a duplicate moves it for all.
 * So it is remembered here, and set before each look; several may read at once, in one thread.
 */
#pragma once

struct directory;

/* Takes the descriptor, also when it fails. Begins at the start, wherever it is. 0 or -ENOMEM. */
int directory_new(int fd, struct directory **ret);
void directory_free(struct directory *directory);

/* 1 and the next name (valid until the next call), never `.` or `..`; 0 at the end; a negative errno. */
int directory_next(struct directory *directory, const char **ret);

/* To open what is in it; stays the directory's. */
int directory_descriptor(const struct directory *directory);
