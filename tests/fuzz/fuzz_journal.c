/*
 * A journal that was found. The first byte says whether what follows is the file, or lines of which
 * records with good checksums are made. Required: what is read once is read again as the same, what is
 * reported was recorded as stored, and no damage keeps from going on.
 */
#include "executor/base/cleanup.h"
#include "executor/report/journal.h"
#include "executor/report/journal_file.h"
#include "tests/fuzz/fuzz.h"
#include "tests/fuzz/targets.h"

#include <string.h>
#include <sys/mman.h>
#include <sys/stat.h>

static void fill(int fd, const char *data, size_t size, bool is_text)
{
	uint64_t offset = 0;

	if (!is_text) {
		fuzz_require(size == 0 || pwrite(fd, data, size, 0) == (ssize_t)size);
		return;
	}
	while (size > 0) {
		const char *end = memchr(data, '\n', size);
		size_t length = end ? (size_t)(end - data) : size;

		if (length > 0)
			fuzz_require(journal_file_append(fd, &offset, data, length) == 0);
		data += length + (end != NULL);
		size -= length + (end != NULL);
	}
}

static struct json_object *outputs_of(const struct journal *journal)
{
	const struct outputs_source nothing = { .result = NULL };
	struct json_object *outputs = NULL;

	fuzz_require(journal_outputs(journal, &nothing, &outputs, NULL) == 0);
	return outputs;
}

static size_t count_stored(const struct journal *journal)
{
	size_t count = 0;

	for (size_t i = 0; i < journal_count(journal); i++) {
		struct journal_entry entry = journal_entry(journal, i);

		fuzz_require(entry.name != NULL);
		fuzz_require((entry.state == JOURNAL_FAILED) == (entry.why != NULL));
		fuzz_require((entry.state == JOURNAL_STORED || entry.state == JOURNAL_REPORTED) ==
			     (entry.artifact != NULL));
		count += entry.artifact != NULL;
	}
	return count;
}

void fuzz_journal(const char *data, size_t size)
{
	_cleanup_journal_ struct journal *first = NULL, *second = NULL;
	_cleanup_json_ struct json_object *before = NULL, *after = NULL;
	_cleanup_close_ int fd = memfd_create("journal", MFD_CLOEXEC);
	size_t dropped;

	fuzz_require(fd >= 0);
	if (size > 0)
		fill(fd, data + 1, size - 1, data[0] & 1);
	fuzz_require(journal_new("p", "n", dup(fd), &first, &dropped, NULL) == 0);
	before = outputs_of(first);
	fuzz_require(json_length(json_get(before, "artifacts")) == count_stored(first));
	journal_reported(first);
	fuzz_require(journal_health(first, NULL) == 0);
	fuzz_require(journal_new("p", "n", dup(fd), &second, &dropped, NULL) == 0);
	fuzz_require(dropped == 0 && journal_count(second) == journal_count(first));
	fuzz_require(!journal_is_damaged(second));
	for (size_t i = 0; i < journal_count(first); i++)
		fuzz_require(journal_entry(first, i).is_handed ==
			     journal_entry(second, i).is_handed);
	after = outputs_of(second);
	fuzz_require(json_equal(before, after));
	fuzz_require(journal_plan(second, JOURNAL_LOG, "another", NULL) >= 0);
}
