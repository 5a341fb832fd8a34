#include "executor/artifact/budget.h"

#include "executor/base/path.h"
#include "tests/unit/scratch.h"

#include <errno.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>

#include <cmocka.h>

#define MIB ((uint64_t)1024 * 1024)

static const char a, b, c;

/* Claims one connection. */
static void claim(struct transfer_claim *claim, struct transfer_budget *budget, const char *owner)
{
	*claim = (struct transfer_claim){ 0 };
	budget_claim(claim, budget, owner, 1, 0);
}

static void test_without_a_budget(void **state)
{
	struct transfer_claim one = { 0 };

	(void)state;
	budget_return(&one);
	claim(&one, NULL, &a);
	assert_true(one.is_granted);
	budget_return(&one);
	assert_true(budget_bytes_max(NULL) == UINT64_MAX);
}

static void test_small_owner_is_not_behind_a_large_one(void **state)
{
	struct transfer_budget *budget = budget_new(2, MIB);
	struct transfer_claim large[5], small, other;

	(void)state;
	for (size_t i = 0; i < 5; i++)
		claim(&large[i], budget, &a);
	claim(&small, budget, &b);
	claim(&other, budget, &c);
	assert_true(large[0].is_granted && large[1].is_granted && !large[2].is_granted);
	budget_return(&large[0]);
	assert_true(small.is_granted && !other.is_granted && !large[2].is_granted);
	/* Who has nothing has waited longest, and is large again. */
	budget_return(&large[1]);
	assert_true(large[2].is_granted && !other.is_granted);
	budget_return(&small);
	assert_true(other.is_granted && !large[3].is_granted);
	budget_return(&large[2]);
	assert_true(large[3].is_granted && !large[4].is_granted);
	budget_return(&other);
	assert_true(large[4].is_granted);
	budget_return(&large[3]);
	budget_return(&large[4]);
	budget_free(budget);
}

static void test_bytes(void **state)
{
	struct transfer_budget *budget = budget_new(9, 10);
	struct transfer_claim six = { 0 }, four = { 0 }, one = { 0 }, huge = { 0 }, line = { 0 };

	(void)state;
	budget_claim(&six, budget, &a, 0, 6);
	budget_claim(&huge, budget, &b, 0, 100);
	/* Nothing that wants bytes overtakes; what wants none is not held up. */
	budget_claim(&four, budget, &c, 0, 4);
	budget_claim(&line, budget, &c, 1, 0);
	assert_true(six.is_granted && !huge.is_granted && line.is_granted);
	budget_return(&huge);
	assert_true(four.is_granted);
	budget_claim(&one, budget, &a, 0, 1);
	assert_false(one.is_granted);
	budget_return(&one);
	budget_claim(&huge, budget, &b, 0, 100);
	budget_return(&six);
	assert_false(huge.is_granted);
	budget_return(&four);
	assert_true(huge.is_granted);
	budget_claim(&one, budget, &a, 0, 1);
	assert_false(one.is_granted);
	budget_return(&huge);
	assert_true(one.is_granted);
	budget_return(&one);
	budget_return(&line);
	budget_free(budget);
}

static unsigned granted;

static void on_granted(struct transfer_claim *claim)
{
	assert_true(claim->is_granted);
	granted++;
}

static void test_callback(void **state)
{
	struct transfer_budget *budget = budget_new(1, MIB);
	struct transfer_claim first = { .on_granted = on_granted };
	struct transfer_claim second = { .on_granted = on_granted };

	(void)state;
	granted = 0;
	budget_claim(&first, budget, &a, 1, 0);
	assert_int_equal(granted, 0);
	budget_claim(&second, budget, &a, 1, 0);
	budget_return(&first);
	assert_int_equal(granted, 1);
	budget_return(&second);
	budget_free(budget);
}

static void test_cancelled_wait(void **state)
{
	struct transfer_budget *budget = budget_new(1, MIB);
	struct event_loop *loop = event_loop_new();
	struct transfer_claim first = { 0 }, second = { 0 }, third = { 0 };
	struct error err = ERROR_NONE;

	(void)state;
	assert_int_equal(budget_wait(&first, budget, &a, 1, 0, loop, &err), 0);
	event_loop_cancel(loop);
	assert_int_equal(budget_wait(&second, budget, &a, 1, 0, loop, &err), -ECANCELED);
	assert_int_equal(err.class, ERROR_CANCELLED);
	budget_return(&second);
	budget_return(&first);
	claim(&third, budget, &a);
	assert_true(third.is_granted);
	budget_return(&third);
	event_loop_free(loop);
	budget_free(budget);
}

static void put(const char *name, const char *content)
{
	assert_int_equal(path_make_parents(scratch_path(name), 0755, NULL), 0);
	scratch_write(name, content);
}

static uint64_t bytes_here(void)
{
	char root[512];

	snprintf(root, sizeof(root), "%s/", scratch_path("root"));
	return budget_bytes(root);
}

static void test_memory_limit(void **state)
{
	(void)state;
	assert_true(bytes_here() == BUDGET_BYTES);
	put("root/proc/self/cgroup", "0::/a/b\n");
	put("root/sys/fs/cgroup/a/b/memory.max", "max\n");
	assert_true(bytes_here() == BUDGET_BYTES);
	put("root/sys/fs/cgroup/a/memory.max", "67108864\n");
	assert_true(bytes_here() == 18 * MIB);
	put("root/sys/fs/cgroup/memory.max", "33554432\n");
	assert_true(bytes_here() == 10 * MIB);
	put("root/sys/fs/cgroup/memory.max", "nonsense\n");
	put("root/sys/fs/cgroup/a/memory.max", "1024\n");
	assert_true(bytes_here() == BUDGET_BYTES_MIN);
	put("root/proc/self/cgroup", "3:cpu:/x\n2:memory:/docker/17\n0::/\n");
	assert_true(bytes_here() == BUDGET_BYTES);
	/* The container's own group is where its mount begins. */
	put("root/sys/fs/cgroup/memory/memory.limit_in_bytes", "50331648\n");
	assert_true(bytes_here() == 14 * MIB);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_without_a_budget),
		cmocka_unit_test(test_small_owner_is_not_behind_a_large_one),
		cmocka_unit_test(test_bytes),
		cmocka_unit_test(test_callback),
		cmocka_unit_test(test_cancelled_wait),
		cmocka_unit_test_setup_teardown(test_memory_limit, scratch_set_up,
						scratch_tear_down),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
