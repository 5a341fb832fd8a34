#include "executor/confine/calls.h"

#include <errno.h>
#include <linux/prctl.h>
#include <linux/sockios.h>
#include <sched.h>
#include <signal.h>
#include <sys/ioctl.h>
#include <sys/mman.h>
#include <sys/socket.h>

/* clang-format off */
#define CALL(name) { .number = SCMP_SYS(name) }
#define FAILS(name, code) { .number = SCMP_SYS(name), .failure = (code) }
#define KILLS(name) FAILS(name, CONFINE_CALL_KILLS)
/* Argument n, masked, is `value`. */
#define MASKED(n, mask, value) { (n), SCMP_CMP_MASKED_EQ, (mask), (value) }
#define CALL_IF(name, ...) \
	{ .number = SCMP_SYS(name), .argument_count = 1, .arguments = { __VA_ARGS__ } }
#define CALL_IF_BOTH(name, ...) \
	{ .number = SCMP_SYS(name), .argument_count = 2, .arguments = { __VA_ARGS__ } }
/* The kernel looks at 32 bits of an int; what is above them is not to matter to us either. */
#define INT 0xffffffffULL

#define SOCKET(family, type) \
	CALL_IF_BOTH(socket, MASKED(0, INT, (family)), \
		     MASKED(1, INT & ~(unsigned)(SOCK_CLOEXEC | SOCK_NONBLOCK), (type)))

/* What a thread is; and nothing that makes a namespace, a process, or anybody's child of it. */
#define THREAD (CLONE_VM | CLONE_FS | CLONE_FILES | CLONE_SIGHAND | CLONE_THREAD | CLONE_SYSVSEM)
#define THREAD_MAY (CLONE_SETTLS | CLONE_PARENT_SETTID | CLONE_CHILD_CLEARTID | CLONE_DETACHED)

/* Of all kinds of processes. */
static const struct confine_call common[] = {
	/* memory, none of it executable */
	CALL_IF(mmap, MASKED(2, PROT_EXEC, 0)),
	CALL_IF(mprotect, MASKED(2, PROT_EXEC, 0)),
	CALL(munmap), CALL(mremap), CALL(mlock), CALL(madvise), CALL(brk),

	/* files: which ones is said by Landlock and by permissions */
	CALL(open), CALL(openat), CALL(openat2), CALL(creat), CALL(close), CALL(close_range),
	CALL(read), CALL(readv), CALL(pread64), CALL(preadv), CALL(preadv2),
	CALL(write), CALL(writev), CALL(pwrite64), CALL(pwritev), CALL(pwritev2),
	CALL(lseek), CALL(_llseek), CALL(sendfile), CALL(copy_file_range),
	CALL(fsync), CALL(fdatasync), CALL(fallocate), CALL(ftruncate), CALL(fadvise64),
	CALL(stat), CALL(lstat), CALL(fstat), CALL(newfstatat), CALL(statx), CALL(statfs), CALL(fstatfs),
	CALL(access), CALL(faccessat), CALL(faccessat2), CALL(readlink), CALL(readlinkat),
	CALL(getdents64), CALL(getcwd), CALL(umask), CALL(memfd_create),
	CALL(mkdir), CALL(mkdirat), CALL(rmdir), CALL(unlink), CALL(unlinkat),
	CALL(rename), CALL(renameat), CALL(renameat2), CALL(symlink), CALL(symlinkat), CALL(linkat),
	CALL(chmod), CALL(fchmod), CALL(fchmodat), CALL(utimensat),
	CALL(flistxattr), CALL(fgetxattr), CALL(fsetxattr),
	CALL(dup), CALL(dup2), CALL(dup3), CALL(fcntl), CALL(pipe2),
	CALL_IF(ioctl, MASKED(1, INT, SIOCOUTQ)),
	CALL_IF(ioctl, MASKED(1, INT, FIONREAD)),
	CALL_IF(ioctl, MASKED(1, INT, FIONBIO)),
	/* isatty(3), of whatever stdio writes to */
	CALL_IF(ioctl, MASKED(1, INT, TCGETS)),
	/* the zone of an IPv6 address */
	CALL_IF(ioctl, MASKED(1, INT, SIOCGIFINDEX)),
	CALL_IF(ioctl, MASKED(1, INT, SIOCGIFNAME)),

	/* the loop */
	CALL(epoll_create1), CALL(epoll_ctl), CALL(epoll_wait), CALL(epoll_pwait), CALL(epoll_pwait2),
	CALL(poll), CALL(ppoll), CALL(select), CALL(pselect6), CALL(eventfd2),
	CALL(timerfd_create), CALL(timerfd_settime), CALL(timerfd_gettime),
	CALL(inotify_init1), CALL(inotify_add_watch), CALL(inotify_rm_watch),

	/* stores, name servers, artifact plugins, and our role; no raw, packet or netlink socket */
	SOCKET(AF_INET, SOCK_STREAM), SOCKET(AF_INET, SOCK_DGRAM),
	SOCKET(AF_INET6, SOCK_STREAM), SOCKET(AF_INET6, SOCK_DGRAM),
	SOCKET(AF_UNIX, SOCK_STREAM),
	/* c-ares asks which interfaces there are, and does without an answer */
	{ .number = SCMP_SYS(socket), .failure = EAFNOSUPPORT, .argument_count = 1,
	  .arguments = { MASKED(0, INT, AF_NETLINK) } },
	CALL(connect), CALL(getsockname), CALL(getpeername), CALL(getsockopt), CALL(setsockopt),
	CALL(sendto), CALL(sendmsg), CALL(sendmmsg), CALL(recvfrom), CALL(recvmsg), CALL(recvmmsg),
	CALL(shutdown),

	/* threads; clone3(2) has its flags in memory, where no filter sees them: libc takes clone(2) */
	CALL_IF(clone, MASKED(0, INT & ~(unsigned)THREAD_MAY, THREAD)),
	FAILS(clone3, ENOSYS),
	CALL(set_robust_list), CALL(rseq), CALL(futex), CALL(sched_yield), CALL(sched_getaffinity),
	CALL(exit), CALL(restart_syscall),

	/* the process itself */
	CALL(exit_group), CALL(getpid), CALL(getppid), CALL(gettid), CALL(rt_sigaction),
	CALL(rt_sigprocmask), CALL(rt_sigreturn), CALL(sigaltstack), CALL(uname), CALL(sysinfo),
	CALL(getuid), CALL(geteuid), CALL(getgid), CALL(getegid), CALL(getresuid), CALL(getresgid),
	CALL(getgroups), CALL(getrusage), CALL(times), CALL(getrlimit),
	CALL_IF(prlimit64, MASKED(0, INT, 0)),
	CALL_IF(prctl, MASKED(0, INT, PR_SET_NAME)),
	/* libc names its memory, where the kernel can */
	CALL_IF(prctl, MASKED(0, INT, PR_SET_VMA)),

	/* time and chance */
	CALL(clock_gettime), CALL(clock_getres), CALL(gettimeofday), CALL(time), CALL(nanosleep),
	CALL(clock_nanosleep), CALL(getrandom),

	/* never by mistake */
	KILLS(ptrace), KILLS(process_vm_readv), KILLS(process_vm_writev), KILLS(pidfd_getfd), KILLS(bpf),
	KILLS(userfaultfd), KILLS(io_uring_setup), KILLS(perf_event_open), KILLS(kexec_load),
	KILLS(kexec_file_load), KILLS(init_module), KILLS(finit_module), KILLS(delete_module),
};

/* Walking as another user, as far as capabilities let it. */
static const struct confine_call walking[] = {
	CALL(setfsuid), CALL(setfsgid), CALL(setgroups), CALL(capget), CALL(capset),
};

/* Signals of its container are a role's own to read. */
static const struct confine_call signals[] = {
	CALL(signalfd4),
};

/* A role with a staging process: starting it, talking to it, seeing its end. A filter stays over
 * execve(2): only because of this is it here. */
static const struct confine_call parent[] = {
	CALL_IF(clone, MASKED(0, INT, CLONE_CHILD_SETTID | CLONE_CHILD_CLEARTID | SIGCHLD)),
	CALL(execve), CALL(setpgid), CALL(waitid), CALL(wait4), CALL(pidfd_open),
	SOCKET(AF_UNIX, SOCK_SEQPACKET),
	CALL_IF_BOTH(socketpair, MASKED(0, INT, AF_UNIX), MASKED(1, INT & ~(unsigned)SOCK_CLOEXEC,
								 SOCK_SEQPACKET)),
	/* an abort(3) of either, whatever its pid */
	CALL(tgkill),

	/* what the child does under its role's filter, until it has its own */
	CALL(arch_prctl), CALL(set_tid_address), CALL(setrlimit),
	CALL_IF(prctl, MASKED(0, INT, PR_SET_PDEATHSIG)),
	CALL_IF_BOTH(prctl, MASKED(0, INT, PR_SET_DUMPABLE), MASKED(1, INT, 0)),
	CALL_IF(prctl, MASKED(0, INT, PR_SET_NO_NEW_PRIVS)),
	CALL_IF(prctl, MASKED(0, INT, PR_GET_SECCOMP)),
	CALL_IF(prctl, MASKED(0, INT, PR_SET_SECCOMP)),
	CALL_IF(prctl, MASKED(0, INT, PR_CAPBSET_READ)),
	CALL_IF(prctl, MASKED(0, INT, PR_CAPBSET_DROP)),
	CALL_IF_BOTH(prctl, MASKED(0, INT, PR_CAP_AMBIENT), MASKED(1, INT, PR_CAP_AMBIENT_IS_SET)),
	CALL_IF_BOTH(prctl, MASKED(0, INT, PR_CAP_AMBIENT), MASKED(1, INT, PR_CAP_AMBIENT_CLEAR_ALL)),
	CALL(seccomp), CALL(landlock_create_ruleset), CALL(landlock_add_rule),
	CALL(landlock_restrict_self),
};

/* Of init: the end of its child. */
static const struct confine_call init[] = {
	CALL_IF(kill, MASKED(1, INT, SIGKILL)),
};

/* Of wait: its child and, where processes are shared, main's wrappers; who connects to it. */
static const struct confine_call wait[] = {
	CALL(kill), CALL(pidfd_send_signal), CALL(bind), CALL(listen), CALL(accept4),
	/* the journal is of one process */
	CALL(flock),
};
/* clang-format on */

#define BIT(kind) (1U << CONFINE_##kind)
#define ALL (BIT(INIT) | BIT(WAIT) | BIT(GC) | BIT(STAGE))
#define PARENTS (BIT(INIT) | BIT(WAIT))
#define SET(calls, kinds) \
	{ \
		(calls), sizeof(calls) / sizeof((calls)[0]), (kinds) \
	}

static const struct {
	const struct confine_call *calls;
	size_t count;
	unsigned kinds;
} sets[] = {
	SET(common, ALL),
	SET(walking, PARENTS | BIT(STAGE)),
	SET(signals, PARENTS | BIT(GC)),
	SET(parent, PARENTS),
	SET(init, BIT(INIT)),
	SET(wait, BIT(WAIT)),
};

/* The sanitizers look for leaks when a process returns, with another one that traces it. */
#ifdef __SANITIZE_ADDRESS__
#define WITH_TABLE BIT(STAGE)
#else
#define WITH_TABLE ALL
#endif

const struct confine_call *confine_calls(enum confine_kind kind, size_t i)
{
	if (!(WITH_TABLE & 1U << kind))
		return NULL;
	for (size_t s = 0; s < sizeof(sets) / sizeof(sets[0]); s++) {
		if (!(sets[s].kinds & 1U << kind))
			continue;
		if (i < sets[s].count)
			return &sets[s].calls[i];
		i -= sets[s].count;
	}
	return NULL;
}

bool confine_is_parent(enum confine_kind kind)
{
	return PARENTS & 1U << kind;
}
