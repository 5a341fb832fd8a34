#include "executor/stage/ledger.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include <stdio.h>

struct seen {
	unsigned calls;
	size_t last;
};

static void on_change(void *context, size_t i)
{
	struct seen *seen = context;

	seen->calls++;
	seen->last = i;
}

static void test_the_way_of_an_entry(void **state)
{
	struct seen seen = { 0 };
	struct ledger ledger;
	struct ledger_entry *entry;

	(void)state;
	assert_int_equal(ledger_init(&ledger, 2), 0);
	ledger.on_change = on_change;
	ledger.context = &seen;
	ledger_plan(&ledger, LEDGER_INPUT, "a");
	ledger_plan(&ledger, LEDGER_OUTPUT, "a");
	assert_int_equal(ledger.count, 2);
	entry = ledger_find(&ledger, LEDGER_OUTPUT, "a");
	assert_ptr_equal(entry, &ledger.entries[1]);
	assert_int_equal(entry->state, LEDGER_PLANNED);
	assert_int_equal(entry->bytes_total, -1);

	ledger_begin(entry);
	assert_int_equal(seen.calls, 1);
	assert_int_equal(seen.last, 1);
	ledger_expect(entry, 100);
	ledger_move(entry, 70);
	ledger_retry(entry);
	ledger_move(entry, 70);
	assert_int_equal(entry->bytes, 100);
	assert_int_equal(entry->retries, 1);
	assert_int_equal(ledger.bytes[LEDGER_OUTPUT], 140);
	assert_int_equal(ledger.bytes[LEDGER_INPUT], 0);
	assert_int_equal(ledger.retries[LEDGER_OUTPUT], 1);
	/* Bytes within a second of the start are nobody's business, a retry is. */
	assert_int_equal(seen.calls, 2);
	entry->noticed_ms -= LEDGER_NOTICE_MS;
	ledger_move(entry, 1);
	assert_int_equal(seen.calls, 3);

	ledger_end(entry, LEDGER_DONE);
	assert_int_equal(seen.calls, 4);
	assert_string_equal(ledger_state_name(entry->direction, entry->state), "stored");
	assert_string_equal(ledger_state_name(LEDGER_INPUT, LEDGER_DONE), "loaded");
	assert_string_equal(ledger_direction_name(LEDGER_INPUT), "input");
	ledger_done(&ledger);
}

static void test_more_than_fit_are_counted(void **state)
{
	struct seen seen = { 0 };
	struct ledger ledger;
	struct ledger_entry *entry;
	char name[LEDGER_NAME_MAX + 64];

	(void)state;
	assert_int_equal(ledger_init(&ledger, LEDGER_ENTRIES_MAX + 3), 0);
	ledger.on_change = on_change;
	ledger.context = &seen;
	for (int i = 0; i < LEDGER_ENTRIES_MAX + 3; i++) {
		snprintf(name, sizeof(name), "a%d", i);
		ledger_plan(&ledger, LEDGER_INPUT, name);
	}
	assert_int_equal(ledger.count, LEDGER_ENTRIES_MAX);
	assert_int_equal(ledger.omitted, 3);
	entry = ledger_find(&ledger, LEDGER_INPUT, name);
	assert_ptr_equal(entry, &ledger.rest[LEDGER_INPUT]);
	ledger_begin(entry);
	ledger_move(entry, 5);
	ledger_retry(entry);
	ledger_end(entry, LEDGER_FAILED);
	assert_int_equal(ledger.bytes[LEDGER_INPUT], 5);
	assert_int_equal(ledger.retries[LEDGER_INPUT], 1);
	assert_int_equal(seen.calls, 0);
	assert_int_equal(ledger_find(&ledger, LEDGER_OUTPUT, "x")->direction, LEDGER_OUTPUT);
	ledger_done(&ledger);

	/* A name that is too long is cut at a character. */
	assert_int_equal(ledger_init(&ledger, 1), 0);
	memset(name, 'x', sizeof(name) - 1);
	memcpy(name + LEDGER_NAME_MAX - 2, "\xc3\xa4", 3);
	ledger_plan(&ledger, LEDGER_OUTPUT, name);
	assert_int_equal(strlen(ledger.entries[0].name), LEDGER_NAME_MAX - 2);
	ledger_done(&ledger);
}

static void test_nobody_looks(void **state)
{
	struct ledger_entry *entry = ledger_find(NULL, LEDGER_INPUT, "a");

	(void)state;
	assert_null(entry);
	ledger_begin(entry);
	ledger_expect(entry, 1);
	ledger_move(entry, 1);
	ledger_retry(entry);
	ledger_end(entry, LEDGER_DONE);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_the_way_of_an_entry),
		cmocka_unit_test(test_more_than_fit_are_counted),
		cmocka_unit_test(test_nobody_looks),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
