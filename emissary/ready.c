#include "emissary/ready.h"

#include "executor/base/clock.h"
#include "executor/base/fd.h"
#include "executor/base/path.h"
#include "executor/event/watch.h"
#include "executor/process/files.h"

#include <errno.h>
#include <stddef.h>
#include <stdio.h>
#include <string.h>
#include <time.h>

/* Age is not an event: it has to be looked at. */
#define LOOK_MS 2000

#define STATUS_BYTES_MAX 8192

struct ready {
	struct event_watch watch;
	struct event_timer timer;
	const char *root;
	int64_t started_ms;
	enum ready_verdict verdict;
	bool is_over;
	int failure; /* errno: why there is no looking at it */
	char reason[ERROR_MESSAGE_MAX];
};

static bool first_line_is(const char *text, const char *word)
{
	size_t size = strlen(word);

	return strncmp(text, word, size) == 0 && (text[size] == '\n' || text[size] == '\0');
}

enum ready_verdict ready_judge(const char *text, int64_t age_ms)
{
	if (text && first_line_is(text, FILES_STATUS_READY))
		return READY_GO;
	if (text && first_line_is(text, FILES_STATUS_FAILED))
		return READY_FAILED;
	return age_ms > READY_SILENCE_MS ? READY_DEAD : READY_WAIT;
}

/* How long ago the file was written, by the clock that stamped it. */
static int64_t file_age_ms(const struct stat *st)
{
	struct timespec now;

	clock_gettime(CLOCK_REALTIME, &now);
	return (now.tv_sec - st->st_mtim.tv_sec) * 1000LL +
	       (now.tv_nsec - st->st_mtim.tv_nsec) / 1000000;
}

static void keep_reason(struct ready *ready, const char *text)
{
	const char *line = strchr(text, '\n');
	size_t size;

	line = line ? line + 1 : "the supervisor gave no reason";
	size = strlen(line);
	while (size > 0 && strchr(" \t\r\n", line[size - 1]))
		size--;
	snprintf(ready->reason, sizeof(ready->reason), "%.*s", (int)size, line);
}

static void look(struct ready *ready)
{
	_cleanup_buffer_ struct buffer text = BUFFER_INIT(STATUS_BYTES_MAX);
	int64_t age_ms = clock_now_ms() - ready->started_ms;
	char path[PATH_MAX_BYTES];
	struct stat st;
	bool is_there;

	snprintf(path, sizeof(path), "%s/" FILES_STATUS_NAME, ready->root);
	is_there = lstat(path, &st) == 0;
	/* Not to be there yet is what it may be; anything else will not get better. */
	if (!is_there && errno != ENOENT) {
		ready->failure = errno;
		ready->is_over = true;
		return;
	}
	if (is_there)
		age_ms = file_age_ms(&st);
	/* Replaced between the two calls: the next look will tell. */
	if (is_there &&
	    file_read_beneath(ready->root, FILES_STATUS_NAME, BENEATH_REFUSE, &text, NULL) < 0)
		buffer_reset(&text);
	ready->verdict = ready_judge(is_there ? buffer_string(&text) : NULL, age_ms);
	if (ready->verdict == READY_FAILED)
		keep_reason(ready, buffer_string(&text));
	ready->is_over = ready->verdict != READY_WAIT;
}

static void on_change(struct event_watch *watch)
{
	look((struct ready *)((char *)watch - offsetof(struct ready, watch)));
}

static void on_timer(struct event_timer *timer)
{
	event_timer_set(timer, LOOK_MS);
	look((struct ready *)((char *)timer - offsetof(struct ready, timer)));
}

static int await(struct ready *ready, struct event_loop *loop, const char *root, struct error *err)
{
	int r = event_watch_init(&ready->watch, loop, on_change);

	if (r == 0)
		r = event_timer_init(&ready->timer, loop, on_timer);
	if (r < 0)
		return error_errno(err, r, "watch %s", root);
	event_watch_add(&ready->watch, root, EVENT_WATCH_NAMES);
	event_timer_set(&ready->timer, LOOK_MS);
	look(ready);
	if (event_loop_wait(loop, &ready->is_over) < 0)
		return event_loop_cancelled_error(err);
	if (ready->failure)
		return error_errno(err, -ready->failure, "look at %s/" FILES_STATUS_NAME, root);
	if (ready->verdict == READY_FAILED)
		return error_set(err, -EPROTO, "supervisor reported pre-main failure: %s",
				 ready->reason);
	if (ready->verdict == READY_DEAD)
		return error_set(err, -ETIMEDOUT,
				 "supervisor presumed dead: no sign of life for %d s",
				 READY_SILENCE_MS / 1000);
	return 0;
}

int ready_await(struct event_loop *loop, const char *root, struct error *err)
{
	struct ready ready = { .root = root, .started_ms = clock_now_ms() };
	int r = await(&ready, loop, root, err);

	event_watch_done(&ready.watch);
	event_timer_done(&ready.timer);
	return r;
}
