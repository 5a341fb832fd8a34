/*
 * Passing a child's output on to our own output, and keeping a copy in files, at pipe speed:
 * tee(2) duplicates what is in the child's pipe into ours without copying it through this process
 * and without ever blocking; what our reader has taken is then read once and appended to the
 * files. Where our output is no pipe (a file, a terminal, a socket) it is written.
 *
 * A reader of ours that stalls holds the child back, as a plain pipe would; it never holds back
 * signals, because waiting happens on the loop.
 */
#pragma once

#include "executor/event/loop.h"

#include <stdbool.h>

/* How long after the child's end its descendants may keep the pipe open (Argo waits as long). */
#define CAPTURE_ORPHAN_MS 100

#define CAPTURE_FILES_MAX 2

struct capture {
	struct event_source input; /* read end of the child's pipe */
	struct event_source output; /* our own stdout or stderr, while waiting for room */
	struct event_timer orphans;
	struct event_loop *loop;
	int output_fd; /* not owned, unless owns_output */
	int files[CAPTURE_FILES_MAX]; /* appended to; not owned; -1 = none */
	/* Called once, when the stream has ended; error is the first trouble with a file. */
	void (*on_end)(struct capture *capture, void *context);
	void *context;
	struct error error;
	char *chunk;
	size_t pending; /* bytes of chunk not yet written to a non-pipe output */
	size_t written;
	long long owed; /* after child's end: bytes that it left in the pipe; -1 = it lives */
	bool can_tee; /* both ends are pipes */
	bool owns_output; /* a terminal, opened anew so that writing to it never blocks */
	bool is_output_gone; /* EPIPE: the files still get everything */
	bool has_orphan_time_left;
	bool is_ended;
};

/* Takes ownership of input_fd; output_fd and the files are borrowed. on_end and context are set by
 * the caller afterwards, before the loop runs. 0 or a negative errno. */
int capture_init(struct capture *capture, struct event_loop *loop, int input_fd, int output_fd,
		 const int files[CAPTURE_FILES_MAX]);
void capture_done(struct capture *capture);

/* The child has ended: what it wrote still goes through, however slow our reader; what others
 * hold open is given up after CAPTURE_ORPHAN_MS. */
void capture_child_ended(struct capture *capture);

/* Our reader has had its time: what the ended child wrote and is not passed on yet goes to the
 * files alone, and the stream ends. Returns the bytes that the reader will not see. */
size_t capture_give_up(struct capture *capture);
