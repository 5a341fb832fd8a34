#include "executor/process/record.h"

#include <errno.h>
#include <fcntl.h>
#include <sched.h>
#include <setjmp.h>
#include <signal.h>
#include <stdarg.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

#include <cmocka.h>

#include "tests/unit/scratch.h"

#define CHECK(condition) \
	do { \
		if (!(condition)) \
			return __LINE__; \
	} while (0)

/* Bodies run as PID 1 of a namespace of their own, which bears no mark unless they set it. */
static int as_first(void *context)
{
	int (*body)(void) = *(int (**)(void))context;
	int status;
	pid_t pid;

	if (unshare(CLONE_NEWPID) < 0)
		return __LINE__;
	pid = fork();
	if (pid == 0) {
		int line = body();

		if (line)
			fprintf(stderr, "failed at line %d\n", line);
		_exit(line != 0);
	}
	return waitpid(pid, &status, 0) == pid && status == 0 ? 0 : __LINE__;
}

static void run_as_first(int (*body)(void))
{
	umask(0);
	scratch_run_child(as_first, &body);
}

static enum record_role find(const char *container, struct record_holder *ret)
{
	struct record_holder unused;

	return record_find(scratch_path(""), container, ret ? ret : &unused);
}

/* A process that prepares itself, lives until it is signalled, and is killed with its parent. */
static pid_t keep(int (*prepare)(const char *container), const char *container)
{
	int ready[2], r;
	pid_t pid;

	if (pipe2(ready, O_CLOEXEC) < 0)
		return -1;
	pid = fork();
	if (pid == 0) {
		r = prepare(container);
		(void)!write(ready[1], &r, sizeof(r));
		for (;;)
			pause();
	}
	close(ready[1]);
	if (read(ready[0], &r, sizeof(r)) != sizeof(r) || r < 0)
		pid = -1;
	close(ready[0]);
	return pid;
}

static int leave(const char *container)
{
	struct error err = ERROR_NONE;

	return record_leave(scratch_path(""), container, &err);
}

static int open_record(const char *container, int flags)
{
	char name[64];

	mkdir(scratch_path("ctr"), 0777);
	snprintf(name, sizeof(name), "ctr/%s", container);
	mkdir(scratch_path(name), 0777);
	snprintf(name, sizeof(name), "ctr/%s/pid", container);
	return open(scratch_path(name), O_RDWR | O_CREAT | O_CLOEXEC | flags, 0666);
}

static int lock(int fd, int command, short type)
{
	struct flock whole = { .l_type = type, .l_whence = SEEK_SET };

	return fcntl(fd, command, &whole);
}

static int forge(const char *container)
{
	return lock(open_record(container, O_TRUNC), F_SETLK, F_WRLCK);
}

static bool died_of(pid_t pid, int signo)
{
	int status;

	return waitpid(pid, &status, 0) == pid && WIFSIGNALED(status) && WTERMSIG(status) == signo;
}

static int follow_one_role(void)
{
	struct record_holder holder;
	pid_t role;

	CHECK(find("one", NULL) == RECORD_UNKNOWN);
	role = keep(leave, "one");
	CHECK(role > 1);
	CHECK(scratch_mode("ctr") == 0777 && scratch_mode("ctr/one") == 0777);
	CHECK(scratch_mode("ctr/one/pid") == 0644);
	CHECK(find("other", NULL) == RECORD_UNKNOWN);
	CHECK(find("one", &holder) == RECORD_FOUND);
	CHECK(holder.pid == role && holder.pidfd >= 0);
	CHECK(record_signal(&holder, 0) == 0);
	CHECK(record_signal(&(struct record_holder){ .pid = role, .pidfd = -1 }, 15) == 0);
	CHECK(died_of(role, 15));
	CHECK(record_signal(&holder, 15) == -ESRCH);
	CHECK(find("one", NULL) == RECORD_ENDED);
	role = keep(leave, "one");
	CHECK(find("one", &holder) == RECORD_FOUND && holder.pid == role);
	CHECK(record_signal(&holder, 10) == 0 && died_of(role, 10));
	return 0;
}

static void test_a_role_is_found_until_it_ends(void **state)
{
	(void)state;
	run_as_first(follow_one_role);
}

static int be_first(void)
{
	struct stat st;

	CHECK(keep(leave, "first") > 1);
	CHECK(find("first", NULL) == RECORD_FOUND);
	CHECK(leave("first-itself") == 0);
	CHECK(stat(scratch_path("ctr/first-itself"), &st) < 0);
	CHECK(find("first", NULL) == RECORD_FIRST);
	CHECK(leave("first-itself") == 0);
	return 0;
}

static void test_pid_1_needs_no_record(void **state)
{
	(void)state;
	run_as_first(be_first);
}

static int ask_as_ordinary_user(void)
{
	struct record_holder holder;
	pid_t role = keep(leave, "root");

	CHECK(scratch_drop_privileges() == 0);
	CHECK(find("root", &holder) == RECORD_FOUND && holder.pid == role);
	CHECK(record_signal(&holder, 15) == -EPERM);
	/* And may remove the record, as everybody may everything there. */
	CHECK(keep(leave, "root") > 1);
	CHECK(find("root", &holder) == RECORD_FOUND && holder.pid != role);
	return 0;
}

static void test_other_users(void **state)
{
	(void)state;
	run_as_first(ask_as_ordinary_user);
}

/* From another process: to the holder itself its lock is no obstacle, so it is not shown. */
static int is_unknown(const char *container)
{
	return find(container, NULL) == RECORD_UNKNOWN ? 0 : -1;
}

static int forge_in_every_way(void)
{
	int fd = open_record("unlocked", 0);
	pid_t role = keep(leave, "real");
	struct record_holder holder;

	CHECK(find("unlocked", NULL) == RECORD_ENDED);
	CHECK(keep(forge, "forged") > 1);
	CHECK(find("forged", NULL) == RECORD_UNKNOWN);
	CHECK(lock(fd, F_OFD_SETLK, F_WRLCK) == 0);
	CHECK(find("unlocked", NULL) == RECORD_UNKNOWN);
	CHECK(lock(open_record("first", 0), F_SETLK, F_WRLCK) == 0);
	CHECK(keep(is_unknown, "first") > 1);
	CHECK(mkdir(scratch_path("ctr/fifo"), 0777) == 0);
	CHECK(mkfifo(scratch_path("ctr/fifo/pid"), 0666) == 0);
	CHECK(find("fifo", NULL) == RECORD_UNKNOWN);
	CHECK(mkdir(scratch_path("ctr/link"), 0777) == 0);
	CHECK(symlink("../real/pid", scratch_path("ctr/link/pid")) == 0);
	CHECK(find("link", NULL) == RECORD_UNKNOWN);
	CHECK(symlink("real", scratch_path("ctr/linked")) == 0);
	CHECK(find("linked", NULL) == RECORD_UNKNOWN);
	CHECK(mkdir(scratch_path("ctr/folder"), 0777) == 0);
	CHECK(mkdir(scratch_path("ctr/folder/pid"), 0777) == 0);
	CHECK(find("folder", NULL) == RECORD_UNKNOWN);
	CHECK(mkdir(scratch_path("ctr/hard"), 0777) == 0);
	CHECK(link(scratch_path("ctr/real/pid"), scratch_path("ctr/hard/pid")) == 0);
	CHECK(find("hard", &holder) == RECORD_FOUND && holder.pid == role);
	CHECK(chmod(scratch_path("ctr/real/pid"), 0) == 0 && scratch_drop_privileges() == 0);
	CHECK(find("real", NULL) == RECORD_UNKNOWN);
	return 0;
}

static void test_what_says_nothing_certain(void **state)
{
	(void)state;
	run_as_first(forge_in_every_way);
}

/* The lock of a shared descriptor table outlives the process that it is recorded for. */
static int survive_its_taker(const char *container)
{
	int fd = open_record(container, 0), status;
	pid_t taker = (pid_t)syscall(SYS_clone, CLONE_FILES | SIGCHLD, NULL, NULL, NULL, NULL);

	if (taker == 0)
		_exit(lock(fd, F_SETLK, F_WRLCK) < 0);
	return waitpid(taker, &status, 0) == taker && status == 0 ? 0 : -1;
}

static int outlive(void)
{
	struct record_holder holder;

	CHECK(keep(survive_its_taker, "stale") > 1);
	CHECK(find("stale", &holder) == RECORD_UNKNOWN);
	return 0;
}

static void test_a_holder_that_has_ended_is_nobody(void **state)
{
	(void)state;
	run_as_first(outlive);
}

static int claim_what_others_hold(void)
{
	struct record_holder holder;
	pid_t forger = keep(forge, "main"), role;

	CHECK(forger > 1);
	role = keep(leave, "main");
	CHECK(role > 1);
	CHECK(find("main", &holder) == RECORD_FOUND && holder.pid == role);
	CHECK(mkdir(scratch_path("ctr/full"), 0777) == 0);
	CHECK(mkdir(scratch_path("ctr/full/pid"), 0777) == 0);
	CHECK(leave("full") == 0); /* we are PID 1 */
	CHECK(keep(leave, "full") < 0);
	/* A link in the place of its directory is replaced, not followed. */
	CHECK(mkdir(scratch_path("target"), 0777) == 0);
	CHECK(symlink(scratch_path("target"), scratch_path("ctr/elsewhere")) == 0);
	CHECK(keep(leave, "elsewhere") > 1);
	CHECK(scratch_mode("ctr/elsewhere/pid") == 0644 && scratch_count("target") == 0);
	return 0;
}

static void test_what_lies_in_the_way(void **state)
{
	(void)state;
	run_as_first(claim_what_others_hold);
}

static int ask_about_another_namespace(void)
{
	CHECK(find("outside", NULL) == RECORD_UNKNOWN);
	return 0;
}

static void test_a_role_of_another_namespace(void **state)
{
	(void)state;
	assert_true(lock(open_record("outside", 0), F_SETLK, F_WRLCK) == 0);
	run_as_first(ask_about_another_namespace);
}

/* The children of such a process would not inherit its priority. */
static int leave_with_priority(const char *container)
{
	return setpriority(PRIO_PROCESS, 0, -1) < 0 ? 0 : leave(container);
}

static int leave_with_real_time(const char *container)
{
	const struct sched_param real_time = { .sched_priority = 1 };

	return sched_setscheduler(0, SCHED_FIFO, &real_time) < 0 ? 0 : leave(container);
}

static int have_priority(void)
{
	struct stat st;

	CHECK(keep(leave_with_priority, "urgent") < 0);
	CHECK(keep(leave_with_real_time, "urgent") < 0);
	CHECK(stat(scratch_path("ctr/urgent"), &st) < 0);
	return 0;
}

static void test_processes_of_priority_are_not_marked(void **state)
{
	(void)state;
	run_as_first(have_priority);
}

static int hand_down(const char *container)
{
	int policy, status;
	pid_t child;

	if (leave(container) < 0 || !(sched_getscheduler(0) & SCHED_RESET_ON_FORK))
		return -1;
	child = fork();
	if (child == 0) {
		policy = sched_getscheduler(0);
		_exit(policy != SCHED_OTHER || getpriority(PRIO_PROCESS, 0) != 0);
	}
	/* That a child closes its copy of the descriptor does not end the lock. */
	return waitpid(child, &status, 0) == child && status == 0 ? 0 : -1;
}

static int be_inherited_from(void)
{
	struct record_holder holder;
	pid_t role = keep(hand_down, "parent");

	CHECK(role > 1);
	CHECK(find("parent", &holder) == RECORD_FOUND && holder.pid == role);
	return 0;
}

static void test_children_inherit_nothing_of_it(void **state)
{
	(void)state;
	run_as_first(be_inherited_from);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_a_role_is_found_until_it_ends),
		cmocka_unit_test(test_pid_1_needs_no_record),
		cmocka_unit_test(test_other_users),
		cmocka_unit_test(test_what_says_nothing_certain),
		cmocka_unit_test(test_a_holder_that_has_ended_is_nobody),
		cmocka_unit_test(test_what_lies_in_the_way),
		cmocka_unit_test(test_a_role_of_another_namespace),
		cmocka_unit_test(test_processes_of_priority_are_not_marked),
		cmocka_unit_test(test_children_inherit_nothing_of_it),
	};

	return cmocka_run_group_tests(tests, scratch_set_up, scratch_tear_down);
}
