/* The layers, one file each, inside the room. 0, or a negative errno: refused, with `reason` filled
 * where the errno alone does not say what was. Each leaves the process as it was if it fails, or
 * with less. */
#pragma once

#include "executor/confine/confine.h"

/* capabilities.c: no_new_privs has to be in force, or the bounding set could not be lowered, for
 * nothing to come back with the next exec. */
int confine_capabilities(enum confine_kind kind, bool has_no_new_privileges,
			 char reason[static CONFINE_REASON_MAX]);

/* memory.c */
int confine_memory(void);

/* calls.c: the table; filter.c: what it becomes. */
struct confine_call;
/* Row i, NULL behind the last; a kind of process without any has no filter. */
const struct confine_call *confine_calls(enum confine_kind kind, size_t i);
/* Its signals are for a child, too. */
bool confine_is_parent(enum confine_kind kind);
/* -ENOENT: it has none. */
int confine_filter(enum confine_kind kind, const struct confine_options *options);

/* refusal.c: what becomes of a call beyond the table. Before the filter. */
int confine_refusals(const struct confine_options *options);

/* files.c */
int confine_files(const struct confine_options *options, char reason[static CONFINE_REASON_MAX]);
