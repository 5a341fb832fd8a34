#include "executor/stage/ledger.h"

#include "executor/base/cleanup.h"
#include "executor/base/clock.h"
#include "executor/base/text.h"

#include <errno.h>
#include <stdbool.h>
#include <string.h>

int ledger_init(struct ledger *ledger, size_t wanted)
{
	size_t room = wanted < LEDGER_ENTRIES_MAX ? wanted : LEDGER_ENTRIES_MAX;

	*ledger = (struct ledger){ .room = room };
	for (int d = 0; d < LEDGER_DIRECTION_COUNT; d++)
		ledger->rest[d] = (struct ledger_entry){ .ledger = ledger,
							 .direction = (enum ledger_direction)d,
							 .bytes_total = -1 };
	/* One more: nothing is no size to ask for. */
	ledger->entries = calloc(room + 1, sizeof(*ledger->entries));
	if (ledger->entries)
		return 0;
	ledger->room = 0;
	return -ENOMEM;
}

void ledger_done(struct ledger *ledger)
{
	free(TAKE_PTR(ledger->entries));
	ledger->count = ledger->room = 0;
}

void ledger_plan(struct ledger *ledger, enum ledger_direction direction, const char *name)
{
	struct ledger_entry *entry;

	if (ledger->count == ledger->room) {
		ledger->omitted++;
		return;
	}
	entry = &ledger->entries[ledger->count++];
	*entry = (struct ledger_entry){ .ledger = ledger,
					.direction = direction,
					.bytes_total = -1 };
	memcpy(entry->name, name, text_cut_utf8(name, strlen(name), LEDGER_NAME_MAX - 1));
}

struct ledger_entry *ledger_find(struct ledger *ledger, enum ledger_direction direction,
				 const char *name)
{
	if (!ledger)
		return NULL;
	for (size_t i = 0; i < ledger->count; i++) {
		struct ledger_entry *entry = &ledger->entries[i];

		if (entry->direction == direction && strcmp(entry->name, name) == 0)
			return entry;
	}
	return &ledger->rest[direction];
}

static void notify(const struct ledger_entry *entry)
{
	const struct ledger *ledger = entry->ledger;
	bool is_rest = entry == &ledger->rest[entry->direction];

	if (ledger->on_change && !is_rest)
		ledger->on_change(ledger->context, (size_t)(entry - ledger->entries));
}

void ledger_begin(struct ledger_entry *entry)
{
	if (!entry)
		return;
	entry->state = LEDGER_ACTIVE;
	entry->bytes = 0;
	entry->bytes_total = -1;
	entry->noticed_ms = clock_now_ms();
	notify(entry);
}

void ledger_expect(struct ledger_entry *entry, int64_t total)
{
	if (entry)
		entry->bytes_total = total;
}

void ledger_move(struct ledger_entry *entry, uint64_t bytes)
{
	int64_t now_ms;

	if (!entry)
		return;
	entry->ledger->bytes[entry->direction] += bytes;
	entry->bytes += bytes;
	/* What had to be sent a second time is in the sum of all, not here. */
	if (entry->bytes_total >= 0 && entry->bytes > (uint64_t)entry->bytes_total)
		entry->bytes = (uint64_t)entry->bytes_total;
	now_ms = clock_now_ms();
	if (now_ms - entry->noticed_ms < LEDGER_NOTICE_MS)
		return;
	entry->noticed_ms = now_ms;
	notify(entry);
}

void ledger_retry(struct ledger_entry *entry)
{
	if (!entry)
		return;
	entry->ledger->retries[entry->direction]++;
	entry->retries++;
	notify(entry);
}

void ledger_end(struct ledger_entry *entry, enum ledger_state state)
{
	if (!entry)
		return;
	entry->state = state;
	notify(entry);
}

static void raise(uint64_t *sum, uint64_t told)
{
	if (told > *sum)
		*sum = told;
}

void ledger_adopt(struct ledger *ledger, size_t i, const struct ledger_told *told)
{
	struct ledger_entry *entry = &ledger->entries[i];
	bool is_news = entry->state != told->state || entry->retries != told->retries;
	int64_t now_ms = clock_now_ms();

	is_news |= entry->bytes != told->bytes && now_ms - entry->noticed_ms >= LEDGER_NOTICE_MS;
	entry->state = told->state;
	entry->bytes = told->bytes;
	entry->bytes_total = told->bytes_total;
	entry->retries = told->retries;
	for (size_t d = 0; d < LEDGER_DIRECTION_COUNT; d++) {
		raise(&ledger->bytes[d], told->sum_bytes[d]);
		raise(&ledger->retries[d], told->sum_retries[d]);
	}
	if (!is_news)
		return;
	entry->noticed_ms = now_ms;
	notify(entry);
}

const char *ledger_direction_name(enum ledger_direction direction)
{
	return direction == LEDGER_INPUT ? "input" : "output";
}

const char *ledger_state_name(enum ledger_direction direction, enum ledger_state state)
{
	static const char *const names[LEDGER_DIRECTION_COUNT][LEDGER_STATE_COUNT] = {
		{ "planned", "loading", "loaded", "failed", "absent" },
		{ "planned", "sending", "stored", "failed", "absent" },
	};

	return names[direction][state];
}
