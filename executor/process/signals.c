#include "executor/process/signals.h"

#include "executor/base/cleanup.h"

#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <string.h>
#include <sys/syscall.h>

static void set_mask(uint64_t mask, uint64_t *ret_old)
{
	/* Cannot fail: the operation and the size are valid. */
	syscall(SYS_rt_sigprocmask, SIG_SETMASK, &mask, ret_old, sizeof(mask));
}

void signals_block_all(struct signals *signals)
{
	struct sigaction action = { .sa_handler = SIG_DFL };

	*signals = (struct signals){ .source.fd = -1 };
	set_mask(~0ULL, &signals->inherited_mask);
	sigaction(SIGCHLD, NULL, &action);
	signals->is_child_end_ignored = action.sa_handler == SIG_IGN;
	if (signals->is_child_end_ignored)
		signal(SIGCHLD, SIG_DFL);
}

void signals_restore(const struct signals *signals)
{
	if (signals->is_child_end_ignored)
		signal(SIGCHLD, SIG_IGN);
	set_mask(signals->inherited_mask, NULL);
}

static void on_readable(struct event_source *source, uint32_t revents)
{
	struct signals *signals = (struct signals *)source;
	struct signalfd_siginfo info;

	(void)revents;
	while (source->loop && read(source->fd, &info, sizeof(info)) == sizeof(info))
		signals->on_signal(signals, &info);
}

int signals_start(struct signals *signals, struct event_loop *loop,
		  void (*on_signal)(struct signals *, const struct signalfd_siginfo *))
{
	const uint64_t all = ~0ULL;
	long fd = syscall(SYS_signalfd4, -1, &all, sizeof(all), SFD_CLOEXEC | SFD_NONBLOCK);
	int r;

	if (fd < 0)
		return -errno;
	signals->on_signal = on_signal;
	signals->source =
		(struct event_source){ .callback = on_readable, .name = "signals", .fd = (int)fd };
	r = event_add(loop, &signals->source, EPOLLIN);
	if (r < 0)
		close(TAKE_FD(signals->source.fd));
	return r;
}

void signals_done(struct signals *signals)
{
	event_remove(&signals->source);
	if (signals->source.fd >= 0)
		close(TAKE_FD(signals->source.fd));
}

const char *signals_go_name(int signo, char *buffer, size_t size)
{
	static const char *const names[] = {
		[SIGHUP] = "hangup",
		[SIGINT] = "interrupt",
		[SIGQUIT] = "quit",
		[SIGILL] = "illegal instruction",
		[SIGTRAP] = "trace/breakpoint trap",
		[SIGABRT] = "aborted",
		[SIGBUS] = "bus error",
		[SIGFPE] = "floating point exception",
		[SIGKILL] = "killed",
		[SIGUSR1] = "user defined signal 1",
		[SIGSEGV] = "segmentation fault",
		[SIGUSR2] = "user defined signal 2",
		[SIGPIPE] = "broken pipe",
		[SIGALRM] = "alarm clock",
		[SIGTERM] = "terminated",
	};

	if (signo > 0 && (size_t)signo < sizeof(names) / sizeof(names[0]) && names[signo])
		return names[signo];
	snprintf(buffer, size, "signal %d", signo);
	return buffer;
}
