/*
 * All interleavings of what can happen to a report, up to a depth, against what must never be. The
 * search is breadth first: what it finds is told as the shortest way there.
 *
 *	REPORT_MODEL_DEPTH=14 build/tests/test_report_model 'test_all*'
 */
#include "tests/unit/report_model.h"
#include "tests/unit/text_pool.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

/* With sanitizers all of it takes ten times as long. */
#ifdef __SANITIZE_ADDRESS__
#define DEPTH 5
#else
#define DEPTH 12
#endif
#define FAULT_DEPTH 6
#define PREFIX_MAX 5
#define DEPTH_MAX 32

struct node {
	uint32_t parent; /* its own number: a beginning */
	uint8_t action;
};

struct search {
	unsigned depth;
	enum model_beginning first; /* of which node 0 is */
	struct text_pool seen; /* keys, by the number of their node */
	struct node *nodes;
	size_t room;
	struct model_state *states; /* by node, as far as they are still to be gone on from */
	size_t transitions, ends;
	const char *wrong;
	uint32_t culprit; /* the node before it */
	int last; /* and the action, or -1 */
};

static void keep(struct search *search, uint32_t number, uint32_t parent, unsigned action,
		 struct model_state state)
{
	if (number >= search->room) {
		search->room = search->room ? 2 * search->room : 1024;
		search->nodes = realloc(search->nodes, search->room * sizeof(*search->nodes));
		search->states = realloc(search->states, search->room * sizeof(*search->states));
		assert_non_null(search->nodes);
		assert_non_null(search->states);
	}
	search->nodes[number] = (struct node){ .parent = parent, .action = (uint8_t)action };
	search->states[number] = state;
}

/* Takes `state`, unless it has been seen. */
static void meet(struct search *search, uint32_t parent, unsigned action, struct model_state state)
{
	unsigned char key[MODEL_KEY_MAX];
	size_t size = model_key(&state, key);
	bool is_new;
	uint32_t number = text_pool_add(&search->seen, key, size, &is_new);

	if (is_new)
		keep(search, number, parent == UINT32_MAX ? number : parent, action, state);
	else
		model_state_done(&state);
}

static void blame(struct search *search, const char *wrong, uint32_t culprit, int last)
{
	search->wrong = wrong;
	search->culprit = culprit;
	search->last = last;
}

static void go_on_from(struct search *search, uint32_t number)
{
	struct model_state state = search->states[number];

	for (unsigned action = 0; action < MODEL_ACTIONS && !search->wrong; action++) {
		const char *wrong = NULL;
		struct model_state next;

		if (!model_is_enabled(&state, (enum model_action)action))
			continue;
		next = model_act(&state, (enum model_action)action, &wrong);
		search->transitions++;
		if (wrong)
			blame(search, wrong, number, (int)action);
		meet(search, number, action, next);
	}
	model_state_done(&search->states[number]);
}

/* From where the search ends, whatever has happened comes to a good end. */
static void try_ends(struct search *search, uint32_t from)
{
	for (uint32_t i = from; i < search->seen.count && !search->wrong; i++) {
		const char *wrong = model_try_end(&search->states[i]);

		search->ends++;
		if (wrong)
			blame(search, wrong, i, -1);
	}
}

static void run(struct search *search, unsigned depth)
{
	uint32_t next = 0;

	search->depth = depth;
	for (unsigned level = 0; level < depth && !search->wrong; level++)
		for (uint32_t end = (uint32_t)search->seen.count; next < end && !search->wrong;
		     next++)
			go_on_from(search, next);
	try_ends(search, next);
}

static void done(struct search *search)
{
	for (size_t i = 0; i < search->seen.count; i++)
		model_state_done(&search->states[i]);
	free(search->nodes);
	free(search->states);
	text_pool_done(&search->seen);
	model_end();
}

static const char *const beginnings[MODEL_BEGINNINGS] = {
	[MODEL_MAIN_HAS_ENDED] = "main has ended",
	[MODEL_MAIN_IS_RUNNING] = "main is running",
	[MODEL_IS_RETRIED] = "main has ended, the node was run before",
};

/* The number of actions. */
static unsigned tell(const struct search *search)
{
	unsigned actions[DEPTH_MAX + 1], count = 0;
	uint32_t number = search->culprit;

	if (search->last >= 0)
		actions[count++] = (unsigned)search->last;
	for (; search->nodes[number].parent != number; number = search->nodes[number].parent)
		actions[count++] = search->nodes[number].action;
	print_message("%s, %s:\n", search->wrong, beginnings[search->first + number]);
	for (unsigned i = count; i > 0; i--)
		print_message("  %2u %s\n", count - i + 1,
			      model_action_name((enum model_action)actions[i - 1]));
	if (search->last < 0)
		print_message("     and nothing more goes wrong\n");
	return count;
}

static unsigned depth_wanted(void)
{
	const char *text = getenv("REPORT_MODEL_DEPTH");
	unsigned depth = text ? (unsigned)strtoul(text, NULL, 10) : DEPTH;

	assert_in_range(depth, 1, DEPTH_MAX);
	return depth;
}

static void test_all_interleavings(void **state)
{
	struct search search = { .room = 0 };

	(void)state;
	model_begin(MODEL_IS_RIGHT);
	for (int beginning = 0; beginning < MODEL_BEGINNINGS; beginning++)
		meet(&search, UINT32_MAX, 0, model_start((enum model_beginning)beginning));
	run(&search, depth_wanted());
	print_message("depth %u: %zu states, %zu transitions, %zu ends\n", search.depth,
		      search.seen.count, search.transitions, search.ends);
	if (search.wrong) {
		tell(&search);
		fail_msg("%s", search.wrong);
	}
	done(&search);
}

#define A_STORED MODEL_STORED
#define LOG_STORED (MODEL_STORED + 1)
#define LOG_FAILS (MODEL_FAILED + 1)
#define DIES_RECORDING_LOG (MODEL_DIES_RECORDING + 1)

/* What it finds of code that is wrong, and how many actions behind the first ones: with those, which
 * it would find too, it takes a second. */
static const struct fault {
	enum model_fault fault;
	const char *wrong;
	unsigned count;
	unsigned first_count, first[PREFIX_MAX];
	enum model_beginning beginning;
} faults[] = {
	{ MODEL_REPORTS_BEFORE_STORED, "a location is reported that has no object", 4, 0, { 0 } },
	{ MODEL_IGNORES_VERSIONS,
	  "what the other writer wrote is gone",
	  2,
	  5,
	  { A_STORED, MODEL_ANSWERED, MODEL_EARLY_DUE, LOG_STORED, MODEL_LOST } },
	{ MODEL_FORGETS_JOURNAL,
	  "the label says that all is reported, and it is not",
	  4,
	  4,
	  { A_STORED, DIES_RECORDING_LOG, MODEL_RESTARTS, LOG_STORED } },
	{ MODEL_REPLACES_OUTPUTS, "what the other writer wrote is gone", 5, 0, { 0 } },
	{ MODEL_FINALIZES_EARLY,
	  "the label says that all is reported, and it is not",
	  3,
	  0,
	  { 0 } },
	{ MODEL_BLANK_PLACEHOLDER, "labels or owner are missing", 1, 0, { 0 } },
	{ MODEL_TAKES_LOSS_FOR_SUCCESS,
	  "the label says that all is reported, and it is not",
	  5,
	  0,
	  { 0 } },
	{ MODEL_STAYS_CLOSED,
	  "the label stays true while there is more to come",
	  4,
	  5,
	  { A_STORED, LOG_FAILS, MODEL_ANSWERED, MODEL_ANSWERED, MODEL_ANSWER_LOST } },
	{ MODEL_REPLACES_ARRAYS, "what the other writer wrote is gone", 6, 0, { 0 } },
	{ .fault = MODEL_INHERITS,
	  .wrong = "what an earlier pod has reported passes for ours",
	  .count = 3,
	  .beginning = MODEL_IS_RETRIED },
	{ .fault = MODEL_KEEPS_LABEL,
	  .wrong = "the label is an earlier pod's",
	  .count = 3,
	  .beginning = MODEL_IS_RETRIED },
};

static struct model_state begin_with(const struct fault *fault)
{
	struct model_state state = model_start(fault->beginning);

	for (unsigned i = 0; i < fault->first_count; i++) {
		enum model_action action = (enum model_action)fault->first[i];
		const char *wrong = NULL;
		struct model_state next;

		assert_true(model_is_enabled(&state, action));
		next = model_act(&state, action, &wrong);
		assert_null(wrong);
		model_state_done(&state);
		state = next;
	}
	return state;
}

static void test_it_finds_what_is_wrong(void **state)
{
	(void)state;
	for (size_t i = 0; i < sizeof(faults) / sizeof(*faults); i++) {
		struct search search = { .first = faults[i].beginning };

		model_begin(faults[i].fault);
		meet(&search, UINT32_MAX, 0, begin_with(&faults[i]));
		run(&search, FAULT_DEPTH);
		if (!search.wrong)
			fail_msg("not found: %s", faults[i].wrong);
		assert_int_equal(tell(&search), faults[i].count);
		assert_string_equal(search.wrong, faults[i].wrong);
		done(&search);
	}
}

int main(int argc, char **argv)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_all_interleavings),
		cmocka_unit_test(test_it_finds_what_is_wrong),
	};

	if (argc > 1)
		cmocka_set_test_filter(argv[1]);
	return cmocka_run_group_tests(tests, NULL, NULL);
}
