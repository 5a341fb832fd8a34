#include "executor/process/terminal.h"

#include "executor/base/cleanup.h"
#include "executor/base/fd.h"

#include <errno.h>
#include <fcntl.h>
#include <pty.h>
#include <stdlib.h>
#include <sys/ioctl.h>

static void on_input(struct event_source *source, uint32_t revents)
{
	struct terminal *terminal = (struct terminal *)source;
	char text[4096];
	ssize_t n = read(STDIN_FILENO, text, sizeof(text));

	(void)revents;
	if (n < 0 && (errno == EINTR || errno == EAGAIN))
		return;
	if (n <= 0) {
		event_remove(source);
		return;
	}
	/* A child that does not read loses what exceeds the pty's buffer, as at a real one. */
	(void)!write(terminal->master_fd, text, (size_t)n);
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
		.master_fd = -1,
		.slave_fd = -1,
	};
	terminal->master_fd = open("/dev/ptmx", O_RDWR | O_NOCTTY | O_CLOEXEC | O_NONBLOCK);
	if (terminal->master_fd < 0 || unlockpt(terminal->master_fd) < 0)
		return -errno;
	terminal->slave_fd = ioctl(terminal->master_fd, TIOCGPTPEER, O_RDWR | O_NOCTTY | O_CLOEXEC);
	if (terminal->slave_fd < 0)
		return -errno;
	terminal_resize(terminal);
	if (tcgetattr(STDIN_FILENO, &terminal->saved) < 0)
		return -errno;
	raw = terminal->saved;
	cfmakeraw(&raw);
	if (tcsetattr(STDIN_FILENO, TCSADRAIN, &raw) < 0)
		return -errno;
	terminal->is_raw = true;
	return event_add(loop, &terminal->input, EPOLLIN);
}

void terminal_started(struct terminal *terminal)
{
	if (terminal->slave_fd >= 0)
		close(TAKE_FD(terminal->slave_fd));
}

void terminal_done(struct terminal *terminal)
{
	event_remove(&terminal->input);
	if (terminal->is_raw)
		tcsetattr(STDIN_FILENO, TCSADRAIN, &terminal->saved);
	terminal->is_raw = false;
	terminal_started(terminal);
	if (terminal->master_fd >= 0)
		close(TAKE_FD(terminal->master_fd));
}
