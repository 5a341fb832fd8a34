#include "emissary/handoff.h"

#include "executor/base/cleanup.h"
#include "executor/base/entry.h"
#include "executor/base/error.h"

#include <errno.h>
#include <fcntl.h>
#include <stddef.h>
#include <string.h>

static void on_timer(struct event_timer *timer)
{
	struct handoff *handoff =
		(struct handoff *)((char *)timer - offsetof(struct handoff, timer));

	handoff->is_over = true;
}

int handoff_init(struct handoff *handoff, struct event_loop *loop, struct channel_client *channel,
		 const struct log *log)
{
	*handoff = (struct handoff){ .channel = channel, .loop = loop, .log = log, .fd = -1 };
	return event_timer_init(&handoff->timer, loop, on_timer);
}

void handoff_done(struct handoff *handoff)
{
	event_timer_done(&handoff->timer);
}

void handoff_answered(struct handoff *handoff, enum channel_verdict verdict)
{
	handoff->verdict = verdict;
	if (verdict == CHANNEL_BUSY)
		event_timer_set(&handoff->timer, HANDOFF_SILENCE_MS);
	else
		handoff->is_over = true;
}

/* A file or directory for reading; of anything else, which opening could wake, what only tells its type.
 * The descriptor or a negative errno. */
static int open_part(int parent_fd, const char *name)
{
	struct stat st;
	int fd;

	if (fstatat(parent_fd, name, &st, AT_SYMLINK_NOFOLLOW) < 0)
		return -errno;
	if (S_ISREG(st.st_mode) || S_ISDIR(st.st_mode))
		return entry_open_path(parent_fd, name, 0);
	fd = openat(parent_fd, name, O_PATH | O_NOFOLLOW | O_CLOEXEC);
	return fd < 0 ? -errno : fd;
}

void handoff_asked(struct handoff *handoff, const struct channel_ask *ask)
{
	const char *name = ask->names;
	int codes[CHANNEL_PARTS_MAX], fds[CHANNEL_PARTS_MAX];
	int parent_fd, r;

	/* Asked by somebody who was offered nothing. */
	if (!handoff->channel || handoff->fd < 0)
		return;
	parent_fd = entry_open_path(handoff->fd, name, O_DIRECTORY);
	for (unsigned i = 0; i < ask->number; i++) {
		name += strlen(name) + 1;
		fds[i] = parent_fd < 0 ? parent_fd : open_part(parent_fd, name);
		codes[i] = fds[i] < 0 ? -fds[i] : 0;
	}
	r = channel_client_answer(handoff->channel, codes, fds, ask->number);
	for (unsigned i = 0; i < ask->number; i++)
		if (fds[i] >= 0)
			close(fds[i]);
	if (parent_fd >= 0)
		close(parent_fd);
	event_timer_set(&handoff->timer, HANDOFF_SILENCE_MS);
	/* Nobody will answer to what was not said. */
	if (r < 0)
		handoff->is_over = true;
}

void handoff_wake(struct handoff *handoff)
{
	handoff->is_over = true;
}

/* A stop has no say in it: the work is finished. */
static void await(struct handoff *handoff, int64_t patience_ms)
{
	event_timer_set(&handoff->timer, patience_ms);
	event_loop_wait_uncancelled(handoff->loop, &handoff->is_over);
	event_timer_clear(&handoff->timer);
}

void handoff_await_channel(struct handoff *handoff)
{
	handoff->is_over = channel_client_is_connected(handoff->channel);
	if (!handoff->is_over)
		await(handoff, HANDOFF_ABSENCE_MS);
}

static int give(void *context, const char *path, int fd, int code)
{
	struct handoff *handoff = context;
	char text[128];
	int r;

	if (!channel_client_is_connected(handoff->channel))
		return -ENOTCONN;
	handoff->is_over = false;
	handoff->verdict = CHANNEL_BUSY;
	r = channel_client_offer(handoff->channel, path, fd, code);
	if (r < 0) {
		log_warn(handoff->log, "Failed to hand an output over", log_string("path", path),
			 log_string("error", error_text(r, text, sizeof(text))));
		return r;
	}
	handoff->fd = fd;
	await(handoff, HANDOFF_SILENCE_MS);
	handoff->fd = -1;
	if (handoff->verdict == CHANNEL_TAKEN)
		return 0;
	/* An answer that comes later would be taken for one on the next output. */
	if (handoff->verdict == CHANNEL_BUSY)
		channel_client_done(handoff->channel);
	return handoff->verdict == CHANNEL_BUSY ? -ETIMEDOUT : -EPERM;
}

struct collect_taker handoff_taker(struct handoff *handoff)
{
	return (struct collect_taker){ .give = give, .context = handoff };
}
