#include "executor/process/child.h"

#include "executor/base/cleanup.h"
#include "executor/base/fd.h"
#include "executor/base/text.h"

#include <errno.h>
#include <fcntl.h>
#include <setjmp.h>
#include <signal.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

#include <cmocka.h>

#include "tests/unit/scratch.h"

static const struct signals unblocked = { .inherited_mask = 0 };
static char *const no_environment[] = { NULL };

static int spawn(const char *path, char *const *argv, int stdout_fd, pid_t *ret_pid,
		 struct error *err)
{
	return child_spawn(&(struct child_options){ .path = path,
						    .argv = argv,
						    .envp = no_environment,
						    .stdin_fd = -1,
						    .stdout_fd = stdout_fd,
						    .stderr_fd = -1,
						    .signals = &unblocked },
			   ret_pid, err);
}

static struct child_status wait_for(pid_t pid)
{
	struct child_status status = { .number = -1 };
	siginfo_t info;

	assert_int_equal(waitid(P_PID, (id_t)pid, &info, WEXITED | WNOWAIT), 0);
	assert_int_equal(child_reap(pid, &status), 1);
	return status;
}

/* Runs a program and returns what it prints. */
static const char *run(char *const *argv, const struct child_options *more)
{
	static char text[8192];
	struct child_options options = *more;
	struct error err = ERROR_NONE;
	_cleanup_buffer_ struct buffer out = BUFFER_INIT(sizeof(text) - 1);
	int ends[2];
	pid_t pid;

	assert_int_equal(pipe2(ends, O_CLOEXEC), 0);
	options.path = argv[0];
	options.argv = argv;
	options.stdout_fd = ends[1];
	options.stdin_fd = options.stderr_fd = -1;
	if (child_spawn(&options, &pid, &err) < 0)
		fail_msg("%s", err.message);
	close(ends[1]);
	assert_int_equal(fd_read_all(ends[0], &out), 0);
	close(ends[0]);
	snprintf(text, sizeof(text), "%s", buffer_string(&out));
	assert_int_equal(wait_for(pid).number, 0);
	return text;
}

static const char *shell(const char *command, const struct child_options *options)
{
	char *argv[] = { (char *)"/bin/sh", (char *)"-c", (char *)command, NULL };

	return run(argv, options);
}

static void test_exit_codes_and_signals(void **state)
{
	struct child_status status;
	struct error err = ERROR_NONE;
	char command[64];
	pid_t pid;

	(void)state;
	for (int code = 0; code < 256; code += 51) {
		char *argv[] = { (char *)"sh", (char *)"-c", command, NULL };

		snprintf(command, sizeof(command), "exit %d", code);
		assert_int_equal(spawn("/bin/sh", argv, -1, &pid, &err), 0);
		status = wait_for(pid);
		assert_false(status.is_signalled);
		assert_int_equal(child_status_code(&status), code);
	}
	for (int signo = 1; signo <= 64; signo++) {
		char *argv[] = { (char *)"sleep", (char *)"60", NULL };

		if (signo == SIGCHLD || signo == SIGCONT || signo == SIGURG || signo == SIGWINCH ||
		    signo == SIGSTOP || signo == SIGTSTP || signo == SIGTTIN || signo == SIGTTOU)
			continue; /* none of them ends a process */
		assert_int_equal(spawn("/bin/sleep", argv, -1, &pid, &err), 0);
		assert_int_equal(child_signal_group(pid, signo), 0);
		status = wait_for(pid);
		assert_true(status.is_signalled);
		assert_int_equal(status.number, signo);
		assert_int_equal(child_status_code(&status), 128 + signo);
	}
}

static void test_what_cannot_be_executed(void **state)
{
	char *argv[] = { (char *)"x", NULL };
	struct error err = ERROR_NONE;
	pid_t pid = 4711;

	(void)state;
	scratch_write("plain", "#!/bin/sh\n");
	scratch_write("nonsense", "\x01\x02\x03\x04");
	assert_int_equal(chmod(scratch_path("nonsense"), 0755), 0);
	scratch_write("no-interpreter", "#!/no/such/interpreter\n");
	assert_int_equal(chmod(scratch_path("no-interpreter"), 0755), 0);
	assert_int_equal(spawn("/nonexistent", argv, -1, &pid, &err), -ENOENT);
	assert_string_equal(err.message, "fork/exec /nonexistent: no such file or directory");
	assert_int_equal(spawn(scratch_path("plain"), argv, -1, &pid, &err), -EACCES);
	assert_non_null(strstr(err.message, "plain: permission denied"));
	assert_int_equal(spawn(scratch_path("nonsense"), argv, -1, &pid, &err), -ENOEXEC);
	assert_int_equal(spawn(scratch_path("no-interpreter"), argv, -1, &pid, &err), -ENOENT);
	assert_int_equal(spawn(scratch_path(""), argv, -1, &pid, &err), -EACCES);
	assert_int_equal(spawn("/bin/sh", argv, 4711, &pid, &err), -EBADF);
	assert_int_equal(pid, 4711);
	assert_int_equal(waitpid(-1, NULL, WNOHANG), -1); /* nobody is left to reap */
	assert_int_equal(errno, ECHILD);
}

static void test_what_the_child_gets(void **state)
{
	char *environment[] = { (char *)"A=1", (char *)"B=x y", NULL };
	const struct child_options options = { .envp = environment, .signals = &unblocked };
	char expected[64], cwd[4096];

	(void)state;
	assert_string_equal(shell("echo $A-$B", &options), "1-x y\n");
	assert_non_null(getcwd(cwd, sizeof(cwd)));
	assert_memory_equal(shell("pwd", &options), cwd, strlen(cwd));
	/* A process group of its own, in our session. */
	snprintf(expected, sizeof(expected), "%d\n", getsid(0));
	assert_string_equal(shell("cut -d' ' -f6 /proc/self/stat", &options), expected);
	assert_string_equal(shell("test $(cut -d' ' -f5 /proc/$$/stat) = $$ && echo leader",
				  &options),
			    "leader\n");
}

static int list_descriptors(void *context)
{
	const struct child_options options = { .envp = no_environment, .signals = &unblocked };
	char *argv[] = { (char *)"/bin/ls", (char *)"/proc/self/fd", NULL };

	(void)context;
	/* Those of whoever runs the tests do not count. */
	for (int fd = 3; fd < 1024; fd++)
		fcntl(fd, F_SETFD, FD_CLOEXEC);
	/* 3 is the directory that ls reads. */
	return strcmp(run(argv, &options), "0\n1\n2\n3\n") == 0 ? 0 : __LINE__;
}

static void test_no_descriptor_of_ours(void **state)
{
	(void)state;
	scratch_run_child(list_descriptors, NULL);
}

/* With all blocked here, the child has the mask of our own start and no other disposition. */
static int probe_mask(void *context)
{
	const struct signals inherited = { .inherited_mask = *(uint64_t *)context };
	const struct child_options options = { .envp = no_environment, .signals = &inherited };
	char *argv[] = { (char *)"/bin/cat", (char *)"/proc/self/status", NULL };
	struct signals ours;
	char expected[64];
	const char *status;

	for (int signo = 1; signo < 32; signo++)
		signal(signo, SIG_DFL);
	signals_block_all(&ours);
	status = run(argv, &options);
	snprintf(expected, sizeof(expected), "SigBlk:\t%016llx\n",
		 (unsigned long long)inherited.inherited_mask);
	return strstr(status, expected) && strstr(status, "SigIgn:\t0000000000000000\n") &&
			       strstr(status, "SigCgt:\t0000000000000000\n") ?
		       0 :
		       __LINE__;
}

static void test_mask_and_dispositions(void **state)
{
	uint64_t masks[] = { 0, signals_bit(SIGTERM) | signals_bit(33) | signals_bit(64) };

	(void)state;
	for (size_t i = 0; i < 2; i++)
		scratch_run_child(probe_mask, &masks[i]);
}

/* An ignored SIGCHLD keeps children from being waited for: ours must be seen all the same, and the
 * child must find it ignored, as we did. */
static int ignore_child_ends(void *context)
{
	struct signals ours;
	const struct child_options options = { .envp = no_environment, .signals = &ours };
	char *argv[] = { (char *)"/bin/cat", (char *)"/proc/self/status", NULL };

	(void)context;
	for (int signo = 1; signo < 32; signo++)
		signal(signo, signo == SIGCHLD ? SIG_IGN : SIG_DFL);
	signals_block_all(&ours);
	return strstr(run(argv, &options), "SigIgn:\t0000000000010000\n") ? 0 : __LINE__;
}

static void test_ignored_sigchld(void **state)
{
	(void)state;
	scratch_run_child(ignore_child_ends, NULL);
}

#define ORPHANS 1000

/* As subreaper: the wanted child's end is found among a thousand zombies, and they all go. */
static int reap_orphans(void *context)
{
	char *argv[] = { (char *)"sh", (char *)"-c", (char *)"exit 7", NULL };
	struct child_status status = { .number = -1 };
	struct error err = ERROR_NONE;
	siginfo_t info;
	pid_t pid, maker;

	(void)context;
	prctl(PR_SET_CHILD_SUBREAPER, 1);
	maker = fork();
	if (maker == 0) {
		for (int i = 0; i < ORPHANS; i++)
			if (fork() == 0)
				_exit(i % 256);
		_exit(0);
	}
	if (waitpid(maker, NULL, 0) != maker)
		return __LINE__;
	if (spawn("/bin/sh", argv, -1, &pid, &err) < 0 ||
	    waitid(P_PID, (id_t)pid, &info, WEXITED | WNOWAIT) < 0)
		return __LINE__;
	if (child_reap(pid, &status) != 1 || status.number != 7)
		return __LINE__;
	for (int i = 0; waitid(P_ALL, 0, &info, WEXITED | WNOWAIT) == 0; i++)
		if (child_reap(pid, &status) != 0 || i > ORPHANS)
			return __LINE__;
	return errno == ECHILD ? 0 : __LINE__;
}

static void test_orphans_are_reaped(void **state)
{
	(void)state;
	scratch_run_child(reap_orphans, NULL);
}

static void test_reap_without_children(void **state)
{
	struct child_status status = { .number = 4711 };

	(void)state;
	assert_int_equal(child_reap(0, NULL), 0);
	assert_int_equal(child_reap(getpid(), &status), 0);
	assert_int_equal(status.number, 4711);
}

static void test_signal_group(void **state)
{
	char *argv[] = { (char *)"sh", (char *)"-c", (char *)"sleep 60 & echo; wait", NULL };
	struct error err = ERROR_NONE;
	int ends[2];
	pid_t pid;
	char c;

	(void)state;
	assert_int_equal(pipe2(ends, O_CLOEXEC), 0);
	assert_int_equal(spawn("/bin/sh", argv, ends[1], &pid, &err), 0);
	close(ends[1]);
	assert_int_equal(read(ends[0], &c, 1), 1);
	assert_int_equal(child_signal_group(pid, SIGTERM), 0);
	/* The end of file says that the grandchild is gone too. */
	assert_int_equal(read(ends[0], &c, 1), 0);
	close(ends[0]);
	assert_int_equal(wait_for(pid).number, SIGTERM);
	assert_int_equal(child_signal_group(INT32_MAX, SIGTERM), -ESRCH);
}

static void check_find(const char *name, const char *path, int r, const char *expected)
{
	_cleanup_free_ char *found = NULL;
	struct error err = ERROR_NONE;

	if (child_find_program(name, path, &found, &err) != r)
		fail_msg("%s in %s: %s", name, path ? path : "nothing", err.message);
	if (r == 0)
		assert_string_equal(found, expected);
	else if (expected)
		assert_string_equal(err.message, expected);
}

static void test_find_program(void **state)
{
	char path[4096], expected[4096], *saved = getcwd(NULL, 0);

	(void)state;
	mkdir(scratch_path("bin"), 0755);
	mkdir(scratch_path("bin/directory"), 0755);
	mkdir(scratch_path("bin2"), 0755);
	scratch_write("bin/tool", "");
	scratch_write("bin2/tool", "");
	scratch_write("bin/text", "");
	assert_int_equal(chmod(scratch_path("bin2/tool"), 0755), 0);
	snprintf(path, sizeof(path), "/nonexistent:%s:%s:/bin", scratch_path("bin"),
		 scratch_path("bin2"));
	snprintf(expected, sizeof(expected), "%s", scratch_path("bin2/tool"));
	check_find("tool", path, 0, expected); /* the first one is not executable */
	check_find("sh", path, 0, "/bin/sh");
	check_find("text", path, -ENOENT, "exec: \"text\": executable file not found in $PATH");
	check_find("directory", path, -ENOENT, NULL);
	check_find("", path, -ENOENT, "exec: \"\": executable file not found in $PATH");
	check_find("sh", NULL, -ENOENT, "exec: \"sh\": executable file not found in $PATH");
	check_find("sh", "/nonexistent", -ENOENT, NULL);
	/* With a slash: that file and no other. */
	check_find("/bin/sh", NULL, 0, "/bin/sh");
	check_find("/nonexistent/sh", "/bin", -ENOENT,
		   "exec: \"/nonexistent/sh\": no such file or directory");
	check_find("/bin", "/bin", -EISDIR, NULL);
	check_find(scratch_path("bin/text"), "/bin", -EACCES, NULL);
	/* Whatever is found through an entry that is not absolute is refused. */
	assert_int_equal(chdir(scratch_path("bin2")), 0);
	check_find("./tool", NULL, 0, "./tool");
	check_find("tool", ":/bin", -EACCES,
		   "exec: \"tool\": cannot run executable found relative to current directory");
	check_find("tool", "/bin:", -EACCES, NULL);
	check_find("tool", "/bin::/usr/bin", -EACCES, NULL);
	check_find("tool", ".", -EACCES, NULL);
	check_find("tool", "../bin2:/bin", -EACCES, NULL);
	check_find("sh", "::.:/bin", 0, "/bin/sh");
	assert_int_equal(chdir(saved), 0);
	free(saved);
}

/* posix_spawn of glibc, thus make, leaves the two signals ignored that glibc keeps for itself: here
 * children shall die of them. */
static void set_default(int signo)
{
	const struct {
		void *handler;
		unsigned long flags;
		void *restorer;
		uint64_t mask;
	} action = { .handler = NULL };

	syscall(SYS_rt_sigaction, signo, &action, NULL, sizeof(action.mask));
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_exit_codes_and_signals),
		cmocka_unit_test(test_what_cannot_be_executed),
		cmocka_unit_test(test_what_the_child_gets),
		cmocka_unit_test(test_no_descriptor_of_ours),
		cmocka_unit_test(test_mask_and_dispositions),
		cmocka_unit_test(test_ignored_sigchld),
		cmocka_unit_test(test_orphans_are_reaped),
		cmocka_unit_test(test_reap_without_children),
		cmocka_unit_test(test_signal_group),
		cmocka_unit_test(test_find_program),
	};

	set_default(32);
	set_default(33);
	return cmocka_run_group_tests(tests, scratch_set_up, scratch_tear_down);
}
