/*
 * Outputs that would be one object in the store: of two that differ, the later one would replace the
 * earlier one, whose record would then lie. Argo's executor lets that happen.
 */
#pragma once

#include "executor/base/error.h"
#include "executor/stage/saving.h"

/*
 * *ret (the caller's to free; saving->count numbers): in whose place item i would be stored, or i
 * itself. Who is stored already keeps its place, otherwise the first in order that there is something
 * to store of: one that does not exist takes no place. None are in the way of each other that are the
 * same file in the same form, nor directories that are stored file by file: those are merged, and the
 * log says so. 0 or -ENOMEM.
 */
int collisions_find(const struct saving *saving, size_t **ret, struct error *err);
