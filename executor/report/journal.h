/*
 * What has become of each output artifact and log, so that a location is reported when, and only when,
 * its object is in the store:
 *
 *	planned ──► reading ──► sending ──► stored ──► reported
 *	                │           │
 *	                └───────────┴──► failed(why), absent ──► reading, if it is tried once more
 *
 * Steps may be told late or not at all (planned to stored is one step for a small file); nothing leads
 * back from stored. Every step is one record (journal_file.h). The journal belongs to the role: in
 * memory (memfd) unless it is given a file, which must lie where nobody else writes (journal_place.h):
 * never below /var/run/argo, where user code could forge it. A file counts only for the pod and node
 * that it was begun for; another one's is begun anew. What it says is believed: a record is written
 * only after what it tells, so it is never more than true, and no more than that is lost with it.
 *
 * What may be reported is a pure function of it: said twice it is the same, and a lost answer or a
 * second SIGTERM repeats nothing and forgets nothing.
 */
#pragma once

#include "executor/base/error.h"
#include "executor/json/json.h"
#include "executor/report/outputs.h"

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#define JOURNAL_ENTRIES_MAX 65536

enum journal_state {
	JOURNAL_PLANNED,
	JOURNAL_READING,
	JOURNAL_SENDING,
	JOURNAL_STORED,
	JOURNAL_REPORTED,
	JOURNAL_FAILED,
	JOURNAL_ABSENT, /* optional, and not there; the log of what never ran */
	JOURNAL_STATE_COUNT,
};

enum journal_kind { JOURNAL_ARTIFACT, JOURNAL_LOG, JOURNAL_KIND_COUNT };

/* What the store has confirmed; borrowed. */
struct journal_object {
	int64_t size; /* -1 = not known */
	const char *etag, *checksum; /* NULL = not known */
};

struct journal;

/* `fd` is a file that is read first, or -1 for memory; it is taken, also on failure. `pod` and `node`
 * are copied. *ret_dropped (may be NULL) gets the bytes that were no records, or another pod's. */
int journal_new(const char *pod, const char *node, int fd, struct journal **ret,
		size_t *ret_dropped, struct error *err);
void journal_free(struct journal *journal);
static inline void journal_freep(struct journal **journal)
{
	journal_free(*journal);
}
#define _cleanup_journal_ _cleanup_(journal_freep)

/* The number of the entry of that name, which is planned now unless it is there already; it stays the
 * same. A negative errno when there is no memory, or JOURNAL_ENTRIES_MAX. */
int journal_plan(struct journal *journal, enum journal_kind kind, const char *name,
		 struct error *err);

/* Steps of entry `i`. 0; -EINVAL for one that the picture above does not have, and nothing changes;
 * -ENOMEM, likewise. A record that cannot be written is journal_health()'s. Being where one is
 * already is no step and no error. */
int journal_reading(struct journal *journal, size_t i);
int journal_sending(struct journal *journal, size_t i);
/* `artifact` is what may be reported of it, borrowed; `object` may be NULL. */
int journal_stored(struct journal *journal, size_t i, struct json_object *artifact,
		   const struct journal_object *object);
int journal_failed(struct journal *journal, size_t i, const struct error *why);
int journal_absent(struct journal *journal, size_t i);
/* What is to be read of it is with this process alone, as descriptors: no step, but it dies with us. */
int journal_handed(struct journal *journal, size_t i);
/* Everything that is stored has been reported. */
int journal_reported(struct journal *journal);

/* 0, or why records are no longer written (a disk is full). The steps themselves still count. */
int journal_health(const struct journal *journal, struct error *err);

/* The file was this pod's, and something in it is changed or cut off that had been written: there may
 * have been more than is known. A record that its writer has died over is no damage. */
bool journal_is_damaged(const struct journal *journal);

/* Of its file, or of its memory; lent. */
int journal_descriptor(const struct journal *journal);

size_t journal_count(const struct journal *journal);

struct journal_entry {
	enum journal_kind kind;
	enum journal_state state;
	const char *name;
	struct journal_object object;
	struct json_object *artifact; /* NULL unless stored or reported; lent */
	int64_t planned_s; /* when; seconds since 1970 */
	bool is_handed;
	const char *why; /* of a failure, else NULL */
	enum error_class class; /* of it */
};
/* Lent until the next step. */
struct journal_entry journal_entry(const struct journal *journal, size_t i);
const char *journal_state_name(enum journal_state state);

/* The outputs as they may be reported now: those of `captured` with the artifacts and logs that are
 * stored, in the order of their planning. *ret is the caller's. */
int journal_outputs(const struct journal *journal, const struct outputs_source *captured,
		    struct json_object **ret, struct error *err);
