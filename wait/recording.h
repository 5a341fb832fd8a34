/* What happens to the outputs, told to the journal (executor/report/journal.h). */
#pragma once

#include "executor/report/journal.h"
#include "executor/stage/ledger.h"
#include "executor/stage/saving.h"

/* Plans what is to be saved, and records what has been settled since. 0, or -ENOMEM or -E2BIG. */
int recording_follow(struct journal *journal, const struct saving *saving, struct error *err);

/* The work on an output has begun, or has come further. NULL is fine. */
void recording_progress(struct journal *journal, const struct ledger_entry *entry);
