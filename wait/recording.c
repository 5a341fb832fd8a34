#include "wait/recording.h"

#include <errno.h>
#include <string.h>

static enum journal_kind kind_of(const struct saving_item *item)
{
	return item->artifact ? JOURNAL_ARTIFACT : JOURNAL_LOG;
}

static int store(struct journal *journal, const struct saving_item *item, size_t i)
{
	const struct store_stored *stored = &item->object;
	char checksum[STORE_CHECKSUM_MAX];
	const struct journal_object object = {
		.size = stored->objects > 0 ? (int64_t)stored->size : -1,
		.etag = stored->etag[0] ? stored->etag : NULL,
		.checksum = stored->part_count > 0 ? store_stored_checksum(stored, checksum) : NULL,
	};

	return journal_stored(journal, i, item->stored, &object);
}

static int settle(struct journal *journal, const struct saving_item *item, size_t i)
{
	struct journal_entry entry = journal_entry(journal, i);

	if (item->stored)
		return entry.artifact ? 0 : store(journal, item, i);
	if (!item->is_settled)
		return 0;
	if (item->error.code == 0)
		return journal_absent(journal, i);
	/* Once for each reason. */
	if (entry.why && strcmp(entry.why, item->error.message) == 0)
		return 0;
	return journal_failed(journal, i, &item->error);
}

int recording_follow(struct journal *journal, const struct saving *saving, struct error *err)
{
	for (size_t i = 0; i < saving->count; i++) {
		const struct saving_item *item = &saving->items[i];
		int number = journal_plan(journal, kind_of(item), item->name, err);
		int r;

		if (number < 0)
			return number;
		r = settle(journal, item, (size_t)number);
		if (r < 0)
			return error_errno(err, r, "journal: %s", item->name);
	}
	return 0;
}

/* The ledger's name of a log is that of its artifact. */
static bool is_of(const struct journal_entry *journal, const struct ledger_entry *ledger)
{
	char name[STAGE_LOG_NAME_MAX];

	return strcmp(ledger->name, journal->kind == JOURNAL_LOG ?
					    stage_log_name(journal->name, name) :
					    journal->name) == 0;
}

void recording_progress(struct journal *journal, const struct ledger_entry *entry)
{
	if (!journal || entry->direction != LEDGER_OUTPUT || entry->state != LEDGER_ACTIVE)
		return;
	for (size_t i = 0; i < journal_count(journal); i++) {
		struct journal_entry found = journal_entry(journal, i);

		if (!is_of(&found, entry))
			continue;
		/* A step that is not in the picture changes nothing. */
		if (entry->bytes > 0)
			journal_sending(journal, i);
		else
			journal_reading(journal, i);
		return;
	}
}
