#include "executor/stage/counted.h"

static ssize_t read_counted(struct reader *base, void *data, size_t size, struct error *err)
{
	struct counted_reader *self = (struct counted_reader *)base;
	ssize_t n = self->source->read(self->source, data, size, err);

	if (n > 0)
		ledger_move(self->entry, (uint64_t)n);
	return n;
}

void counted_reader_init(struct counted_reader *reader, struct reader *source,
			 struct ledger_entry *entry)
{
	*reader = (struct counted_reader){ .reader.read = read_counted,
					   .source = source,
					   .entry = entry };
}
