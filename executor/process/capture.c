#include "executor/process/capture.h"

#include "executor/base/cleanup.h"
#include "executor/base/fd.h"

#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <stdio.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/stat.h>

#define CHUNK_BYTES (64 * 1024)

/* Bytes moved before the loop gets its turn again, so that a flood does not delay signals. */
#define BURST_BYTES (1024 * 1024)

/* A pty of Linux holds 8 KiB on the way, and 4 KiB that its line discipline has taken in. */
#define TERMINAL_BYTES (32 * 1024)

/* A write of this size to something that polls writable does not block (PIPE_BUF). */
#define SLOW_OUTPUT_BYTES 4096

static void end(struct capture *capture)
{
	if (capture->is_ended)
		return;
	capture->is_ended = true;
	event_remove(&capture->input);
	event_remove(&capture->output);
	event_timer_clear(&capture->orphans);
	close(TAKE_FD(capture->input.fd));
	capture->on_end(capture, capture->context);
}

static void keep(struct capture *capture, const char *data, size_t size)
{
	for (size_t i = 0; i < CAPTURE_FILES_MAX; i++) {
		int r = capture->files[i] >= 0 ? fd_write_all(capture->files[i], data, size) : 0;

		if (r < 0 && capture->error.code == 0)
			error_errno(&capture->error, r, "keep a copy of the output");
	}
}

static void account(struct capture *capture, size_t size)
{
	/* More than it was owed comes from orphans; -1 has a meaning of its own. */
	if (capture->owed > 0)
		capture->owed = capture->owed > (long long)size ? capture->owed - (long long)size :
								  0;
}

/* Lets the loop tell when our output takes bytes again. The input is taken off the loop so long: a
 * pipe whose writers are gone reports EPOLLHUP whatever is asked for. False for an output that
 * epoll does not know (a regular file): it is always writable. */
static bool wait_for_room(struct capture *capture)
{
	if (!capture->output.loop && event_add(capture->loop, &capture->output, EPOLLOUT) < 0)
		return false;
	event_remove(&capture->input);
	return true;
}

/* Moves bytes with tee: >0 moved, 0 end of input, -EAGAIN nothing (more) can be moved now. */
static ssize_t move_by_tee(struct capture *capture)
{
	ssize_t n = tee(capture->input.fd, capture->output_fd, CHUNK_BYTES, SPLICE_F_NONBLOCK);
	ssize_t taken;

	if (n < 0 && errno == EPIPE) {
		capture->is_output_gone = true;
		return 1;
	}
	if (n < 0 && errno == EAGAIN) {
		struct pollfd input = { .fd = capture->input.fd, .events = POLLIN };

		/* Which side was it? Only a full output is worth waiting for on the output. */
		if (poll(&input, 1, 0) == 1 && (input.revents & POLLIN))
			wait_for_room(capture);
		return -EAGAIN;
	}
	if (n <= 0)
		return n < 0 ? -errno : 0;
	taken = read(capture->input.fd, capture->chunk, (size_t)n);
	if (taken != n)
		return -EIO; /* we are the only reader: cannot happen */
	keep(capture, capture->chunk, (size_t)n);
	account(capture, (size_t)n);
	return n;
}

/* Writes what is pending to an output that is no pipe: 0 all written, -EAGAIN it is full. */
static int flush_pending(struct capture *capture)
{
	struct pollfd room = { .fd = capture->output_fd, .events = POLLOUT };

	while (capture->written < capture->pending && !capture->is_output_gone) {
		size_t size = capture->pending - capture->written;
		ssize_t n;

		if (poll(&room, 1, 0) == 0 && wait_for_room(capture))
			return -EAGAIN;
		n = write(capture->output_fd, capture->chunk + capture->written,
			  size < SLOW_OUTPUT_BYTES ? size : SLOW_OUTPUT_BYTES);
		if (n > 0)
			capture->written += (size_t)n;
		else if (n < 0 && errno == EAGAIN && wait_for_room(capture))
			return -EAGAIN;
		else if (n < 0 && errno != EINTR && errno != EAGAIN)
			capture->is_output_gone = true;
	}
	capture->pending = capture->written = 0;
	return 0;
}

static ssize_t move_by_copy(struct capture *capture)
{
	ssize_t n = read(capture->input.fd, capture->chunk, CHUNK_BYTES);

	if (n < 0)
		return errno == EINTR ? -EAGAIN : -errno;
	if (n == 0)
		return 0;
	keep(capture, capture->chunk, (size_t)n);
	account(capture, (size_t)n);
	capture->pending = (size_t)n;
	capture->written = 0;
	return flush_pending(capture) < 0 ? -EAGAIN : n;
}

/* The child is gone, and all that it wrote has been passed on: only orphans are left. */
static bool has_only_orphans(const struct capture *capture)
{
	return capture->owed <= 0 && capture->owed != -1 && capture->pending == 0;
}

static void pump(struct capture *capture)
{
	size_t moved = 0;

	if (capture->pending > 0 && flush_pending(capture) < 0)
		return;
	while (moved < BURST_BYTES) {
		ssize_t n = capture->can_tee && !capture->is_output_gone ? move_by_tee(capture) :
									   move_by_copy(capture);

		if (n == -EAGAIN)
			break;
		if (n <= 0) {
			end(capture);
			return;
		}
		moved += (size_t)n;
	}
	if (has_only_orphans(capture) && !capture->has_orphan_time_left)
		end(capture);
}

static void on_input(struct event_source *source, uint32_t revents)
{
	(void)revents;
	pump((struct capture *)((char *)source - offsetof(struct capture, input)));
}

static void on_output(struct event_source *source, uint32_t revents)
{
	struct capture *capture =
		(struct capture *)((char *)source - offsetof(struct capture, output));

	(void)revents;
	event_remove(source);
	if (event_add(capture->loop, &capture->input, EPOLLIN) < 0)
		end(capture);
	else
		pump(capture);
}

static void on_orphan_time(struct event_timer *timer)
{
	struct capture *capture =
		(struct capture *)((char *)timer - offsetof(struct capture, orphans));

	capture->has_orphan_time_left = false;
	if (has_only_orphans(capture))
		end(capture);
}

/* A terminal polls writable as soon as there is room for one byte; O_NONBLOCK must be our own, not
 * that of everybody who has it open. */
static void reopen_terminal(struct capture *capture)
{
	char path[32];
	int fd;

	if (!isatty(capture->output_fd))
		return;
	snprintf(path, sizeof(path), "/proc/self/fd/%d", capture->output_fd);
	fd = open(path, O_WRONLY | O_NONBLOCK | O_NOCTTY | O_CLOEXEC);
	if (fd < 0)
		return;
	capture->output_fd = capture->output.fd = fd;
	capture->owns_output = true;
}

int capture_init(struct capture *capture, struct event_loop *loop, int input_fd, int output_fd,
		 const int files[CAPTURE_FILES_MAX])
{
	struct stat in, out;
	int r;

	*capture = (struct capture){
		.input = { .callback = on_input, .name = "capture input", .fd = input_fd },
		.output = { .callback = on_output, .name = "capture output", .fd = output_fd },
		.orphans.source.fd = -1,
		.loop = loop,
		.output_fd = output_fd,
		.files = { files[0], files[1] },
		.owed = -1,
	};
	capture->chunk = malloc(CHUNK_BYTES);
	if (!capture->chunk)
		return -ENOMEM;
	capture->can_tee = fstat(input_fd, &in) == 0 && S_ISFIFO(in.st_mode) &&
			   fstat(output_fd, &out) == 0 && S_ISFIFO(out.st_mode);
	reopen_terminal(capture);
	if (fcntl(input_fd, F_SETFL, O_NONBLOCK) < 0)
		return -errno;
	r = event_timer_init(&capture->orphans, loop, on_orphan_time);
	if (r < 0)
		return r;
	return event_add(loop, &capture->input, EPOLLIN);
}

void capture_done(struct capture *capture)
{
	event_remove(&capture->input);
	event_remove(&capture->output);
	event_timer_done(&capture->orphans);
	if (capture->input.fd >= 0)
		close(TAKE_FD(capture->input.fd));
	if (capture->owns_output)
		close(TAKE_FD(capture->output_fd));
	capture->owns_output = false;
	free(TAKE_PTR(capture->chunk));
}

/* How much a terminal holds is not to be learnt (FIONREAD leaves out what is on its way between
 * the two ends), but reading it empty gets all of it. It is less than this. */
static void empty_terminal(struct capture *capture)
{
	char *grown = realloc(capture->chunk, CHUNK_BYTES + TERMINAL_BYTES);
	size_t room = TERMINAL_BYTES;
	ssize_t n;

	if (!grown)
		return;
	capture->chunk = grown;
	while (room > 0 && (n = read(capture->input.fd, grown + capture->pending, room)) > 0) {
		keep(capture, grown + capture->pending, (size_t)n);
		capture->pending += (size_t)n;
		room -= (size_t)n;
	}
}

static long long count_left(struct capture *capture)
{
	int left = 0;

	return ioctl(capture->input.fd, FIONREAD, &left) < 0 ? 0 : left;
}

void capture_child_ended(struct capture *capture)
{
	if (capture->is_ended || capture->owed != -1)
		return;
	if (isatty(capture->input.fd))
		empty_terminal(capture);
	capture->owed = count_left(capture);
	capture->has_orphan_time_left = true;
	event_timer_set(&capture->orphans, CAPTURE_ORPHAN_MS);
	pump(capture);
}

size_t capture_give_up(struct capture *capture)
{
	size_t dropped = capture->pending - capture->written;

	if (capture->is_ended || capture->owed == -1)
		return 0;
	dropped += (size_t)capture->owed;
	capture->is_output_gone = true;
	capture->has_orphan_time_left = false;
	event_remove(&capture->output);
	if (!capture->input.loop && event_add(capture->loop, &capture->input, EPOLLIN) < 0)
		end(capture);
	else
		pump(capture);
	return dropped;
}
