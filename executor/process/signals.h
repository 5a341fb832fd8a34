/*
 * Signals as data. A role blocks every signal before it does anything else and reads them from a
 * signalfd on the loop, so that there is no handler, no race and no lost signal; what it had on
 * entry is kept, to be given back to the process that it runs.
 *
 * glibc's sigset functions hide the two real-time signals that it uses itself (32 and 33); a user
 * may still send them, so masks are the kernel's 64-bit words here (rt_sigprocmask(2)).
 */
#pragma once

#include "executor/event/loop.h"

#include <stdint.h>
#include <sys/signalfd.h>

/* Highest signal number of the kernel (_NSIG - 1). */
#define SIGNALS_MAX 64

/* A word with only `signo` set. */
static inline uint64_t signals_bit(int signo)
{
	return 1ULL << (signo - 1);
}

struct signals {
	struct event_source source;
	uint64_t inherited_mask; /* as it was on entry */
	bool is_child_end_ignored; /* SIGCHLD was, on entry */
	/* One call per signal, in the order of delivery. */
	void (*on_signal)(struct signals *signals, const struct signalfd_siginfo *info);
};

/* Blocks everything, remembers what was blocked before. Call first thing in a role. An inherited
 * SIGCHLD that is ignored becomes the default: the kernel would reap children itself and tell
 * nobody how they ended. */
void signals_block_all(struct signals *signals);

/* Starts delivery on the loop. 0 or a negative errno. */
int signals_start(struct signals *signals, struct event_loop *loop,
		  void (*on_signal)(struct signals *, const struct signalfd_siginfo *));
void signals_done(struct signals *signals);

/* Restores the mask and SIGCHLD of entry; async-signal-safe, for a forked child before exec. No
 * other disposition is ever changed. */
void signals_restore(const struct signals *signals);

/* Go's names as `kill` prints them: "terminated", "killed", "interrupt", "hangup", …; "signal N"
 * for the rest. Returns buffer or static storage. */
const char *signals_go_name(int signo, char *buffer, size_t size);
