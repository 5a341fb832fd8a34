#include "executor/report/journal.h"

#include "executor/base/cleanup.h"
#include "executor/report/journal_file.h"

#include <errno.h>
#include <fcntl.h>
#include <setjmp.h>
#include <signal.h>
#include <stdarg.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/resource.h>
#include <sys/stat.h>

#include <cmocka.h>

static struct journal *open_journal(int fd, const char *node, size_t *ret_dropped)
{
	struct error err = ERROR_NONE;
	struct journal *journal = NULL;

	if (journal_new("pod-1", node, fd, &journal, ret_dropped, &err) < 0)
		fail_msg("%s", err.message);
	return journal;
}

static struct json_object *parse(const char *text)
{
	struct json_object *value = NULL;

	assert_int_equal(json_parse(text, strlen(text), "test", &value, NULL), 0);
	return value;
}

static void store(struct journal *journal, size_t i, const char *text)
{
	_cleanup_json_ struct json_object *artifact = parse(text);
	const struct journal_object object = { .size = 5, .etag = "\"e\"", .checksum = "sha256:1" };

	assert_int_equal(journal_stored(journal, i, artifact, &object), 0);
}

static void check_outputs(const struct journal *journal, const char *expected)
{
	_cleanup_json_ struct json_object *outputs = NULL, *wanted = parse(expected);
	const struct outputs_source nothing = { .result = NULL };

	assert_int_equal(journal_outputs(journal, &nothing, &outputs, NULL), 0);
	assert_true(json_equal(outputs, wanted));
}

/* Artifacts a and b, the log l; a is stored, b has failed. */
static struct journal *make(int fd)
{
	struct journal *journal = open_journal(fd, "node-1", NULL);
	struct error why = ERROR_NONE;

	assert_int_equal(journal_plan(journal, JOURNAL_ARTIFACT, "a", NULL), 0);
	assert_int_equal(journal_plan(journal, JOURNAL_ARTIFACT, "b", NULL), 1);
	assert_int_equal(journal_plan(journal, JOURNAL_LOG, "a", NULL), 2);
	assert_int_equal(journal_plan(journal, JOURNAL_ARTIFACT, "b", NULL), 1);
	error_set_class(&why, -EIO, ERROR_TRANSIENT, "the link is down");
	assert_int_equal(journal_reading(journal, 0), 0);
	assert_int_equal(journal_sending(journal, 0), 0);
	store(journal, 0, "{\"name\":\"a\",\"s3\":{\"key\":\"k\"}}");
	assert_int_equal(journal_failed(journal, 1, &why), 0);
	return journal;
}

static const char one[] = "{\"artifacts\":[{\"name\":\"a\",\"s3\":{\"key\":\"k\"}}]}";

static void test_steps(void **state)
{
	_cleanup_journal_ struct journal *journal = make(-1);
	struct journal_entry entry = journal_entry(journal, 0);

	(void)state;
	assert_int_equal(journal_count(journal), 3);
	assert_int_equal(entry.state, JOURNAL_STORED);
	assert_string_equal(entry.object.etag, "\"e\"");
	assert_string_equal(entry.object.checksum, "sha256:1");
	assert_int_equal(entry.object.size, 5);
	entry = journal_entry(journal, 1);
	assert_string_equal(entry.why, "the link is down");
	assert_int_equal(entry.class, ERROR_TRANSIENT);
	assert_null(entry.artifact);
	entry = journal_entry(journal, 2);
	assert_int_equal(entry.kind, JOURNAL_LOG);
	assert_int_equal(entry.state, JOURNAL_PLANNED);
	check_outputs(journal, one);
	check_outputs(journal, one);

	/* Reported once more is the same. */
	assert_int_equal(journal_reported(journal), 0);
	assert_int_equal(journal_reported(journal), 0);
	assert_int_equal(journal_entry(journal, 0).state, JOURNAL_REPORTED);
	check_outputs(journal, one);

	/* What has failed may be tried again; logs come last. */
	store(journal, 2, "{\"name\":\"l\"}");
	assert_int_equal(journal_reading(journal, 1), 0);
	assert_null(journal_entry(journal, 1).why);
	store(journal, 1, "{\"name\":\"b\"}");
	check_outputs(journal, "{\"artifacts\":[{\"name\":\"a\",\"s3\":{\"key\":\"k\"}},"
			       "{\"name\":\"b\"},{\"name\":\"l\"}]}");
	assert_int_equal(journal_health(journal, NULL), 0);
}

/* Every step from every state: allowed by the picture in the header, or refused and without effect. */
static const char *const allowed[JOURNAL_STATE_COUNT] = {
	[JOURNAL_PLANNED] = "=rsS.fa", /* = planned, reading, sending, Stored, reported, … */
	[JOURNAL_READING] = ".=sS.fa",  [JOURNAL_SENDING] = ".r=S.fa", [JOURNAL_STORED] = "...=R..",
	[JOURNAL_REPORTED] = "...==..", [JOURNAL_FAILED] = ".rsS.fa",  [JOURNAL_ABSENT] = ".rsS.f=",
};

static int go(struct journal *journal, enum journal_state to)
{
	_cleanup_json_ struct json_object *artifact = parse("{\"name\":\"x\"}");
	struct error why = ERROR_NONE;

	error_set(&why, -EIO, "why");
	switch (to) {
	case JOURNAL_READING:
		return journal_reading(journal, 0);
	case JOURNAL_SENDING:
		return journal_sending(journal, 0);
	case JOURNAL_STORED:
		return journal_stored(journal, 0, artifact, NULL);
	case JOURNAL_REPORTED:
		return journal_reported(journal);
	case JOURNAL_FAILED:
		return journal_failed(journal, 0, &why);
	case JOURNAL_ABSENT:
		return journal_absent(journal, 0);
	default:
		return journal_plan(journal, JOURNAL_ARTIFACT, "x", NULL);
	}
}

static void test_every_step(void **state)
{
	(void)state;
	for (int from = 0; from < JOURNAL_STATE_COUNT; from++)
		for (int to = JOURNAL_READING; to < JOURNAL_STATE_COUNT; to++) {
			_cleanup_journal_ struct journal *journal = open_journal(-1, "n", NULL);
			bool is_allowed = allowed[from][to] != '.';
			int r;

			go(journal, JOURNAL_PLANNED);
			if (from == JOURNAL_REPORTED)
				go(journal, JOURNAL_STORED);
			go(journal, (enum journal_state)from);
			assert_int_equal(journal_entry(journal, 0).state, from);
			r = go(journal, (enum journal_state)to);
			/* Nothing to report is no error. */
			if (to != JOURNAL_REPORTED && r != (is_allowed ? 0 : -EINVAL))
				fail_msg("%s to %s: %d",
					 journal_state_name((enum journal_state)from),
					 journal_state_name((enum journal_state)to), r);
			assert_int_equal(journal_entry(journal, 0).state,
					 is_allowed && from != JOURNAL_REPORTED ? to : from);
		}
}

static void test_entries_that_are_not_there(void **state)
{
	_cleanup_journal_ struct journal *journal = make(-1);
	_cleanup_json_ struct json_object *artifact = parse("{}");
	struct error why = ERROR_NONE;

	(void)state;
	assert_int_equal(journal_reading(journal, 3), -EINVAL);
	assert_int_equal(journal_failed(journal, 3, &why), -EINVAL);
	assert_int_equal(journal_stored(journal, SIZE_MAX, artifact, NULL), -EINVAL);
	check_outputs(journal, one);
}

static void test_what_is_handed(void **state)
{
	_cleanup_close_ int fd = memfd_create("test", MFD_CLOEXEC);

	(void)state;
	{
		_cleanup_journal_ struct journal *journal = make(dup(fd));

		assert_false(journal_entry(journal, 1).is_handed);
		assert_int_equal(journal_handed(journal, 1), 0);
		assert_int_equal(journal_handed(journal, 1), 0);
		assert_int_equal(journal_handed(journal, 3), -EINVAL);
		/* It is no step: where the entry was, it is. */
		assert_int_equal(journal_entry(journal, 1).state, JOURNAL_FAILED);
	}
	{
		_cleanup_journal_ struct journal *journal = open_journal(dup(fd), "node-1", NULL);
		struct stat st;

		assert_true(journal_entry(journal, 1).is_handed);
		assert_false(journal_entry(journal, 0).is_handed);
		assert_int_equal(fstat(fd, &st), 0);
		assert_true(journal_entry(journal, 1).planned_s > st.st_mtime - 60);
		assert_false(journal_is_damaged(journal));
	}
}

static void test_checksum(void **state)
{
	(void)state;
	/* RFC 3720, B.4, and the usual check value. */
	assert_int_equal(journal_crc32c(0, "123456789", 9), 0xe3069283);
	assert_int_equal(journal_crc32c(0, (char[32]){ 0 }, 32), 0x8a9136aa);
	assert_int_equal(journal_crc32c(journal_crc32c(0, "1234", 4), "56789", 5), 0xe3069283);
}

/* --- files -------------------------------------------------------------------------------- */

static int new_file(void)
{
	int fd = memfd_create("test", MFD_CLOEXEC);

	assert_true(fd >= 0);
	return fd;
}

static size_t size_of(int fd)
{
	struct stat st;

	assert_int_equal(fstat(fd, &st), 0);
	return (size_t)st.st_size;
}

static int copy(const char *data, size_t size)
{
	int fd = new_file();

	assert_int_equal(pwrite(fd, data, size, 0), (ssize_t)size);
	return fd;
}

static void test_read_again(void **state)
{
	_cleanup_close_ int fd = new_file();
	size_t dropped;

	(void)state;
	journal_free(make(dup(fd)));
	for (int i = 0; i < 2; i++) {
		_cleanup_journal_ struct journal *journal =
			open_journal(dup(fd), "node-1", &dropped);

		assert_int_equal(dropped, 0);
		assert_int_equal(journal_count(journal), 3);
		assert_string_equal(journal_entry(journal, 1).why, "the link is down");
		assert_int_equal(journal_plan(journal, JOURNAL_LOG, "a", NULL), 2);
		check_outputs(journal, one);
		journal_reported(journal);
	}
	/* Another pod's is nobody's. */
	{
		_cleanup_journal_ struct journal *journal =
			open_journal(dup(fd), "node-2", &dropped);

		assert_true(dropped > 0);
		assert_int_equal(journal_count(journal), 0);
		check_outputs(journal, "{}");
	}
	{
		_cleanup_journal_ struct journal *journal =
			open_journal(dup(fd), "node-2", &dropped);

		assert_int_equal(dropped, 0);
	}
}

static char whole[4096];
static size_t whole_size;

static void keep_whole(void)
{
	_cleanup_close_ int fd = new_file();

	journal_free(make(dup(fd)));
	whole_size = size_of(fd);
	assert_true(whole_size < sizeof(whole));
	assert_int_equal(pread(fd, whole, whole_size, 0), (ssize_t)whole_size);
}

/* Whatever is left of a, it is reported only if all of its record is there. */
static void check_damaged(const char *data, size_t size)
{
	_cleanup_close_ int fd = copy(data, size);
	_cleanup_journal_ struct journal *journal = open_journal(dup(fd), "node-1", NULL);
	size_t before = size_of(fd), count;

	if (journal_count(journal) > 0 && journal_entry(journal, 0).state == JOURNAL_STORED)
		check_outputs(journal, one);
	else
		check_outputs(journal, "{}");
	/* And it can be gone on with. */
	count = journal_count(journal);
	assert_int_equal(journal_plan(journal, JOURNAL_LOG, "z", NULL), count);
	assert_true(size_of(fd) > before);
	assert_int_equal(journal_health(journal, NULL), 0);
}

static bool is_damaged(const char *data, size_t size, const char *node)
{
	_cleanup_journal_ struct journal *journal = open_journal(copy(data, size), node, NULL);

	return journal_is_damaged(journal);
}

/* What its writer has died over is no damage, and neither is another's journal. */
static void test_damage(void **state)
{
	char data[sizeof(whole)];

	(void)state;
	keep_whole();
	memcpy(data, whole, whole_size);
	memset(data + whole_size, 0, 8);
	memset(data + whole_size + 8, 'x', 8);
	assert_false(is_damaged(data, 0, "node-1"));
	for (size_t size = whole_size; size <= whole_size + 16; size++)
		assert_false(is_damaged(data, size, "node-1"));
	assert_false(is_damaged(data, whole_size, "node-2"));
	assert_true(is_damaged(data, whole_size - 1, "node-1"));
	data[whole_size] = 1;
	assert_true(is_damaged(data, whole_size + 16, "node-1"));
	data[8] ^= 1;
	assert_true(is_damaged(data, whole_size, "node-2"));
}

static void test_torn_tails(void **state)
{
	(void)state;
	keep_whole();
	for (size_t size = 0; size <= whole_size; size++)
		check_damaged(whole, size);
}

static void test_flipped_bits(void **state)
{
	char data[sizeof(whole)];

	(void)state;
	keep_whole();
	for (size_t bit = 0; bit < whole_size * 8; bit++) {
		memcpy(data, whole, whole_size);
		data[bit / 8] ^= (char)(1 << bit % 8);
		check_damaged(data, whole_size);
	}
}

/* Records that are whole and make no sense: nothing behind them counts. */
static void test_records_of_nonsense(void **state)
{
	static const char *const records[] = {
		"x",
		"[]",
		"{\"entry\":0,\"state\":\"stored\"}",
		"{\"entry\":1,\"state\":\"planned\",\"kind\":\"artifact\",\"name\":\"x\"}",
		"{\"entry\":0,\"state\":\"planned\",\"kind\":\"x\",\"name\":\"x\"}",
		"{\"entry\":0,\"state\":\"planned\",\"kind\":\"log\"}",
		"{\"entry\":-1,\"state\":\"planned\",\"kind\":\"log\",\"name\":\"x\"}",
	};

	(void)state;
	for (size_t i = 0; i < sizeof(records) / sizeof(records[0]); i++) {
		_cleanup_close_ int fd = new_file();
		uint64_t offset;
		size_t dropped;

		journal_free(open_journal(dup(fd), "node-1", NULL));
		offset = size_of(fd);
		assert_int_equal(journal_file_append(fd, &offset, records[i], strlen(records[i])),
				 0);
		journal_free(open_journal(dup(fd), "node-1", &dropped));
		assert_int_equal(dropped, strlen(records[i]) + 8);
	}
}

static void test_a_full_disk(void **state)
{
	struct rlimit old, limit;
	_cleanup_close_ int fd = new_file();
	_cleanup_journal_ struct journal *journal = open_journal(dup(fd), "node-1", NULL);
	struct error err = ERROR_NONE;
	size_t before;

	(void)state;
	assert_int_equal(journal_plan(journal, JOURNAL_ARTIFACT, "a", NULL), 0);
	before = size_of(fd);
	getrlimit(RLIMIT_FSIZE, &old);
	limit = old;
	limit.rlim_cur = before + 30;
	signal(SIGXFSZ, SIG_IGN);
	setrlimit(RLIMIT_FSIZE, &limit);
	store(journal, 0, "{\"name\":\"a\",\"s3\":{\"key\":\"k\"}}");
	setrlimit(RLIMIT_FSIZE, &old);
	/* It is true all the same, and the file is as it was. */
	check_outputs(journal, one);
	assert_int_equal(size_of(fd), before);
	assert_int_equal(journal_health(journal, &err), -EFBIG);
	assert_string_equal(err.message, "write the journal: file too large");
	assert_int_equal(journal_reported(journal), 0);
	assert_int_equal(size_of(fd), before);
}

static void test_records_have_a_limit(void **state)
{
	_cleanup_close_ int fd = new_file();
	_cleanup_free_ char *large = calloc(1, JOURNAL_RECORD_MAX + 1);
	uint64_t offset = 0;

	(void)state;
	assert_int_equal(journal_file_append(fd, &offset, large, JOURNAL_RECORD_MAX + 1),
			 -EMSGSIZE);
	assert_int_equal(journal_file_append(fd, &offset, large, 0), -EMSGSIZE);
	assert_int_equal(offset, 0);
	assert_int_equal(journal_file_append(fd, &offset, large, JOURNAL_RECORD_MAX), 0);
	assert_int_equal(offset, size_of(fd));
	offset = JOURNAL_BYTES_MAX - 8;
	assert_int_equal(journal_file_append(fd, &offset, "x", 1), -EMSGSIZE);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_steps),
		cmocka_unit_test(test_every_step),
		cmocka_unit_test(test_entries_that_are_not_there),
		cmocka_unit_test(test_what_is_handed),
		cmocka_unit_test(test_checksum),
		cmocka_unit_test(test_read_again),
		cmocka_unit_test(test_damage),
		cmocka_unit_test(test_torn_tails),
		cmocka_unit_test(test_flipped_bits),
		cmocka_unit_test(test_records_of_nonsense),
		cmocka_unit_test(test_a_full_disk),
		cmocka_unit_test(test_records_have_a_limit),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
