/*
 * ctr/<container>/signal: a request for a signal, left by `wait` of any version, by `argoexec kill`
 * or by a person, and removed by whoever acts on it. Writers are as careless as `echo 15 >signal`,
 * so the file is taken without losing what they mean:
 *
 *   - it is renamed before it is removed, and looked at again: a writer who comes in between has
 *     either replaced the file (both requests count) or its content (which is noticed as below);
 *   - an empty file, or one that only begins a number ("1", and then "5"), is given time;
 *   - the file taken last is kept open: a writer who has it open too is heard again.
 *
 * One gap is left by the protocol: of two requests that are written into the same file before
 * anybody has looked, the last one counts.
 */
#pragma once

#include "executor/event/watch.h"
#include "executor/process/files.h"

#include <stdbool.h>
#include <sys/types.h>

/* A single digit may be the first of two; this long after it was seen, it is not. */
#define INBOX_SETTLE_MS 50

/* Content of a file, as it was seen. */
struct inbox_text {
	char bytes[FILES_NUMBER_BYTES_MAX];
	size_t size;
};

struct inbox {
	struct event_loop *loop;
	struct event_watch *watch;
	const char *root, *container;
	void (*on_signal)(struct inbox *inbox, int signo); /* 1 to 64 */
	struct event_timer settle;
	struct inbox_text unsettled[2]; /* of the file by that name, of the one taken last */
	struct inbox_text taken; /* what has been acted on */
	int taken_fd; /* -1 = none */
	bool is_settled; /* nothing is being waited for */
};

/* `on_signal` is set by the caller before the first look. 0 or a negative errno. */
int inbox_init(struct inbox *inbox, struct event_loop *loop, const char *root,
	       const char *container);
void inbox_done(struct inbox *inbox);

/* To be called when something has changed in ctr/<container>. The watch, if there is one, is asked
 * to tell of changes to the file itself. on_signal is called from here, or from the loop. */
void inbox_look(struct inbox *inbox, struct event_watch *watch);
