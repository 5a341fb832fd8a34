#include "executor/event/pool.h"

#include "executor/event/cpus.h"
#include "executor/event/fibers.h"
#include "tests/unit/scratch.h"

#include <errno.h>
#include <pthread.h>
#include <sched.h>
#include <setjmp.h>
#include <signal.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cmocka.h>

static struct event_loop *loop;
static struct pool *pool;

static int set_up(void **state)
{
	(void)state;
	loop = event_loop_new();
	pool = loop ? pool_new(loop) : NULL;
	return pool ? 0 : -1;
}

static int tear_down(void **state)
{
	(void)state;
	pool_free(pool);
	event_loop_free(loop);
	return 0;
}

struct sum {
	struct pool_job job;
	unsigned number, result;
	unsigned *done;
	pthread_t worker, teller;
	bool blocks_all;
	pthread_barrier_t *gate; /* work() waits twice for the test */
};

static void add_up(struct pool_job *job)
{
	struct sum *self = (struct sum *)job;
	sigset_t mask;

	if (self->gate) {
		pthread_barrier_wait(self->gate);
		pthread_barrier_wait(self->gate);
	}
	self->worker = pthread_self();
	pthread_sigmask(SIG_BLOCK, NULL, &mask);
	self->blocks_all = sigismember(&mask, SIGTERM) && sigismember(&mask, SIGCHLD) &&
			   sigismember(&mask, SIGRTMAX);
	for (unsigned i = 1; i <= self->number; i++)
		self->result += i;
}

static void count(struct pool_job *job)
{
	struct sum *self = (struct sum *)job;

	self->teller = pthread_self();
	++*self->done;
}

static void test_runs_beside_the_loop(void **state)
{
	unsigned done = 0;
	struct sum sum = { .job = { .work = add_up, .done = count }, .number = 9, .done = &done };

	(void)state;
	for (int i = 1; i <= 3; i++) {
		assert_int_equal(pool_run(pool, &sum.job), 0);
		assert_int_equal(sum.result, 45 * i);
		assert_int_equal(done, i);
	}
	assert_false(pthread_equal(sum.worker, pthread_self()));
	assert_true(pthread_equal(sum.teller, pthread_self()));
	assert_true(sum.blocks_all);
	assert_in_range(pool_width(pool), 1, POOL_THREADS_MAX);
}

static void test_without_a_pool(void **state)
{
	unsigned done = 0;
	struct sum sum = { .job = { .work = add_up, .done = count }, .number = 9, .done = &done };

	(void)state;
	assert_int_equal(pool_run(NULL, &sum.job), 0);
	assert_int_equal(sum.result, 45);
	assert_int_equal(done, 1);
	assert_true(pthread_equal(sum.worker, pthread_self()));
	assert_int_equal(pool_width(NULL), 1);
	pool_take_back(NULL, &sum.job);
}

#define MANY 5000

static void test_many(void **state)
{
	static struct sum sums[MANY];
	unsigned done = 0;

	(void)state;
	for (unsigned i = 0; i < MANY; i++) {
		sums[i] = (struct sum){ .job = { .work = add_up, .done = count },
					.number = i,
					.done = &done };
		pool_start(pool, &sums[i].job);
	}
	for (unsigned i = 0; i < MANY; i++) {
		assert_int_equal(pool_wait(pool, &sums[i].job), 0);
		assert_int_equal(sums[i].result, i * (i + 1) / 2);
	}
	assert_int_equal(done, MANY);
}

static void test_a_cancelled_loop_still_waits(void **state)
{
	unsigned done = 0;
	struct sum sum = { .job = { .work = add_up, .done = count }, .number = 3, .done = &done };

	(void)state;
	event_loop_cancel(loop);
	assert_int_equal(pool_run(pool, &sum.job), 0);
	assert_int_equal(sum.result, 6);
}

static int run_in_fiber(void *context, size_t i, struct error *err)
{
	struct sum *sums = context;

	(void)err;
	return pool_run(pool, &sums[i].job);
}

static void test_fibers_wait_side_by_side(void **state)
{
	struct sum sums[20];
	unsigned done = 0;

	(void)state;
	for (unsigned i = 0; i < 20; i++)
		sums[i] = (struct sum){ .job = { .work = add_up, .done = count },
					.number = i,
					.done = &done };
	assert_int_equal(fibers_run(loop, 20, 20, run_in_fiber, sums, NULL), 0);
	assert_int_equal(done, 20);
}

static void *open_gate(void *gate)
{
	pthread_barrier_wait(gate);
	return NULL;
}

/* All threads are held at their gates, so the last job is still in the queue. */
static void test_take_back(void **state)
{
	struct sum held[POOL_THREADS_MAX], last = { .job.work = add_up };
	pthread_barrier_t gates[POOL_THREADS_MAX];
	pthread_t opener;
	unsigned done = 0, width = pool_width(pool);

	(void)state;
	last.job.done = count;
	last.done = &done;
	for (unsigned i = 0; i < width; i++) {
		pthread_barrier_init(&gates[i], NULL, 2);
		held[i] = (struct sum){ .job = { .work = add_up, .done = count },
					.number = 2,
					.done = &done,
					.gate = &gates[i] };
		pool_start(pool, &held[i].job);
	}
	pool_start(pool, &last.job);
	for (unsigned i = 0; i < width; i++)
		pthread_barrier_wait(&gates[i]);
	pool_take_back(pool, &last.job);
	/* One that runs: it is waited for. */
	assert_int_equal(pthread_create(&opener, NULL, open_gate, &gates[0]), 0);
	pool_take_back(pool, &held[0].job);
	assert_int_equal(held[0].result, 3);
	pthread_join(opener, NULL);
	for (unsigned i = 1; i < width; i++) {
		pthread_barrier_wait(&gates[i]);
		assert_int_equal(pool_wait(pool, &held[i].job), 0);
	}
	for (unsigned i = 0; i < width; i++)
		pthread_barrier_destroy(&gates[i]);
	assert_int_equal(event_loop_poll(loop), 0);
	assert_int_equal(done, width - 1);
	assert_int_equal(last.result, 0);
	/* And both can be started again. */
	assert_int_equal(pool_run(pool, &last.job), 0);
	assert_int_equal(done, width);
}

static void test_free_lets_work_end(void **state)
{
	struct sum sums[50];
	struct pool *other = pool_new(loop);
	unsigned done = 0;

	(void)state;
	assert_non_null(other);
	for (unsigned i = 0; i < 50; i++) {
		sums[i] = (struct sum){ .job = { .work = add_up, .done = count },
					.number = 4,
					.done = &done };
		pool_start(other, &sums[i].job);
	}
	pool_free(other);
	for (unsigned i = 0; i < 50; i++)
		assert_int_equal(sums[i].result, 10);
	assert_int_equal(event_loop_poll(loop), 0);
	assert_int_equal(done, 0);
}

/* --- quotas ------------------------------------------------------------------------------- */

static void put_file(const char *name, const char *text)
{
	char path[512];

	snprintf(path, sizeof(path), "%s", scratch_path(name));
	for (char *slash = strchr(path + strlen(scratch_path("")) + 1, '/'); slash;
	     slash = strchr(slash + 1, '/')) {
		*slash = '\0';
		mkdir(path, 0755);
		*slash = '/';
	}
	scratch_write(name, text);
}

static unsigned usable(const char *name)
{
	char root[512];

	snprintf(root, sizeof(root), "%s/", scratch_path(name));
	return cpus_usable(root);
}

/* The number of processors limits what a test can see of a quota. */
static unsigned at_most_here(unsigned wanted)
{
	cpu_set_t set;

	assert_int_equal(sched_getaffinity(0, sizeof(set), &set), 0);
	return wanted < (unsigned)CPU_COUNT(&set) ? wanted : (unsigned)CPU_COUNT(&set);
}

static void test_quota_of_version_2(void **state)
{
	(void)state;
	put_file("a/proc/self/cgroup", "0::/pod/container\n");
	assert_int_equal(usable("a"), at_most_here(CPU_SETSIZE));
	put_file("a/sys/fs/cgroup/pod/container/cpu.max", "max 100000\n");
	assert_int_equal(usable("a"), at_most_here(CPU_SETSIZE));
	put_file("a/sys/fs/cgroup/pod/container/cpu.max", "50000 100000\n");
	assert_int_equal(usable("a"), 1);
	put_file("a/sys/fs/cgroup/pod/container/cpu.max", "150000 100000\n");
	assert_int_equal(usable("a"), at_most_here(2));
	/* The pod's own is stricter. */
	put_file("a/sys/fs/cgroup/pod/cpu.max", "100000 100000\n");
	assert_int_equal(usable("a"), 1);
	/* As seen from within a namespace. */
	put_file("b/proc/self/cgroup", "0::/\n");
	put_file("b/sys/fs/cgroup/cpu.max", "1000 100000\n");
	assert_int_equal(usable("b"), 1);
}

static void test_quota_of_version_1(void **state)
{
	(void)state;
	put_file("c/proc/self/cgroup",
		 "9:memory:/x\n4:cpu,cpuacct:/kubepods/pod1/abc\n3:cpuset:/y\n0::/\n");
	put_file("c/sys/fs/cgroup/cpu/cpu.cfs_quota_us", "-1\n");
	put_file("c/sys/fs/cgroup/cpu/cpu.cfs_period_us", "100000\n");
	assert_int_equal(usable("c"), at_most_here(CPU_SETSIZE));
	/* Without a namespace the path is the node's, and the mount is the container's own. */
	put_file("c/sys/fs/cgroup/cpu/cpu.cfs_quota_us", "120000\n");
	assert_int_equal(usable("c"), 1);
	put_file("c/sys/fs/cgroup/cpu/cpu.cfs_quota_us", "-1\n");
	put_file("c/sys/fs/cgroup/cpu/kubepods/pod1/cpu.cfs_quota_us", "30000\n");
	put_file("c/sys/fs/cgroup/cpu/kubepods/pod1/cpu.cfs_period_us", "100000\n");
	assert_int_equal(usable("c"), 1);
}

static void test_quota_that_makes_no_sense(void **state)
{
	static const char *const texts[] = { "",           "x y",   "100000",
					     "100000 0",   "-5 -5", "99999999999999999999 1",
					     "max 100000", "1e9 1", "18446744073709551615 1" };

	(void)state;
	put_file("d/proc/self/cgroup", "0::/../../etc\nnonsense\n1:\n:::\n");
	assert_int_equal(usable("d"), at_most_here(CPU_SETSIZE));
	put_file("d/proc/self/cgroup", "0::/q\n");
	for (size_t i = 0; i < sizeof(texts) / sizeof(texts[0]); i++) {
		put_file("d/sys/fs/cgroup/q/cpu.max", texts[i]);
		assert_in_range(usable("d"), 1, at_most_here(CPU_SETSIZE));
	}
	assert_int_equal(usable("nothing"), at_most_here(CPU_SETSIZE));
}

#define TEST(name) cmocka_unit_test_setup_teardown(name, set_up, tear_down)

int main(void)
{
	const struct CMUnitTest tests[] = {
		TEST(test_runs_beside_the_loop),
		TEST(test_without_a_pool),
		TEST(test_many),
		TEST(test_a_cancelled_loop_still_waits),
		TEST(test_fibers_wait_side_by_side),
		TEST(test_take_back),
		TEST(test_free_lets_work_end),
		cmocka_unit_test(test_quota_of_version_2),
		cmocka_unit_test(test_quota_of_version_1),
		cmocka_unit_test(test_quota_that_makes_no_sense),
	};

	return cmocka_run_group_tests(tests, scratch_set_up, scratch_tear_down);
}
