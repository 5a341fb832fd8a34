/*
 * What wrappers offer `wait` through the channel, judged: accepted into the table of what has been
 * handed over (handed.h), or refused, which leaves it to the wrapper to pack it (collect.h).
 *
 * Anybody in the pod can speak as a wrapper. What is accepted is one thing for each output artifact
 * of the template, the first that is offered: an O_RDONLY regular file or directory of a file system
 * that holds files. A directory is looked through first (scan.h), in slices on the loop, as its
 * sender: parts of it that we may not open, its wrapper is asked to, and each descriptor is
 * judged. A tree with a mount in it, with a part that its wrapper may not open either, or beyond scan.h's
 * limits is refused. So is one whose wrapper leaves before it has been looked through. A liar can thus spoil outputs of its
 * own pod, and costs no more than this: a descriptor for each output, and one look of bounded length
 * at a time for each connection.
 */
#pragma once

#include "executor/base/log.h"
#include "executor/process/channel.h"
#include "executor/stage/handed.h"
#include "executor/template/template.h"

/* Who waits for a verdict hears of us this often. */
#define OFFERS_SIGN_MS 1000

struct offers_look;

struct offers {
	const struct template *template; /* borrowed, like all of these */
	const struct log *log;
	struct channel_server *channel;
	struct handed handed; /* owned */
	/* A file or directory is ours to read from now on; its wrapper does not know yet. May be NULL. */
	void (*on_handed)(struct offers *offers, const char *path);
	struct offers_look *looks; /* in turn */
	size_t looks_made; /* twice for each output at most: a wrapper offers it once */
	size_t parts_left; /* descriptors that may be taken for parts, of OPENED_MAX */
	struct event_timer timer;
};

/* `channel` is set by the owner before the first offer can come. 0 or a negative errno. Harmless to
 * release when zeroed. */
int offers_init(struct offers *offers, struct event_loop *loop, const struct template *template,
		const struct log *log);
void offers_done(struct offers *offers);

/* For channel_server_options: on_offer, on_parts and on_left. */
enum channel_verdict offers_consider(struct offers *offers, struct channel_offer *offer);
void offers_take_parts(struct offers *offers, uint64_t peer, const int *codes, int *fds,
		       unsigned count);
void offers_forget(struct offers *offers, uint64_t peer);
