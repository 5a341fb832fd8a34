/* A reader that tells a ledger what it passes on. */
#pragma once

#include "executor/base/stream.h"
#include "executor/stage/ledger.h"

struct counted_reader {
	struct reader reader;
	struct reader *source;
	struct ledger_entry *entry;
};

/* Both are borrowed; the entry may be NULL. */
void counted_reader_init(struct counted_reader *reader, struct reader *source,
			 struct ledger_entry *entry);
