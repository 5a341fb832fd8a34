#include "executor/report/journal.h"

#include "executor/base/cleanup.h"
#include "executor/base/fd.h"
#include "executor/report/journal_file.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <time.h>
#include <unistd.h>

struct entry {
	enum journal_kind kind;
	enum journal_state state;
	struct json_object *planned; /* its name is there */
	struct json_object *last; /* the record of the state it is in */
	struct json_object *stored; /* that of being stored */
	bool is_handed;
};

struct journal {
	struct json_object *identity;
	struct entry *entries;
	size_t count, room;
	int fd;
	uint64_t offset; /* of the next record */
	int failure; /* why none is written any more */
	bool is_damaged;
};

static const char *const state_names[JOURNAL_STATE_COUNT] = {
	[JOURNAL_PLANNED] = "planned",   [JOURNAL_READING] = "reading",
	[JOURNAL_SENDING] = "sending",   [JOURNAL_STORED] = "stored",
	[JOURNAL_REPORTED] = "reported", [JOURNAL_FAILED] = "failed",
	[JOURNAL_ABSENT] = "absent",
};

static const char *const kind_names[JOURNAL_KIND_COUNT] = { "artifact", "log" };

#define TO(state) (1u << JOURNAL_##state)

/* From row to any of these. */
static const unsigned steps[JOURNAL_STATE_COUNT] = {
	[JOURNAL_PLANNED] = TO(READING) | TO(SENDING) | TO(STORED) | TO(FAILED) | TO(ABSENT),
	[JOURNAL_READING] = TO(SENDING) | TO(STORED) | TO(FAILED) | TO(ABSENT),
	/* Whoever sent it may be gone; then it is read once more. */
	[JOURNAL_SENDING] = TO(READING) | TO(STORED) | TO(FAILED) | TO(ABSENT),
	[JOURNAL_STORED] = TO(REPORTED),
	[JOURNAL_REPORTED] = 0,
	[JOURNAL_FAILED] = TO(READING) | TO(SENDING) | TO(STORED) | TO(FAILED) | TO(ABSENT),
	[JOURNAL_ABSENT] = TO(READING) | TO(SENDING) | TO(STORED) | TO(FAILED),
};

const char *journal_state_name(enum journal_state state)
{
	return state_names[state];
}

static int find_name(const char *name, const char *const *names, int count)
{
	for (int i = 0; i < count; i++)
		if (strcmp(names[i], name) == 0)
			return i;
	return -1;
}

/* --- steps -------------------------------------------------------------------------------- */

static int add_entry(struct journal *journal, enum journal_kind kind, struct json_object *record)
{
	if (journal->count == JOURNAL_ENTRIES_MAX)
		return -E2BIG;
	if (journal->count == journal->room) {
		size_t room = journal->room ? 2 * journal->room : 16;
		struct entry *entries = realloc(journal->entries, room * sizeof(*entries));

		if (!entries)
			return -ENOMEM;
		journal->entries = entries;
		journal->room = room;
	}
	journal->entries[journal->count++] =
		(struct entry){ .kind = kind, .planned = json_ref(record) };
	return 0;
}

static void replace(struct json_object **slot, struct json_object *value)
{
	json_free(*slot);
	*slot = value ? json_ref(value) : NULL;
}

/* What is known of an entry beside its state. */
static int apply_fact(struct journal *journal, struct json_object *record, int64_t i)
{
	if (!json_get_bool(record, "handed", false) || (uint64_t)i >= journal->count)
		return -EINVAL;
	journal->entries[i].is_handed = true;
	return 0;
}

/* What a record says happens, whether it is new or read from a file. */
static int apply(struct journal *journal, struct json_object *record)
{
	int64_t i = json_get_int(record, "entry", -1);
	int state =
		find_name(json_get_string(record, "state", ""), state_names, JOURNAL_STATE_COUNT);
	int kind = find_name(json_get_string(record, "kind", ""), kind_names, JOURNAL_KIND_COUNT);
	struct entry *entry;

	if (i >= 0 && !json_get(record, "state"))
		return apply_fact(journal, record, i);
	if (i < 0 || state < 0)
		return -EINVAL;
	if (state == JOURNAL_PLANNED) {
		if ((uint64_t)i != journal->count || kind < 0 ||
		    !json_is_string(json_get(record, "name")))
			return -EINVAL;
		return add_entry(journal, (enum journal_kind)kind, record);
	}
	if ((uint64_t)i >= journal->count)
		return -EINVAL;
	entry = &journal->entries[i];
	if (!(steps[entry->state] & (1u << state)) ||
	    (state == JOURNAL_STORED && !json_is_object(json_get(record, "artifact"))))
		return -EINVAL;
	entry->state = (enum journal_state)state;
	replace(&entry->last, record);
	if (state == JOURNAL_STORED)
		replace(&entry->stored, record);
	return 0;
}

static void write_record(struct journal *journal, struct json_object *record)
{
	_cleanup_buffer_ struct buffer text = BUFFER_INIT(JOURNAL_RECORD_MAX);
	int r;

	if (journal->failure)
		return;
	r = json_print(record, &text, NULL);
	if (r == 0)
		r = journal_file_append(journal->fd, &journal->offset, text.data, text.size);
	journal->failure = r;
}

/* `record` is consumed; NULL = no memory. */
static int step(struct journal *journal, struct json_object *record, size_t i,
		enum journal_state state)
{
	_cleanup_json_ struct json_object *owned = record;
	int r = record ? json_set(record, "entry", json_new_int((int64_t)i)) : -ENOMEM;

	if (r == 0)
		r = json_set_string(record, "state", state_names[state]);
	if (r == 0)
		r = apply(journal, record);
	if (r == 0)
		write_record(journal, record);
	return r;
}

static int plain_step(struct journal *journal, size_t i, enum journal_state state)
{
	if (i < journal->count && journal->entries[i].state == state)
		return 0;
	return step(journal, json_new_object(), i, state);
}

int journal_reading(struct journal *journal, size_t i)
{
	return plain_step(journal, i, JOURNAL_READING);
}

int journal_sending(struct journal *journal, size_t i)
{
	return plain_step(journal, i, JOURNAL_SENDING);
}

int journal_absent(struct journal *journal, size_t i)
{
	return plain_step(journal, i, JOURNAL_ABSENT);
}

int journal_failed(struct journal *journal, size_t i, const struct error *why)
{
	_cleanup_json_ struct json_object *record = json_new_object();

	if (!record || json_set_string(record, "why", why->message) < 0 ||
	    json_set(record, "class", json_new_int(why->class)) < 0)
		return -ENOMEM;
	return step(journal, TAKE_PTR(record), i, JOURNAL_FAILED);
}

static bool is_stored(const struct entry *entry)
{
	return entry->state == JOURNAL_STORED || entry->state == JOURNAL_REPORTED;
}

int journal_stored(struct journal *journal, size_t i, struct json_object *artifact,
		   const struct journal_object *object)
{
	_cleanup_json_ struct json_object *record = json_new_object();
	int r = 0;

	if (i < journal->count && is_stored(&journal->entries[i]))
		return 0;
	if (!record || json_set(record, "artifact", json_copy(artifact)) < 0)
		return -ENOMEM;
	if (object && object->size >= 0)
		r = json_set(record, "size", json_new_int(object->size));
	if (r == 0 && object && object->etag)
		r = json_set_string(record, "etag", object->etag);
	if (r == 0 && object && object->checksum)
		r = json_set_string(record, "checksum", object->checksum);
	return r < 0 ? r : step(journal, TAKE_PTR(record), i, JOURNAL_STORED);
}

int journal_handed(struct journal *journal, size_t i)
{
	_cleanup_json_ struct json_object *record = json_new_object();
	int r;

	if (i < journal->count && journal->entries[i].is_handed)
		return 0;
	if (!record || json_set(record, "entry", json_new_int((int64_t)i)) < 0 ||
	    json_set(record, "handed", json_new_bool(true)) < 0)
		return -ENOMEM;
	r = apply(journal, record);
	if (r == 0)
		write_record(journal, record);
	return r;
}

int journal_reported(struct journal *journal)
{
	int r = 0;

	for (size_t i = 0; r == 0 && i < journal->count; i++)
		if (journal->entries[i].state == JOURNAL_STORED)
			r = plain_step(journal, i, JOURNAL_REPORTED);
	return r;
}

int journal_plan(struct journal *journal, enum journal_kind kind, const char *name,
		 struct error *err)
{
	_cleanup_json_ struct json_object *record = NULL;
	int r;

	for (size_t i = 0; i < journal->count; i++)
		if (journal->entries[i].kind == kind &&
		    strcmp(json_get_string(journal->entries[i].planned, "name", ""), name) == 0)
			return (int)i;
	record = json_new_object();
	if (!record || json_set_string(record, "kind", kind_names[kind]) < 0 ||
	    json_set_string(record, "name", name) < 0 ||
	    json_set(record, "at", json_new_int(time(NULL))) < 0)
		return error_set(err, -ENOMEM, "out of memory");
	r = step(journal, TAKE_PTR(record), journal->count, JOURNAL_PLANNED);
	return r < 0 ? error_errno(err, r, "journal: plan %s", name) : (int)journal->count - 1;
}

/* --- the file ----------------------------------------------------------------------------- */

struct replay {
	struct journal *journal;
	bool is_begun; /* the first record was read */
	bool is_foreign; /* and was another's */
};

static int on_record(void *context, const char *payload, size_t size)
{
	struct replay *replay = context;
	_cleanup_json_ struct json_object *record = NULL;

	if (json_parse(payload, size, "record", &record, NULL) < 0)
		return -EINVAL;
	if (replay->is_begun)
		return apply(replay->journal, record);
	replay->is_begun = true;
	replay->is_foreign = !json_equal(record, replay->journal->identity);
	return replay->is_foreign ? -EINVAL : 0;
}

static int read_file(struct journal *journal, size_t *ret_dropped, struct error *err)
{
	_cleanup_buffer_ struct buffer data = BUFFER_INIT(JOURNAL_BYTES_MAX);
	struct replay replay = { .journal = journal };
	int r = lseek(journal->fd, 0, SEEK_SET) < 0 ? -errno : fd_read_all(journal->fd, &data);

	/* One that is longer was not written here: its beginning may have been. */
	if (r < 0 && r != -EMSGSIZE)
		return error_errno(err, r, "read the journal");
	journal->offset = journal_file_scan(buffer_string(&data), data.size, on_record, &replay);
	journal->is_damaged = !replay.is_foreign &&
			      !journal_file_is_torn(buffer_string(&data) + journal->offset,
						    data.size - (size_t)journal->offset);
	if (ret_dropped)
		*ret_dropped = data.size - (size_t)journal->offset;
	if (ftruncate(journal->fd, (off_t)journal->offset) < 0)
		return error_errno(err, -errno, "cut the journal");
	if (journal->offset == 0)
		write_record(journal, journal->identity);
	return 0;
}

int journal_new(const char *pod, const char *node, int fd, struct journal **ret,
		size_t *ret_dropped, struct error *err)
{
	_cleanup_journal_ struct journal *journal = calloc(1, sizeof(*journal));
	int r;

	if (!journal) {
		if (fd >= 0)
			close(fd);
		return error_set(err, -ENOMEM, "out of memory");
	}
	journal->fd = fd >= 0 ? fd : memfd_create("journal", MFD_CLOEXEC);
	if (journal->fd < 0)
		return error_errno(err, -errno, "memfd_create");
	journal->identity = json_new_object();
	if (!journal->identity || json_set_string(journal->identity, "journal", "1") < 0 ||
	    json_set_string(journal->identity, "pod", pod) < 0 ||
	    json_set_string(journal->identity, "node", node) < 0)
		return error_set(err, -ENOMEM, "out of memory");
	r = read_file(journal, ret_dropped, err);
	if (r == 0)
		*ret = TAKE_PTR(journal);
	return r;
}

void journal_free(struct journal *journal)
{
	if (!journal)
		return;
	for (size_t i = 0; i < journal->count; i++) {
		json_free(journal->entries[i].planned);
		json_free(journal->entries[i].last);
		json_free(journal->entries[i].stored);
	}
	free(journal->entries);
	json_free(journal->identity);
	if (journal->fd >= 0)
		close(journal->fd);
	free(journal);
}

int journal_health(const struct journal *journal, struct error *err)
{
	return journal->failure < 0 ? error_errno(err, journal->failure, "write the journal") : 0;
}

int journal_descriptor(const struct journal *journal)
{
	return journal->fd;
}

bool journal_is_damaged(const struct journal *journal)
{
	return journal->is_damaged;
}

/* --- what it says ------------------------------------------------------------------------- */

size_t journal_count(const struct journal *journal)
{
	return journal->count;
}

struct journal_entry journal_entry(const struct journal *journal, size_t i)
{
	const struct entry *entry = &journal->entries[i];
	bool has_failed = entry->state == JOURNAL_FAILED;
	int64_t class = json_get_int(entry->last, "class", ERROR_PERMANENT);

	return (struct journal_entry){
		.kind = entry->kind,
		.state = entry->state,
		.name = json_get_string(entry->planned, "name", ""),
		.planned_s = json_get_int(entry->planned, "at", 0),
		.is_handed = entry->is_handed,
		.object = {
			.size = json_get_int(entry->stored, "size", -1),
			.etag = json_get_string(entry->stored, "etag", NULL),
			.checksum = json_get_string(entry->stored, "checksum", NULL),
		},
		.artifact = is_stored(entry) ? json_get(entry->stored, "artifact") : NULL,
		.why = has_failed ? json_get_string(entry->last, "why", "") : NULL,
		.class = class >= 0 && class < ERROR_CLASS_COUNT ? (enum error_class)class :
								   ERROR_PERMANENT,
	};
}

int journal_outputs(const struct journal *journal, const struct outputs_source *captured,
		    struct json_object **ret, struct error *err)
{
	_cleanup_json_ struct json_object *artifacts = json_new_array(), *logs = json_new_array();
	struct outputs_source source = *captured;

	for (size_t i = 0; artifacts && logs && i < journal->count; i++) {
		const struct entry *entry = &journal->entries[i];

		if (is_stored(entry) &&
		    json_append(entry->kind == JOURNAL_LOG ? logs : artifacts,
				json_ref(json_get(entry->stored, "artifact"))) < 0)
			return error_set(err, -ENOMEM, "out of memory");
	}
	if (!artifacts || !logs)
		return error_set(err, -ENOMEM, "out of memory");
	source.saved_artifacts = artifacts;
	source.log_artifacts = logs;
	return outputs_build(&source, ret, err);
}
