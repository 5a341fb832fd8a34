/*
 * How each artifact of a pod is doing, as plain data: what was planned, what is under way, how far
 * it is, how it ended. A role owns the ledger and shows it (control socket, metrics); whoever
 * stages an artifact fills it while it works. Nothing is decided by what it says.
 *
 * Every change is one call that names the entry, so it does not matter how many artifacts are under
 * way at a time, nor whether the work is done in this process or told by messages from another one.
 *
 * Limits: LEDGER_ENTRIES_MAX entries with names of LEDGER_NAME_MAX bytes; artifacts beyond that
 * share one unnamed entry for each direction, which only feeds the totals. Entries never move and
 * are never removed, and the ledger itself stays where it is. A NULL ledger or entry is harmless:
 * who is not watched need not care.
 */
#pragma once

#include <stddef.h>
#include <stdint.h>

#define LEDGER_ENTRIES_MAX 256
#define LEDGER_NAME_MAX 256

/* A change of bytes alone is told no more often than this. */
#define LEDGER_NOTICE_MS 1000

enum ledger_direction { LEDGER_INPUT, LEDGER_OUTPUT, LEDGER_DIRECTION_COUNT };

enum ledger_state {
	LEDGER_PLANNED,
	LEDGER_ACTIVE, /* being loaded, being sent */
	LEDGER_DONE, /* in its place; the store has confirmed it */
	LEDGER_FAILED,
	LEDGER_ABSENT, /* optional, and not there */
	LEDGER_STATE_COUNT,
};

struct ledger_entry {
	struct ledger *ledger;
	char name[LEDGER_NAME_MAX];
	enum ledger_direction direction;
	enum ledger_state state;
	uint64_t bytes; /* received from the store, or confirmed by it; never more than the total */
	int64_t bytes_total; /* -1 = not known */
	unsigned retries; /* attempts after the first one */
	int64_t noticed_ms; /* when on_change was last called because of bytes */
};

struct ledger {
	struct ledger_entry *entries;
	size_t count, room;
	size_t omitted; /* planned, and beyond the limit */
	struct ledger_entry rest[LEDGER_DIRECTION_COUNT]; /* of those */
	/* Since the start; never less than before. */
	uint64_t bytes[LEDGER_DIRECTION_COUNT];
	uint64_t retries[LEDGER_DIRECTION_COUNT];
	/* Entry i is not as it was; may be NULL. */
	void (*on_change)(void *context, size_t i);
	void *context;
};

/* Room for `wanted` entries, or as many as the limit allows. 0 or -ENOMEM. Zeroed memory is a ledger
 * without any room. on_change is set by the owner afterwards. */
int ledger_init(struct ledger *ledger, size_t wanted);
void ledger_done(struct ledger *ledger);

/* Adds a planned one. */
void ledger_plan(struct ledger *ledger, enum ledger_direction direction, const char *name);

/* The entry of that name, or the one of all that are omitted. NULL without a ledger. */
struct ledger_entry *ledger_find(struct ledger *ledger, enum ledger_direction direction,
				 const char *name);

/* The work begins, or begins anew. */
void ledger_begin(struct ledger_entry *entry);

/* So many bytes it will be; -1 = not known. */
void ledger_expect(struct ledger_entry *entry, int64_t total);

/* More bytes have arrived. */
void ledger_move(struct ledger_entry *entry, uint64_t bytes);

/* Another attempt is made. */
void ledger_retry(struct ledger_entry *entry);

/* DONE, FAILED or ABSENT. */
void ledger_end(struct ledger_entry *entry, enum ledger_state state);

/* What another process says of an entry, and of the sums, instead of the calls above. */
struct ledger_told {
	enum ledger_state state;
	uint64_t bytes;
	int64_t bytes_total;
	unsigned retries;
	uint64_t sum_bytes[LEDGER_DIRECTION_COUNT], sum_retries[LEDGER_DIRECTION_COUNT];
};

/* Entry i (< count) is as told; sums never become less. */
void ledger_adopt(struct ledger *ledger, size_t i, const struct ledger_told *told);

/* Words for people: "input"; "planned", "loading" or "sending", "loaded" or "stored", "failed",
 * "absent". Static storage. */
const char *ledger_direction_name(enum ledger_direction direction);
const char *ledger_state_name(enum ledger_direction direction, enum ledger_state state);
