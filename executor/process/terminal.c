#include "executor/process/terminal.h"

#include "executor/base/cleanup.h"
#include "executor/base/fd.h"

#include <errno.h>
#include <fcntl.h>
#include <pty.h>
#include <stddef.h>
#include <stdlib.h>
#include <sys/ioctl.h>

/* A child that does not read holds the typist (who may be a program) back, as a real terminal
 * would; in line mode it is the kernel that drops what exceeds a line's 4,096 bytes. */
static void pass_on(struct terminal *terminal)
{
	ssize_t n = write(terminal->master_fd, terminal->typed + terminal->written,
			  terminal->pending - terminal->written);
	bool is_full = n < 0 && (errno == EAGAIN || errno == EINTR);

	if (n > 0)
		terminal->written += (size_t)n;
	if ((n < 0 && !is_full) || terminal->written == terminal->pending)
		terminal->written = terminal->pending = 0;
	if (terminal->pending > 0 && !terminal->room.loop &&
	    event_add(terminal->input.loop, &terminal->room, EPOLLOUT) == 0)
		event_remove(&terminal->input);
}

static void on_input(struct event_source *source, uint32_t revents)
{
	struct terminal *terminal = (struct terminal *)source;
	ssize_t n = read(STDIN_FILENO, terminal->typed, sizeof(terminal->typed));

	(void)revents;
	if (n < 0 && (errno == EINTR || errno == EAGAIN))
		return;
	if (n <= 0) {
		event_remove(source);
		return;
	}
	terminal->pending = (size_t)n;
	terminal->written = 0;
	pass_on(terminal);
}

static void on_room(struct event_source *source, uint32_t revents)
{
	struct terminal *terminal =
		(struct terminal *)((char *)source - offsetof(struct terminal, room));
	struct event_loop *loop = source->loop;

	(void)revents;
	pass_on(terminal);
	if (terminal->pending > 0)
		return;
	event_remove(source);
	(void)event_add(loop, &terminal->input, EPOLLIN);
}

void terminal_resize(struct terminal *terminal)
{
	struct winsize size;

	if (terminal->master_fd >= 0 && ioctl(STDIN_FILENO, TIOCGWINSZ, &size) == 0)
		ioctl(terminal->master_fd, TIOCSWINSZ, &size);
}

int terminal_init(struct terminal *terminal, struct event_loop *loop)
{
	struct termios raw;

	*terminal = (struct terminal){
		.input = { .callback = on_input, .name = "terminal", .fd = STDIN_FILENO },
		.room = { .callback = on_room, .name = "terminal room", .fd = -1 },
		.master_fd = -1,
		.slave_fd = -1,
	};
	terminal->master_fd = open("/dev/ptmx", O_RDWR | O_NOCTTY | O_CLOEXEC | O_NONBLOCK);
	if (terminal->master_fd < 0 || unlockpt(terminal->master_fd) < 0)
		return -errno;
	terminal->room.fd = terminal->master_fd;
	terminal->slave_fd = ioctl(terminal->master_fd, TIOCGPTPEER, O_RDWR | O_NOCTTY | O_CLOEXEC);
	if (terminal->slave_fd < 0)
		return -errno;
	terminal_resize(terminal);
	if (tcgetattr(STDIN_FILENO, &terminal->saved) < 0)
		return -errno;
	raw = terminal->saved;
	cfmakeraw(&raw);
	/* Not TCSADRAIN: a terminal that nobody reads would hold us for ever. */
	if (tcsetattr(STDIN_FILENO, TCSANOW, &raw) < 0)
		return -errno;
	terminal->is_raw = true;
	return event_add(loop, &terminal->input, EPOLLIN);
}

void terminal_child_ended(struct terminal *terminal)
{
	if (terminal->slave_fd >= 0)
		close(TAKE_FD(terminal->slave_fd));
}

void terminal_done(struct terminal *terminal)
{
	event_remove(&terminal->input);
	event_remove(&terminal->room);
	if (terminal->is_raw)
		tcsetattr(STDIN_FILENO, TCSANOW, &terminal->saved);
	terminal->is_raw = false;
	terminal_child_ended(terminal);
	if (terminal->master_fd >= 0)
		close(TAKE_FD(terminal->master_fd));
}
