/*
 * Two writers of one task result: a merge patch (RFC 7386) replaces an array as a whole, so the arrays of
 * `outputs` that both write are merged here, entry by entry, before one of them sends its own.
 */
#pragma once

#include "executor/base/error.h"
#include "executor/json/json.h"

#include <stddef.h>

/* *ret (the caller's, shares values with both) is what has to be sent for `ours` to be in the object whose
 * outputs are `stored` (NULL = none), with everything kept that another one has written: `ours`, and in
 * front of and between the entries of its `parameters` and `artifacts` those of other names, where they are
 * stored. Ours keep their order and take the places that theirs have by name; for more than those there is
 * room behind. What is merged twice is as it was.
 *
 * The limit of `max` bytes is that of the outputs as they will be stored. 0, -ENOMEM, or -EMSGSIZE: *ret
 * lacks the largest values of `ours` then, and err names them; nothing of another writer is left out. */
int result_merge(struct json_object *stored, struct json_object *ours, size_t max,
		 struct json_object **ret, struct error *err);
