/* What a confined process still can, and what it cannot: each probe is a child of its own. */
#include "executor/base/buffer.h"
#include "executor/base/cleanup.h"
#include "executor/base/fd.h"
#include "tests/unit/confine_probe.h"
#include "tests/unit/scratch.h"

#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <linux/capability.h>
#include <netinet/in.h>
#include <pthread.h>
#include <sched.h>
#include <setjmp.h>
#include <signal.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/ptrace.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

#include <cmocka.h>

static struct confine_ending run_stage(long (*body)(void))
{
	return confine_probe_run(&(struct confine_probe){
		.kind = CONFINE_STAGE, .options = { .mode = CONFINE_REQUIRED }, .body = body });
}

static void assert_works(long (*body)(void))
{
	struct confine_ending ending = run_stage(body);

	if (ending.is_told)
		fail_msg("stopped at %s", ending.call);
	assert_true(WIFEXITED(ending.status));
	assert_int_equal(WEXITSTATUS(ending.status), 0);
}

static void assert_stopped(long (*body)(void), const char *call)
{
	struct confine_ending ending = run_stage(body);

	assert_true(WIFEXITED(ending.status));
	assert_int_equal(WEXITSTATUS(ending.status), CONFINE_EXIT_STATUS);
	assert_true(ending.is_told);
	assert_string_equal(ending.call, call);
}

static void assert_killed(long (*body)(void))
{
	struct confine_ending ending = run_stage(body);

	assert_true(WIFSIGNALED(ending.status));
	assert_int_equal(WTERMSIG(ending.status), SIGSYS);
	assert_false(ending.is_told);
}

/* --- system calls --------------------------------------------------------------------------- */

static long execute(void)
{
	char name[] = "true", *const argv[] = { name, NULL };

	return execv("/bin/true", argv);
}

static long forks(void)
{
	return syscall(SYS_clone, SIGCHLD, 0, 0, 0, 0);
}

static long new_namespace(void)
{
	return unshare(CLONE_NEWUSER);
}

static long thread_in_a_namespace(void)
{
	return syscall(SYS_clone,
		       CLONE_VM | CLONE_FS | CLONE_FILES | CLONE_SIGHAND | CLONE_THREAD |
			       CLONE_SYSVSEM | CLONE_NEWUSER,
		       0, 0, 0, 0);
}

static long raw_socket(void)
{
	return socket(AF_INET, SOCK_RAW, 1 /* ICMP */);
}

static long packet_socket(void)
{
	return socket(AF_PACKET, SOCK_DGRAM, 0);
}

static long reads_signals(void)
{
	uint64_t none = 0;

	return syscall(SYS_signalfd4, -1, &none, sizeof(none), 0) >= 0 ? 0 : 1;
}

/* Nobody reads a pipe: it ends all the same. The sanitizers need what is refused. */
static void test_artifact_gc(void **state)
{
	struct confine_probe probe = { .kind = CONFINE_GC,
				       .options = { .mode = CONFINE_REQUIRED },
				       .body = reads_signals };

	(void)state;
	assert_int_equal(confine_probe_run(&probe).status, 0);
#ifndef __SANITIZE_ADDRESS__
	probe.body = execute;
	assert_int_equal(WEXITSTATUS(confine_probe_run(&probe).status), CONFINE_EXIT_STATUS);
#endif
	assert_stopped(reads_signals, "signalfd4");
}

/* A call that says no, and no more. */
static long netlink_socket(void)
{
	return socket(AF_NETLINK, SOCK_RAW, 0) < 0 && errno == EAFNOSUPPORT ? 0 : 1;
}

static long listens(void)
{
	return listen(0, 1);
}

static long maps_code(void)
{
	return mmap(NULL, 4096, PROT_READ | PROT_EXEC, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0) ==
	       MAP_FAILED;
}

static long makes_code(void)
{
	void *page = mmap(NULL, 4096, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);

	return mprotect(page, 4096, PROT_READ | PROT_EXEC);
}

static long types_for_us(void)
{
	return ioctl(0, TIOCSTI, "x");
}

static long signals_its_parent(void)
{
	return kill(getppid(), 0);
}

static long signals_a_thread_of_its_parent(void)
{
	return syscall(SYS_tgkill, getppid(), getppid(), 0);
}

static long becomes_dumpable(void)
{
	return prctl(PR_SET_DUMPABLE, 1, 0, 0, 0);
}

static long becomes_somebody(void)
{
	return syscall(SYS_setresuid, 1000, 1000, 1000);
}

static long limits_its_parent(void)
{
	struct rlimit limit;

	return prlimit(getppid(), RLIMIT_NOFILE, NULL, &limit);
}

static long mounts(void)
{
	return syscall(SYS_mount, "none", "/", "tmpfs", 0, NULL);
}

static long adds_a_key(void)
{
	return syscall(SYS_add_key, "user", "x", "y", 1, -1);
}

static long changes_owner(void)
{
	return syscall(SYS_fchownat, AT_FDCWD, "/nowhere", 1, 1, 0);
}

static long makes_a_device(void)
{
	return syscall(SYS_mknodat, AT_FDCWD, "/nowhere", S_IFCHR | 0600, 0x103);
}

static void test_calls_that_are_named(void **state)
{
	(void)state;
	assert_stopped(execute, "execve");
	assert_stopped(forks, "clone");
	assert_stopped(thread_in_a_namespace, "clone");
	assert_stopped(new_namespace, "unshare");
	assert_stopped(raw_socket, "socket");
	assert_stopped(packet_socket, "socket");
	assert_stopped(listens, "listen");
	assert_stopped(maps_code, "mmap");
	assert_stopped(makes_code, "mprotect");
	assert_stopped(types_for_us, "ioctl");
	assert_stopped(signals_its_parent, "kill");
	assert_stopped(signals_a_thread_of_its_parent, "tgkill");
	assert_stopped(becomes_dumpable, "prctl");
	assert_stopped(becomes_somebody, "setresuid");
	assert_stopped(limits_its_parent, "prlimit64");
	assert_stopped(mounts, "mount");
	assert_stopped(adds_a_key, "add_key");
	assert_stopped(changes_owner, "fchownat");
	assert_stopped(makes_a_device, "mknodat");
}

static long traces(void)
{
	return ptrace(PTRACE_ATTACH, getppid(), NULL, NULL);
}

static long reads_its_parent(void)
{
	return syscall(SYS_process_vm_readv, getppid(), NULL, 0, NULL, 0, 0);
}

static long loads_a_program(void)
{
	return syscall(SYS_bpf, 0, NULL, 0);
}

static long handles_faults(void)
{
	return syscall(SYS_userfaultfd, 0);
}

static long queues_calls(void)
{
	return syscall(425 /* io_uring_setup */, 1, NULL);
}

static void test_calls_that_kill(void **state)
{
	(void)state;
	assert_killed(traces);
	assert_killed(reads_its_parent);
	assert_killed(loads_a_program);
	assert_killed(handles_faults);
	assert_killed(queues_calls);
}

static long opens_sockets(void)
{
	static const int families[] = { AF_INET, AF_INET6, AF_UNIX };

	for (size_t i = 0; i < 3; i++)
		if (socket(families[i], SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0) < 0 &&
		    errno != EAFNOSUPPORT)
			return 1;
	return 0;
}

static void *stopped_thread(void *context)
{
	(void)context;
	unshare(CLONE_FS);
	return NULL;
}

static void *free_thread(void *context)
{
	return context;
}

static long starts_threads(void)
{
	pthread_t thread;
	void *result = NULL;
	char mark;

	return pthread_create(&thread, NULL, free_thread, &mark) == 0 &&
			       pthread_join(thread, &result) == 0 && result == &mark ?
		       0 :
		       1;
}

static long starts_a_stopped_thread(void)
{
	pthread_t thread;

	return pthread_create(&thread, NULL, stopped_thread, NULL) + pthread_join(thread, NULL);
}

static long asks_for_clone3(void)
{
	return syscall(435 /* clone3 */, NULL, 0) < 0 && errno == ENOSYS ? 0 : 1;
}

static long survives_the_signal_alone(void)
{
	return syscall(SYS_tgkill, getpid(), gettid(), SIGSYS);
}

static void test_what_goes_on(void **state)
{
	(void)state;
	assert_works(opens_sockets);
	assert_works(starts_threads);
	assert_works(asks_for_clone3);
	assert_works(netlink_socket);
	assert_works(survives_the_signal_alone);
	assert_stopped(starts_a_stopped_thread, "unshare");
}

static long aborts(void)
{
	signal(SIGABRT, SIG_DFL);
	abort();
}

static void test_an_abort_is_an_abort(void **state)
{
	struct confine_ending ending = run_stage(aborts);

	(void)state;
	assert_true(WIFSIGNALED(ending.status));
	assert_int_equal(WTERMSIG(ending.status), SIGABRT);
	assert_false(WCOREDUMP(ending.status));
}

/* --- capabilities, privileges, memory --------------------------------------------------------- */

static uint64_t field(const char *status, const char *name)
{
	const char *line = strstr(status, name);

	return line ? strtoull(line + strlen(name), NULL, 16) : UINT64_MAX;
}

#define BIT(capability) (1ULL << (capability))
#define OF_STAGE \
	(BIT(CAP_DAC_OVERRIDE) | BIT(CAP_FOWNER) | BIT(CAP_FSETID) | BIT(CAP_SETUID) | \
	 BIT(CAP_SETGID))
#define OF_WAIT (OF_STAGE | BIT(CAP_NET_BIND_SERVICE))
#define USED_BY_WAIT (OF_WAIT & ~BIT(CAP_FSETID))
#define USED_BY_INIT (BIT(CAP_DAC_OVERRIDE) | BIT(CAP_FOWNER))

/* For the child, which inherits it. */
static struct {
	uint64_t effective, permitted, before;
} expected;

static long shows_what_is_left(void)
{
	_cleanup_buffer_ struct buffer text = BUFFER_INIT(65536);
	struct rlimit core;
	const char *status;

	if (file_read("/proc/self/status", &text, NULL) < 0)
		return 1;
	status = buffer_string(&text);
	if (field(status, "CapEff:\t") != (expected.effective & expected.before))
		return 2;
	if (field(status, "CapPrm:\t") != (expected.permitted & expected.before))
		return 3;
	if (field(status, "CapInh:\t") != 0 || field(status, "CapAmb:\t") != 0)
		return 4;
	if (expected.before & BIT(CAP_SETPCAP) && field(status, "CapBnd:\t") & ~expected.permitted)
		return 5;
	if (field(status, "NoNewPrivs:\t") != 1)
		return 6;
	if (getrlimit(RLIMIT_CORE, &core) < 0 || core.rlim_max != 0)
		return 7;
	return 0;
}

static void assert_left(enum confine_kind kind, uint64_t effective, uint64_t permitted)
{
	_cleanup_buffer_ struct buffer text = BUFFER_INIT(65536);
	const struct confine_probe probe = { .kind = kind,
					     .options = { .mode = CONFINE_REQUIRED },
					     .body = shows_what_is_left };
	struct confine_ending ending;

	assert_int_equal(file_read("/proc/self/status", &text, NULL), 0);
	expected.before = field(buffer_string(&text), "CapPrm:\t");
	expected.effective = effective;
	expected.permitted = permitted;
	ending = confine_probe_run(&probe);
	assert_true(WIFEXITED(ending.status));
	assert_int_equal(WEXITSTATUS(ending.status), 0);
}

static void assert_all_left(void)
{
	assert_left(CONFINE_STAGE, OF_STAGE, OF_STAGE);
	assert_left(CONFINE_WAIT, USED_BY_WAIT, OF_WAIT);
	assert_left(CONFINE_INIT, USED_BY_INIT, OF_STAGE);
	assert_left(CONFINE_GC, BIT(CAP_DAC_OVERRIDE), BIT(CAP_DAC_OVERRIDE));
}

static int as_somebody(void *context)
{
	(void)context;
	if (scratch_drop_privileges() < 0)
		return __LINE__;
	assert_all_left();
	return 0;
}

static void test_capabilities(void **state)
{
	(void)state;
	assert_all_left();
	scratch_run_child(as_somebody, NULL);
}

/* Nobody of the same user reads it: the file of its memory is root's. */
static long shows_its_owner(void)
{
	struct stat st;

	return stat("/proc/self/mem", &st) == 0 && st.st_uid == 0 ? 0 : 1;
}

static int hides(void *context)
{
	struct confinement confinement;
	struct stat st;

	(void)context;
	/* Another user id has hidden it already. */
	if (scratch_drop_privileges() < 0 || prctl(PR_SET_DUMPABLE, 1, 0, 0, 0) < 0 ||
	    stat("/proc/self/mem", &st) < 0 || st.st_uid == 0)
		return __LINE__;
	if (confine(CONFINE_WAIT, &(struct confine_options){ .notice_fd = -1 }, &confinement,
		    NULL) < 0)
		return __LINE__;
	return shows_its_owner() == 0 ? 0 : __LINE__;
}

static void test_memory(void **state)
{
	(void)state;
	scratch_run_child(hides, NULL);
}

/* --- modes ------------------------------------------------------------------------------------ */

static void test_words_of_the_environment(void **state)
{
	static const struct {
		const char *word;
		enum confine_mode mode;
	} words[] = { { "", CONFINE_AUTO },
		      { "auto", CONFINE_AUTO },
		      { "required", CONFINE_REQUIRED },
		      { "record", CONFINE_RECORD },
		      { "off", CONFINE_OFF } };
	enum confine_mode mode = CONFINE_OFF;
	struct error err = ERROR_NONE;

	(void)state;
	unsetenv("ARGOEXEC_CONFINEMENT");
	assert_int_equal(confine_mode_from_environment(&mode, &err), 0);
	assert_int_equal(mode, CONFINE_AUTO);
	for (size_t i = 0; i < sizeof(words) / sizeof(words[0]); i++) {
		assert_int_equal(setenv("ARGOEXEC_CONFINEMENT", words[i].word, 1), 0);
		assert_int_equal(confine_mode_from_environment(&mode, &err), 0);
		assert_int_equal(mode, words[i].mode);
	}
	assert_int_equal(setenv("ARGOEXEC_CONFINEMENT", "Off", 1), 0);
	assert_int_equal(confine_mode_from_environment(&mode, &err), -EINVAL);
	assert_string_equal(err.message, "ARGOEXEC_CONFINEMENT \"Off\": use auto, required, "
					 "record or off");
	unsetenv("ARGOEXEC_CONFINEMENT");
}

static long counts_its_parent(void)
{
	return sched_getscheduler(getppid()) < 0;
}

static void test_off_and_record_stop_nothing(void **state)
{
	static const enum confine_mode modes[] = { CONFINE_OFF, CONFINE_RECORD };

	(void)state;
	assert_stopped(counts_its_parent, "sched_getscheduler");
	for (size_t i = 0; i < 2; i++) {
		struct confine_ending ending =
			confine_probe_run(&(struct confine_probe){ .kind = CONFINE_STAGE,
								   .options = { .mode = modes[i] },
								   .body = counts_its_parent });

		assert_int_equal(ending.status, 0);
		assert_false(ending.is_told);
	}
}

/* An outer filter, as a runtime has one: seccomp(2) and Landlock say EPERM. */
static int refused_outside(void *context)
{
	enum confine_mode *mode = context;
	const struct confine_place place = { .path = "/", .is_writable = true };
	struct confine_options options = {
		.mode = *mode, .notice_fd = -1, .places = &place, .place_count = 1
	};
	struct confinement confinement;
	struct error err = ERROR_NONE;
	struct rlimit none = { .rlim_cur = 0, .rlim_max = 0 };
	int r;

	/* Without room for a descriptor Landlock has no ruleset. */
	if (setrlimit(RLIMIT_NOFILE, &none) < 0)
		return __LINE__;
	r = confine(CONFINE_STAGE, &options, &confinement, &err);
	if (confinement_refused(&confinement) != CONFINE_FILES ||
	    confinement.layers[CONFINE_CALLS].state != CONFINE_IN_FORCE)
		return __LINE__;
	if (*mode == CONFINE_REQUIRED)
		return r == -EPERM && strstr(err.message, "=required, but confinement of files is "
							  "refused: ") ?
			       0 :
			       __LINE__;
	return r == 0 ? 0 : __LINE__;
}

static void test_what_is_refused(void **state)
{
	enum confine_mode modes[] = { CONFINE_AUTO, CONFINE_REQUIRED };

	(void)state;
	for (size_t i = 0; i < 2; i++)
		scratch_run_child(refused_outside, &modes[i]);
}

/* --- files ------------------------------------------------------------------------------------ */

static long uses_files(void)
{
	char from[256], to[256];

	if (open(scratch_path("out/f"), O_WRONLY | O_CREAT, 0644) < 0 ||
	    mkdir(scratch_path("out/d"), 0755) < 0)
		return 1;
	snprintf(from, sizeof(from), "%s", scratch_path("out/f"));
	snprintf(to, sizeof(to), "%s", scratch_path("out/d/g"));
	if (rename(from, to) < 0 || unlink(to) < 0)
		return 2;
	if (open(scratch_path("in/f"), O_RDONLY) < 0 || open(scratch_path("in/f"), O_WRONLY) >= 0 ||
	    errno != EACCES)
		return 3;
	if (open(scratch_path("in/new"), O_WRONLY | O_CREAT, 0644) >= 0 ||
	    unlink(scratch_path("in/f")) == 0)
		return 4;
	if (open(scratch_path("else/f"), O_RDONLY) >= 0 || errno != EACCES ||
	    open("/etc/passwd", O_RDONLY) >= 0)
		return 5;
	return 0;
}

static void test_files(void **state)
{
	struct confine_place places[3];
	struct confine_probe probe = {
		.kind = CONFINE_STAGE,
		.options = { .mode = CONFINE_REQUIRED, .places = places, .place_count = 3 },
		.body = uses_files
	};
	char in[256], out[256];
	struct confine_ending ending;

	(void)state;
	mkdir(scratch_path("in"), 0755);
	mkdir(scratch_path("out"), 0755);
	mkdir(scratch_path("else"), 0755);
	scratch_write("in/f", "x");
	scratch_write("else/f", "x");
	snprintf(in, sizeof(in), "%s", scratch_path("in"));
	snprintf(out, sizeof(out), "%s", scratch_path("out"));
	places[0] = (struct confine_place){ .path = in };
	places[1] = (struct confine_place){ .path = out, .is_writable = true };
	places[2] = (struct confine_place){ .path = "/nowhere" };
	ending = confine_probe_run(&probe);
	assert_false(ending.is_told);
	assert_true(WIFEXITED(ending.status));
	assert_int_equal(WEXITSTATUS(ending.status), 0);
}

static uint16_t listener_port(void)
{
	struct sockaddr_in address = { .sin_family = AF_INET,
				       .sin_addr.s_addr = htonl(INADDR_LOOPBACK) };
	socklen_t size = sizeof(address);
	int fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);

	assert_return_code(bind(fd, (struct sockaddr *)&address, size), errno);
	assert_return_code(listen(fd, 4), errno);
	assert_return_code(getsockname(fd, (struct sockaddr *)&address, &size), errno);
	return ntohs(address.sin_port);
}

static uint16_t listed, unlisted;

static int connect_to(uint16_t port)
{
	const struct sockaddr_in address = { .sin_family = AF_INET,
					     .sin_port = htons(port),
					     .sin_addr.s_addr = htonl(INADDR_LOOPBACK) };
	int fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);

	return connect(fd, (const struct sockaddr *)&address, sizeof(address)) < 0 ? errno : 0;
}

static long connects_to_one(void)
{
	return connect_to(listed) != 0 ? 1 : connect_to(unlisted) != EACCES ? 2 : 0;
}

static long connects_to_both(void)
{
	return connect_to(listed) != 0 || connect_to(unlisted) != 0;
}

static void test_ports(void **state)
{
	const struct confine_place place = { .path = "/" };
	struct confine_probe probe = { .kind = CONFINE_STAGE,
				       .options = { .mode = CONFINE_REQUIRED,
						    .places = &place,
						    .place_count = 1,
						    .ports = &listed },
				       .body = connects_to_both };

	(void)state;
	if (syscall(SYS_landlock_create_ruleset, NULL, 0, 1) < 4)
		skip();
	listed = listener_port();
	unlisted = listener_port();
	assert_int_equal(WEXITSTATUS(confine_probe_run(&probe).status), 0);
	probe.options.port_count = 1;
	probe.body = connects_to_one;
	assert_int_equal(WEXITSTATUS(confine_probe_run(&probe).status), 0);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_calls_that_are_named),
		cmocka_unit_test(test_calls_that_kill),
		cmocka_unit_test(test_what_goes_on),
		cmocka_unit_test(test_an_abort_is_an_abort),
		cmocka_unit_test(test_artifact_gc),
		cmocka_unit_test(test_capabilities),
		cmocka_unit_test(test_memory),
		cmocka_unit_test(test_words_of_the_environment),
		cmocka_unit_test(test_off_and_record_stop_nothing),
		cmocka_unit_test(test_what_is_refused),
		cmocka_unit_test(test_files),
		cmocka_unit_test(test_ports),
	};

	return cmocka_run_group_tests(tests, scratch_set_up, scratch_tear_down);
}
