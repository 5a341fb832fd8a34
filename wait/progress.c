#include "wait/progress.h"

#include "executor/base/cleanup.h"
#include "executor/base/clock.h"
#include "executor/base/path.h"
#include "executor/base/text.h"

#include <fcntl.h>
#include <stddef.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>

/* The last line is in the last bytes of the file. */
#define TAIL_BYTES 1024

static bool parse_number(const char *start, size_t size, int64_t *ret)
{
	char digits[24];

	if (size == 0 || size >= sizeof(digits) || *start < '0' || *start > '9')
		return false;
	memcpy(digits, start, size);
	digits[size] = '\0';
	return text_parse_int64(digits, ret) == 0;
}

bool progress_parse(const char *text, char ret[PROGRESS_TEXT_MAX])
{
	size_t end = strlen(text), start, slash;
	int64_t n, m;

	while (end > 0 && strchr(" \t\r\n", text[end - 1]))
		end--;
	for (start = end; start > 0 && text[start - 1] != '\n';)
		start--;
	while (start < end && strchr(" \t\r", text[start]))
		start++;
	slash = start + strcspn(text + start, "/");
	if (slash >= end || !parse_number(text + start, slash - start, &n) ||
	    !parse_number(text + slash + 1, end - slash - 1, &m) || m <= 0 || n > m)
		return false;
	snprintf(ret, PROGRESS_TEXT_MAX, "%lld/%lld", (long long)n, (long long)m);
	return true;
}

/* The end of the file; it belongs to user code, so nothing but a regular file is read. */
static bool read_tail(const char *path, char text[TAIL_BYTES + 1])
{
	_cleanup_close_ int fd =
		open(path, O_RDONLY | O_CLOEXEC | O_NOFOLLOW | O_NONBLOCK | O_NOCTTY);
	struct stat st;
	ssize_t n;

	if (fd < 0 || fstat(fd, &st) < 0 || !S_ISREG(st.st_mode))
		return false;
	n = pread(fd, text, TAIL_BYTES, st.st_size > TAIL_BYTES ? st.st_size - TAIL_BYTES : 0);
	if (n <= 0)
		return false;
	text[n] = '\0';
	return memchr(text, '\0', (size_t)n) == NULL;
}

static void send(struct progress *progress)
{
	progress->is_pending = false;
	progress->sent_ms = clock_now_ms();
	task_result_set_progress(progress->result, progress->seen);
}

static void on_tick(struct event_timer *timer)
{
	send((struct progress *)((char *)timer - offsetof(struct progress, tick)));
}

static bool look(struct progress *progress)
{
	char text[TAIL_BYTES + 1], value[PROGRESS_TEXT_MAX];

	if (!read_tail(progress->path, text) || !progress_parse(text, value) ||
	    strcmp(value, progress->seen) == 0)
		return false;
	memcpy(progress->seen, value, sizeof(value));
	log_debug(progress->log, "Progress", log_string("progress", value));
	return true;
}

void progress_look(struct progress *progress)
{
	int64_t due_ms = progress->sent_ms + progress->tick_ms - clock_now_ms();

	if (!progress->path || !look(progress) || progress->is_pending)
		return;
	progress->is_pending = true;
	event_timer_set(&progress->tick, progress->sent_ms && due_ms > 0 ? due_ms : 0);
}

void progress_init(struct progress *progress, struct event_watch *watch, struct event_loop *loop,
		   const struct environment *environment, struct task_result *result,
		   const struct log *log)
{
	_cleanup_free_ char *directory = NULL;
	char *slash;

	*progress = (struct progress){ .result = result,
				       .log = log,
				       .tick_ms = environment->progress_patch_ms };
	if (!*environment->progress_file ||
	    path_make_parents(environment->progress_file, 0777, NULL) < 0)
		return;
	directory = strdup(environment->progress_file);
	slash = directory ? strrchr(directory, '/') : NULL;
	if (!slash || slash == directory || event_timer_init(&progress->tick, loop, on_tick) < 0)
		return;
	*slash = '\0';
	progress->path = environment->progress_file;
	event_watch_add(watch, directory, EVENT_WATCH_CONTENT);
	progress_look(progress);
}

void progress_finish(struct progress *progress)
{
	if (progress->path && (look(progress) || progress->is_pending))
		send(progress);
	event_remove(&progress->tick.source);
	progress->path = NULL;
}

void progress_done(struct progress *progress)
{
	event_timer_done(&progress->tick);
	progress->path = NULL;
}
