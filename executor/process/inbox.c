#include "executor/process/inbox.h"

#include "executor/base/cleanup.h"
#include "executor/process/signals.h"

#include <errno.h>
#include <fcntl.h>
#include <stddef.h>
#include <string.h>
#include <sys/stat.h>

#define NAME "signal"
#define TAKEN_NAME "signal.taken"

static bool is_same(const struct inbox_text *a, const struct inbox_text *b)
{
	return a->size == b->size && memcmp(a->bytes, b->bytes, a->size) == 0;
}

static bool is_same_file(int a, int b)
{
	struct stat x, y;

	return a >= 0 && b >= 0 && fstat(a, &x) == 0 && fstat(b, &y) == 0 && x.st_dev == y.st_dev &&
	       x.st_ino == y.st_ino;
}

/* The first bytes of the file, as many as a number may have. */
static int read_text(int fd, struct inbox_text *ret)
{
	ssize_t n = pread(fd, ret->bytes, sizeof(ret->bytes), 0);

	if (n < 0)
		return -errno;
	ret->size = (size_t)n;
	return 0;
}

/* No signal has a number above 64, so 7, 8 and 9 stand alone. */
static bool may_go_on(const struct inbox_text *text)
{
	return text->size == 1 && text->bytes[0] >= '0' && text->bytes[0] <= '6';
}

/* What the text asks for: a signal; -EAGAIN if its writer may not be ready, -EINVAL for nothing. */
static int judge(struct inbox *inbox, const struct inbox_text *text, struct inbox_text *unsettled)
{
	bool is_final = !may_go_on(text) || (inbox->is_settled && is_same(text, unsettled));

	if (is_final) {
		unsettled->size = 0;
		return files_parse_number(text->bytes, text->size, 1, SIGNALS_MAX);
	}
	*unsettled = *text;
	inbox->is_settled = false;
	event_timer_set(&inbox->settle, INBOX_SETTLE_MS);
	return -EAGAIN;
}

static void deliver(struct inbox *inbox, int signo)
{
	if (signo > 0)
		inbox->on_signal(inbox, signo);
}

/* Its writer may have it open still, and have written anew. */
static void look_at_taken(struct inbox *inbox)
{
	struct inbox_text text;
	int r;

	if (inbox->taken_fd < 0 || read_text(inbox->taken_fd, &text) < 0 ||
	    is_same(&text, &inbox->taken))
		return;
	r = judge(inbox, &text, &inbox->unsettled[1]);
	if (r == -EAGAIN && text.size > 0)
		return;
	inbox->taken = text;
	deliver(inbox, r);
}

/* Takes over the descriptor of a file whose content has been acted on. */
static void remember(struct inbox *inbox, int fd, const struct inbox_text *text)
{
	if (inbox->taken_fd >= 0)
		close(inbox->taken_fd);
	inbox->taken_fd = fd;
	inbox->taken = *text;
}

/* The file (whose descriptor is taken over) is ours from now on, and so is one that has got its name
 * meanwhile. */
static void take(struct inbox *inbox, int fd, const struct inbox_text *text, int signo)
{
	_cleanup_close_ int last_fd = -1;
	struct inbox_text last;

	if (files_rename(inbox->root, inbox->container, NAME, TAKEN_NAME) == 0)
		last_fd = files_open(inbox->root, inbox->container, TAKEN_NAME, O_RDONLY, NULL);
	else
		files_remove(inbox->root, inbox->container, NAME);
	remember(inbox, fd, text);
	deliver(inbox, signo);
	if (last_fd >= 0 && !is_same_file(last_fd, fd) && read_text(last_fd, &last) == 0) {
		signo = files_parse_number(last.bytes, last.size, 1, SIGNALS_MAX);
		remember(inbox, TAKE_FD(last_fd), &last);
		deliver(inbox, signo);
	}
	files_remove(inbox->root, inbox->container, TAKEN_NAME);
	look_at_taken(inbox);
}

static void look_at_name(struct inbox *inbox)
{
	_cleanup_close_ int fd = files_open(inbox->root, inbox->container, NAME, O_RDONLY, NULL);
	struct inbox_text text;
	struct stat st;
	int r;

	if (fd == -ENOENT)
		return;
	/* A link, a socket, a pipe, a directory: not from anybody who means it. */
	if (fd < 0 || fstat(fd, &st) < 0 || !S_ISREG(st.st_mode) || read_text(fd, &text) < 0) {
		files_remove(inbox->root, inbox->container, NAME);
		return;
	}
	/* It could not be removed. */
	if (is_same_file(fd, inbox->taken_fd) && is_same(&text, &inbox->taken))
		return;
	if (inbox->watch)
		event_watch_add_file(inbox->watch, fd);
	r = judge(inbox, &text, &inbox->unsettled[0]);
	if (r != -EAGAIN)
		take(inbox, TAKE_FD(fd), &text, r);
}

void inbox_look(struct inbox *inbox, struct event_watch *watch)
{
	inbox->watch = watch;
	look_at_taken(inbox);
	look_at_name(inbox);
}

static void on_settled(struct event_timer *timer)
{
	struct inbox *inbox = (struct inbox *)((char *)timer - offsetof(struct inbox, settle));

	inbox->is_settled = true;
	inbox_look(inbox, inbox->watch);
	if (!inbox->is_settled)
		return;
	inbox->unsettled[0].size = inbox->unsettled[1].size = 0;
}

int inbox_init(struct inbox *inbox, struct event_loop *loop, const char *root,
	       const char *container)
{
	*inbox = (struct inbox){
		.loop = loop,
		.root = root,
		.container = container,
		.taken_fd = -1,
		.is_settled = true,
	};
	return event_timer_init(&inbox->settle, loop, on_settled);
}

void inbox_done(struct inbox *inbox)
{
	if (!inbox->loop)
		return;
	event_timer_done(&inbox->settle);
	if (inbox->taken_fd >= 0)
		close(TAKE_FD(inbox->taken_fd));
	inbox->loop = NULL;
}
