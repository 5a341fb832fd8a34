/*
 * "Something changed in one of these directories": inotify, or, where the node has no instance or
 * watch left (EMFILE, ENOSPC; 128 instances per user are common), a look every two seconds. The
 * callback is told nothing else and looks for itself; it must cope with being called in vain.
 */
#pragma once

#include "executor/event/loop.h"

#define EVENT_WATCH_POLL_MS 2000

struct event_watch {
	struct event_source source; /* inotify */
	struct event_timer poll; /* the fallback */
	void (*callback)(struct event_watch *watch);
	bool is_polling;
};

/* 0 or a negative errno (no memory, no descriptor even for a timer). */
int event_watch_init(struct event_watch *watch, struct event_loop *loop,
		     void (*callback)(struct event_watch *watch));

enum event_watch_kind {
	EVENT_WATCH_NAMES, /* created, moved in, or closed after writing */
	EVENT_WATCH_CONTENT, /* each write as well: for files that their writer keeps open */
};

/* Watches the names in `directory` (which must exist). Look once after adding: what happened
 * before is not reported. Falls back to polling instead of failing. */
void event_watch_add(struct event_watch *watch, const char *directory, enum event_watch_kind kind);

/* Each write to an open file as well, for as long as somebody has it open. Best effort: what cannot
 * be watched is noticed when something else happens. */
void event_watch_add_file(struct event_watch *watch, int fd);

void event_watch_done(struct event_watch *watch);
