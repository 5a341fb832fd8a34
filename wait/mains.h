/*
 * Waiting for the main containers of a pod. How each of them is doing is known from its wrapper's
 * connection (channel.h) and from its files; the table of states is drawn in docs/states.md.
 *
 * A wrapper that has connected has ended when its connection ends: with an exit code in its file,
 * or without one (killed by the kernel), in which case it is lost, and known to be within
 * milliseconds. One that never connected has ended when its exit code file is there.
 *
 * A request to finish up (SIGTERM) does not end the wait for a living wrapper: the step may still
 * be saving its outputs. It bounds it, by the pod's grace period g: SIGKILL to the user's process
 * group after g − s with s = min(g/2, max(5 s, g/5)), and no more waiting after g − r with
 * r = min(1.5 s, g/3) (reporting.h). A wrapper that never came is not waited for then; should it
 * come after all, its signal file tells it not to begin.
 */
#pragma once

#include "executor/base/log.h"
#include "executor/event/watch.h"
#include "executor/process/channel.h"
#include "executor/process/inbox.h"
#include "executor/stage/offers.h"
#include "executor/template/environment.h"
#include "executor/template/template.h"
#include "signal/terminator.h"

#include <stdbool.h>

enum main_state {
	MAIN_UNSEEN, /* image being pulled, or about to connect */
	MAIN_ALIVE, /* its wrapper is connected */
	MAIN_ENDED, /* exit code written */
	MAIN_LOST, /* its wrapper died without one */
};

struct mains;

struct mains_inbox {
	struct inbox inbox;
	struct mains *mains;
};

struct mains {
	struct event_loop *loop;
	const struct log *log;
	const struct template *template;
	const char *root;
	int64_t grace_ms;
	struct channel_server *channel;
	struct offers offers; /* of outputs, by wrappers */
	struct event_watch watch;
	void (*on_look)(struct mains *mains); /* something was written; may be NULL */
	struct event_timer deadline; /* ARGO_DEADLINE */
	struct event_timer kill; /* SIGTERM was not enough */
	struct event_timer give_up;
	enum main_state *states; /* one for each of template->containers */
	struct mains_inbox *inboxes; /* likewise: their signal files */
	void (*on_deadline)(struct mains *mains);
	/* A wrapper has died without an exit code; may be NULL. */
	void (*on_lost)(struct mains *mains, const char *container);
	/* What container i does, or what was asked of it, has changed; may be NULL. */
	void (*on_change)(struct mains *mains, size_t i);
	struct terminator terminator; /* of template->containers */
	bool is_finishing;
	pid_t asker_pid; /* who sent that SIGTERM */
	uid_t asker_uid;
	bool is_done; /* is_over, or they are not waited for any more */
	bool is_over; /* none is unseen or alive */
};

/* Binds the channel and starts looking; call before anything that may take time. */
int mains_init(struct mains *mains, struct event_loop *loop, const struct template *template,
	       const struct environment *environment, const char *root, const struct log *log,
	       struct error *err);
void mains_done(struct mains *mains);

/* SIGTERM was received, from that process (0: of another namespace): see above. Asking again changes
 * nothing. Dispatches what is pending: a connection that was made before is to count. */
void mains_finish_up(struct mains *mains, pid_t pid, uid_t uid);

/* After a wait that was given up: waits on for the wrappers that still live, ten minutes at most.
 * True if all have ended. */
bool mains_await_rest(struct mains *mains);

/* "waiting", "running", "ended", "lost"; static storage. */
const char *mains_state_name(enum main_state state);

/* Containers in a state. */
size_t mains_count(const struct mains *mains, enum main_state state);
