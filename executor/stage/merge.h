/* Joining a directory with one that is already there: an input artifact whose path is a volume's
 * root, or a directory that an earlier step has filled. */
#pragma once

#include "executor/base/spot.h"

/*
 * Moves everything in the directory `from` into the directory `to` and removes `from`: a directory
 * that both have is joined in the same way, any other entry of `to` is replaced, each by one
 * rename(2). `to` may be ".". Both lie on one file system; links are moved, never followed. A file cannot replace a
 * directory, nor the other way round: the message says which name it was, what was moved before
 * stays.
 */
int merge_directories(struct spot from, struct spot to, struct error *err);
