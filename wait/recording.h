/* What happens to the outputs, told to the journal (executor/report/journal.h). */
#pragma once

#include "executor/report/journal.h"
#include "executor/stage/ledger.h"
#include "executor/stage/saving.h"
#include "executor/template/environment.h"

#include <stdbool.h>

/* Private to each container that has the executor's image (Argo). */
#define RECORDING_DIRECTORY "/tmp"

/* Opens the journal of this pod and node, and plans all outputs of the template. Where `directory` has
 * a place for it (journal_place.h), what an earlier process of this container knew is in it; else, and
 * when there is no output, it is in memory. Logs which, and what is at risk. *ret_was_there: an earlier
 * process has left it. 0 or a negative errno. */
int recording_open(const char *directory, const struct template *template,
		   const struct environment *environment, const struct log *log,
		   struct journal **ret, bool *ret_was_there, struct error *err);

/* All has gone well, and nobody will ask again: nothing of it is left in `directory`. */
void recording_remove(const char *directory, const struct journal *journal);

/* What main has handed over at that path is with this process alone. NULL is fine. */
void recording_handed(struct journal *journal, const struct template *template, const char *path);

/* Takes over what an earlier process has left: what it has stored is not touched again, what it alone
 * could read is lost. 0 or -ENOMEM. */
int recording_resume(const struct journal *journal, struct saving *saving, struct error *err);

/* Warns, once for *warned, when records are no longer written. */
void recording_check(const struct journal *journal, const struct log *log, bool *warned);

/* Plans what is to be saved, and records what has been settled since. 0, or -ENOMEM or -E2BIG. */
int recording_follow(struct journal *journal, const struct saving *saving, struct error *err);

/* The work on an output has begun, or has come further. NULL is fine. */
void recording_progress(struct journal *journal, const struct ledger_entry *entry);
