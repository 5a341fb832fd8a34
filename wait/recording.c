#include "wait/recording.h"

#include "executor/base/cleanup.h"
#include "executor/report/journal_place.h"

#include <errno.h>
#include <stdio.h>
#include <string.h>

static enum journal_kind kind_of(const struct saving_item *item)
{
	return item->artifact ? JOURNAL_ARTIFACT : JOURNAL_LOG;
}

static struct log_field at_risk(void)
{
	return log_string("risk", "if this container is started again, outputs are sent again, and "
				  "what main has handed over is not known to be lost");
}

/* --- opening ------------------------------------------------------------------------------ */

/* In the order in which they are reported. */
static int plan(struct journal *journal, const struct template *template, struct error *err)
{
	size_t logs = template_archives_logs(template) ? template->container_count : 0;
	int r = 0;

	for (size_t i = 0; r >= 0 && i < template->output_count; i++)
		r = journal_plan(journal, JOURNAL_ARTIFACT, template->outputs[i].name, err);
	for (size_t i = 0; r >= 0 && i < logs; i++)
		r = journal_plan(journal, JOURNAL_LOG, template->containers[i], err);
	return r < 0 ? r : 0;
}

/* A descriptor, or -1 for memory. */
static int open_place(const char *directory, const struct template *template, const struct log *log)
{
	struct error err = ERROR_NONE;
	int fd;

	if (template->output_count == 0 && !template_archives_logs(template))
		return -1;
	fd = journal_place_open(directory, &err);
	if (fd >= 0)
		return fd;
	/* A pod without such a volume is as good as any, but for that. */
	log_at(log, err.code == -ENOTUNIQ ? LOG_DEBUG : LOG_WARN,
	       "The journal of the outputs is in memory only", log_error_field(&err), at_risk());
	return -1;
}

static int open_journal(int fd, const struct environment *environment, const struct log *log,
			struct journal **ret, struct error *err)
{
	const char *node = environment->node_id;
	size_t dropped = 0;
	char pod[512];
	int r;

	/* A retry has a pod of the same name. */
	snprintf(pod, sizeof(pod), "%s %s", environment->pod_name, environment_get("ARGO_POD_UID"));
	r = journal_new(pod, node, fd, ret, &dropped, err);

	if (r < 0 && fd >= 0) {
		log_warn(log, "The journal of the outputs is in memory only", log_error_field(err),
			 at_risk());
		return journal_new(pod, node, -1, ret, NULL, err);
	}
	if (r == 0 && dropped > 0)
		log_warn(log, "Part of the journal that was found does not count",
			 log_int("bytes", (int64_t)dropped),
			 log_bool("isDamaged", journal_is_damaged(*ret)),
			 log_int("entries", (int64_t)journal_count(*ret)));
	return r;
}

int recording_open(const char *directory, const struct template *template,
		   const struct environment *environment, const struct log *log,
		   struct journal **ret, bool *ret_was_there, struct error *err)
{
	_cleanup_journal_ struct journal *journal = NULL;
	int r = open_journal(open_place(directory, template, log), environment, log, &journal, err);

	if (r < 0)
		return r;
	*ret_was_there = journal_count(journal) > 0 || journal_is_damaged(journal);
	if (*ret_was_there)
		log_info(log, "Going on from the journal of an earlier process of this container",
			 log_int("entries", (int64_t)journal_count(journal)));
	r = plan(journal, template, err);
	if (r == 0)
		*ret = TAKE_PTR(journal);
	return r;
}

void recording_remove(const char *directory, const struct journal *journal)
{
	journal_place_remove(directory, journal_descriptor(journal));
}

/* --- what an earlier process has left ----------------------------------------------------- */

void recording_handed(struct journal *journal, const struct template *template, const char *path)
{
	for (size_t i = 0; journal && i < template->output_count; i++) {
		int number;

		if (strcmp(template->outputs[i].path, path) != 0)
			continue;
		number = journal_plan(journal, JOURNAL_ARTIFACT, template->outputs[i].name, NULL);
		if (number >= 0)
			journal_handed(journal, (size_t)number);
	}
}

static int resume(const struct journal *journal, struct saving *saving, size_t i,
		  const struct journal_entry *entry)
{
	struct saving_item *item = &saving->items[i];
	const struct stage *stage = saving->stage;

	if (!entry->artifact) {
		/* Where something was known that is not any more, this may have been. */
		item->was_handed = item->artifact &&
				   (entry->is_handed || journal_is_damaged(journal)) &&
				   stage_is_in_base(stage, item->artifact->path);
		item->lost_from_s = entry->planned_s;
		return 0;
	}
	log_info(stage->log, "Stored by an earlier process of this container",
		 log_string(item->artifact ? "artifactName" : "containerName", item->name));
	return saving_adopt(saving, i, entry->artifact);
}

int recording_resume(const struct journal *journal, struct saving *saving, struct error *err)
{
	for (size_t i = 0; i < saving->count; i++)
		for (size_t k = 0; k < journal_count(journal); k++) {
			struct journal_entry entry = journal_entry(journal, k);

			if (entry.kind == kind_of(&saving->items[i]) &&
			    strcmp(entry.name, saving->items[i].name) == 0 &&
			    resume(journal, saving, i, &entry) < 0)
				return error_set(err, -ENOMEM, "out of memory");
		}
	return 0;
}

/* --- what happens ------------------------------------------------------------------------- */

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

void recording_check(const struct journal *journal, const struct log *log, bool *warned)
{
	struct error err = ERROR_NONE;

	if (*warned || journal_health(journal, &err) == 0)
		return;
	*warned = true;
	log_warn(log, "The journal of the outputs goes on in memory only", log_error_field(&err),
		 at_risk());
}
