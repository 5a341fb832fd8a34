/* What roles still can: each with a staging process all that it does under its role's filter, too. */
#include "executor/base/buffer.h"
#include "executor/base/cleanup.h"
#include "executor/base/fd.h"
#include "tests/unit/confine_probe.h"
#include "tests/unit/scratch.h"

#include <errno.h>
#include <fcntl.h>
#include <sched.h>
#include <setjmp.h>
#include <signal.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/signalfd.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/un.h>
#include <sys/wait.h>
#include <unistd.h>

#include <cmocka.h>

/* One system call; for the child, which inherits it. */
static struct act {
	const char *name;
	long number, arguments[4];
} act;

static long acts(void)
{
	const long *a = act.arguments;

	return syscall(act.number, a[0], a[1], a[2], a[3], -1, 0);
}

/* What it was stopped at, "" = it was not. */
static void assert_role(enum confine_kind kind, long (*body)(void), const char *call)
{
	struct confine_ending ending = confine_probe_run(&(struct confine_probe){
		.kind = kind, .options = { .mode = CONFINE_REQUIRED }, .body = body });

	assert_true(WIFEXITED(ending.status));
	assert_string_equal(ending.is_told ? ending.call : "", call);
	assert_int_equal(WEXITSTATUS(ending.status), *call ? CONFINE_EXIT_STATUS : 0);
}

/* --- parents -------------------------------------------------------------------------------- */

static long nothing(void)
{
	return 0;
}

static long aborts(void)
{
	signal(SIGABRT, SIG_DFL);
	abort();
}

/* The end of a child that is confined once more. */
static int start_stage(long (*body)(void))
{
	struct confine_options options = { .mode = CONFINE_REQUIRED, .notice_fd = STDIN_FILENO };
	struct confinement confinement;
	int status = -1;
	pid_t pid = fork();

	if (pid == 0) {
		if (prctl(PR_SET_PDEATHSIG, SIGKILL) < 0 ||
		    confine(CONFINE_STAGE, &options, &confinement, NULL) < 0)
			_exit(NOT_CONFINED);
		_exit((int)body());
	}
	return pid > 0 && waitpid(pid, &status, 0) == pid ? status : -1;
}

static long is_a_parent(void)
{
	int ends[2], status;

	act = (struct act){ .number = SYS_socket, .arguments = { AF_INET, SOCK_RAW, 1 } };
	if (socketpair(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0, ends) < 0)
		return 1;
	if (start_stage(nothing) != 0)
		return 2;
	status = start_stage(acts);
	if (!WIFEXITED(status) || WEXITSTATUS(status) != CONFINE_EXIT_STATUS)
		return 3;
	status = start_stage(aborts);
	return WIFSIGNALED(status) && WTERMSIG(status) == SIGABRT ? 0 : 4;
}

static long executes_in_a_child(void)
{
	char *const argv[] = { NULL };
	siginfo_t info;
	pid_t pid = fork();

	if (pid == 0) {
		setpgid(0, 0);
		execv("/nowhere", argv);
		_exit(errno);
	}
	return pid < 0 || waitid(P_PID, (id_t)pid, &info, WEXITED) < 0 || info.si_status != ENOENT;
}

static void test_parents(void **state)
{
	(void)state;
	for (int kind = CONFINE_INIT; kind <= CONFINE_WAIT; kind++) {
		assert_role((enum confine_kind)kind, is_a_parent, "");
		assert_role((enum confine_kind)kind, executes_in_a_child, "");
	}
}

/* --- each role ------------------------------------------------------------------------------ */

static long reads_signals(void)
{
	sigset_t none;

	sigemptyset(&none);
	return signalfd(-1, &none, SFD_CLOEXEC) < 0;
}

static long serves(void)
{
	struct sockaddr_un address = { .sun_family = AF_UNIX };
	int fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);

	snprintf(address.sun_path, sizeof(address.sun_path), "%s", scratch_path("served"));
	return fd < 0 || bind(fd, (struct sockaddr *)&address, sizeof(address)) < 0 ||
	       listen(fd, 1) < 0 || kill(getpid(), 0) < 0;
}

static void test_what_goes_on(void **state)
{
	static const enum confine_kind kinds[] = { CONFINE_INIT, CONFINE_WAIT, CONFINE_GC };

	(void)state;
	for (size_t i = 0; i < 3; i++)
		assert_role(kinds[i], reads_signals, "");
	assert_role(CONFINE_WAIT, serves, "");
}

/* Reads what there is, writes one directory and its termination message. */
static int uses_files(void *context)
{
	const struct role role = { .termination_log = scratch_path("termination") };
	char directory[256];
	struct confinement confinement;
	struct error err = ERROR_NONE;

	(void)context;
	snprintf(directory, sizeof(directory), "%s", scratch_path("written"));
	scratch_write("beside", "x");
	scratch_write("termination", "x");
	if (mkdir(directory, 0755) < 0 || setenv("ARGOEXEC_CONFINEMENT", "required", 1) < 0 ||
	    confine_role(CONFINE_GC, &role, directory, &confinement, &err) < 0)
		return __LINE__;
	if (confinement.layers[CONFINE_FILES].state != CONFINE_IN_FORCE)
		return __LINE__;
	if (open(role.termination_log, O_WRONLY | O_TRUNC) < 0 ||
	    creat(scratch_path("written/new"), 0644) < 0 || unlink(scratch_path("written/new")) < 0)
		return __LINE__;
	if (open(scratch_path("beside"), O_RDONLY) < 0 || open("/etc/passwd", O_RDONLY) < 0)
		return __LINE__;
	if (open(scratch_path("beside"), O_WRONLY) >= 0 || errno != EACCES ||
	    unlink(scratch_path("beside")) == 0 || creat(scratch_path("new"), 0644) >= 0)
		return __LINE__;
	return 0;
}

static void test_files_of_artifact_gc(void **state)
{
	(void)state;
	scratch_run_child(uses_files, NULL);
}

/* The sanitizers need what is refused: no role has a table. */
#ifndef __SANITIZE_ADDRESS__

static void test_what_is_stopped(void **state)
{
	static const enum confine_kind kinds[] = { CONFINE_INIT, CONFINE_WAIT, CONFINE_GC };
	static const struct act refused[] = {
		{ "unshare", SYS_unshare, { CLONE_NEWUSER } },
		{ "clone", SYS_clone, { SIGCHLD | CLONE_NEWUSER } },
		{ "socket", SYS_socket, { AF_INET, SOCK_RAW, 1 } },
		{ "socket", SYS_socket, { AF_PACKET, SOCK_DGRAM, 0 } },
		{ "mmap", SYS_mmap, { 0, 4096, PROT_EXEC, MAP_PRIVATE | MAP_ANONYMOUS } },
		{ "mprotect", SYS_mprotect, { 0, 4096, PROT_EXEC } },
		{ "prctl", SYS_prctl, { PR_SET_DUMPABLE, 1 } },
		{ "setresuid", SYS_setresuid, { 1000, 1000, 1000 } },
		{ "mount", SYS_mount },
		{ "mknodat", SYS_mknodat },
		{ "add_key", SYS_add_key },
		{ "fchownat", SYS_fchownat },
		{ "execveat", SYS_execveat },
	};

	(void)state;
	for (size_t i = 0; i < sizeof(refused) / sizeof(refused[0]); i++) {
		act = refused[i];
		for (size_t kind = 0; kind < 3; kind++)
			assert_role(kinds[kind], acts, act.name);
	}
	assert_role(CONFINE_INIT, serves, "bind");
	act = (struct act){ .number = SYS_kill, .arguments = { getpid(), 0 } };
	assert_role(CONFINE_INIT, acts, "kill");
	assert_role(CONFINE_GC, acts, "kill");
	assert_role(CONFINE_GC, executes_in_a_child, "clone");
}

/* There is nobody to say it for a role. */
static void test_what_a_role_says(void **state)
{
	static const char said[] = "Error: stopped at the system call unshare\n";
	const struct confine_options options = { .notice_fd = -1,
						 .termination_log = scratch_path("termination") };
	_cleanup_buffer_ struct buffer text = BUFFER_INIT(4096);
	char printed[sizeof(said) + 1] = "";
	struct confinement confinement;
	int ends[2], status;
	pid_t pid;

	(void)state;
	scratch_write("termination", "what was there, and longer than what is written");
	assert_int_equal(pipe2(ends, O_CLOEXEC), 0);
	pid = fork();
	if (pid == 0) {
		dup2(ends[1], STDERR_FILENO);
		confine(CONFINE_INIT, &options, &confinement, NULL);
		_exit(unshare(CLONE_NEWUSER));
	}
	close(ends[1]);
	assert_int_equal(waitpid(pid, &status, 0), pid);
	assert_int_equal(WEXITSTATUS(status), CONFINE_EXIT_STATUS);
	assert_int_equal(read(ends[0], printed, sizeof(printed)), strlen(said));
	assert_string_equal(printed, said);
	close(ends[0]);
	assert_int_equal(file_read(scratch_path("termination"), &text, NULL), 0);
	assert_string_equal(buffer_string(&text), "stopped at the system call unshare");
}

#endif

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_parents),
		cmocka_unit_test(test_what_goes_on),
		cmocka_unit_test(test_files_of_artifact_gc),
#ifndef __SANITIZE_ADDRESS__
		cmocka_unit_test(test_what_is_stopped),
		cmocka_unit_test(test_what_a_role_says),
#endif
	};

	return cmocka_run_group_tests(tests, scratch_set_up, scratch_tear_down);
}
