/*
 * Output artifacts for stores that read files by path in a container of their own (artifact
 * plugins): what lies in a shared volume is named to them, everything else is put below the scratch
 * directory, which they mount too, and removed when the store is done with it.
 */
#pragma once

#include "executor/archive/pack.h"
#include "executor/stage/source.h"

/* A copy of a regular file (which only we can be sure to see), under the name `name`. */
int handover_copy(const struct stage *stage, const struct source *source, struct store *store,
		  const char *name, struct error *err);

/* An archive of it, written to the file `name`. */
int handover_packed(const struct stage *stage, const struct source *source,
		    const struct pack_options *options, struct store *store, const char *name,
		    struct error *err);

/* The file or directory itself: where it is, if it is in a volume or in our own files (needs /proc);
 * what another container has handed over as a copy called `name`. */
int handover_plain(const struct stage *stage, const struct source *source, struct store *store,
		   const char *name, struct error *err);
