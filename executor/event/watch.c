#include "executor/event/watch.h"

#include "executor/base/cleanup.h"

#include <errno.h>
#include <stddef.h>
#include <stdio.h>
#include <sys/inotify.h>

static void on_poll(struct event_timer *timer)
{
	struct event_watch *watch =
		(struct event_watch *)((char *)timer - offsetof(struct event_watch, poll));

	event_timer_set(timer, EVENT_WATCH_POLL_MS);
	watch->callback(watch);
}

static int start_polling(struct event_watch *watch)
{
	watch->is_polling = true;
	event_timer_set(&watch->poll, EVENT_WATCH_POLL_MS);
	return 0;
}

static void on_inotify(struct event_source *source, uint32_t revents)
{
	char events[4096] __attribute__((aligned(__alignof__(struct inotify_event))));

	(void)revents;
	/* Which name it was does not matter: one look answers a whole burst. */
	while (read(source->fd, events, sizeof(events)) > 0)
		;
	((struct event_watch *)source)->callback((struct event_watch *)source);
}

int event_watch_init(struct event_watch *watch, struct event_loop *loop,
		     void (*callback)(struct event_watch *watch))
{
	int r;

	*watch = (struct event_watch){
		.source = { .callback = on_inotify, .name = "inotify", .fd = -1 },
		.callback = callback,
	};
	r = event_timer_init(&watch->poll, loop, on_poll);
	if (r < 0)
		return r;
	watch->source.fd = inotify_init1(IN_CLOEXEC | IN_NONBLOCK);
	if (watch->source.fd < 0)
		return start_polling(watch);
	r = event_add(loop, &watch->source, EPOLLIN);
	if (r < 0) {
		close(TAKE_FD(watch->source.fd));
		return start_polling(watch);
	}
	return 0;
}

void event_watch_add(struct event_watch *watch, const char *directory, enum event_watch_kind kind)
{
	uint32_t mask = IN_CREATE | IN_MOVED_TO | IN_CLOSE_WRITE | IN_ONLYDIR |
			(kind == EVENT_WATCH_CONTENT ? IN_MODIFY : 0);

	if (watch->source.fd < 0 || inotify_add_watch(watch->source.fd, directory, mask) < 0)
		start_polling(watch);
}

void event_watch_add_file(struct event_watch *watch, int fd)
{
	char path[32];

	snprintf(path, sizeof(path), "/proc/self/fd/%d", fd);
	if (watch->source.fd >= 0)
		(void)inotify_add_watch(watch->source.fd, path, IN_MODIFY);
}

void event_watch_done(struct event_watch *watch)
{
	event_timer_done(&watch->poll);
	if (watch->source.callback && watch->source.fd >= 0) {
		event_remove(&watch->source);
		close(TAKE_FD(watch->source.fd));
	}
}
