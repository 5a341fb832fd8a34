/*
 * A user's terminal in front of a child with a terminal of its own: when standard input is a tty
 * (`stdin: true, tty: true` in the pod), the child gets a pty as its controlling terminal, ours
 * is raw meanwhile and restored at the end, and the window size follows.
 */
#pragma once

#include "executor/event/loop.h"

#include <stdbool.h>
#include <termios.h>

#define TERMINAL_CHUNK_BYTES 4096

struct terminal {
	struct event_source input; /* our stdin; off the loop while the child does not read */
	struct event_source room; /* the pty, while it takes no more input */
	char typed[TERMINAL_CHUNK_BYTES];
	size_t pending, written; /* bytes of typed; those that the pty has */
	struct termios saved;
	int master_fd; /* -1 = not in use; reads are done by its capture */
	int slave_fd; /* for the child; ours as long as it lives: it may close all of its own, and the
		       * pty would hang up, but open /dev/tty again */
	bool is_raw;
};

/* Allocates the pty, copies the window size, makes our terminal raw and starts to pass input on.
 * 0 or a negative errno. */
int terminal_init(struct terminal *terminal, struct event_loop *loop);

/* The child has ended: the pty hangs up as soon as no descendant has it open. */
void terminal_child_ended(struct terminal *terminal);

/* Copies the window size of our terminal (on SIGWINCH). */
void terminal_resize(struct terminal *terminal);

/* Restores our terminal. master_fd is closed unless somebody took it. */
void terminal_done(struct terminal *terminal);
