#include "executor/process/terminal.h"

#include "executor/process/child.h"

#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <pty.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdint.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/wait.h>
#include <unistd.h>

#include <cmocka.h>

#include "tests/unit/scratch.h"

/* A person's side of the terminal that is our standard input. */
static int person_fd;
static struct event_loop *loop;
static struct terminal terminal;

static int become_interactive(void)
{
	struct winsize size = { .ws_row = 42, .ws_col = 123 };
	int slave_fd;

	if (openpty(&person_fd, &slave_fd, NULL, NULL, &size) < 0 || dup2(slave_fd, 0) < 0)
		return -1;
	close(slave_fd);
	loop = event_loop_new();
	return loop ? terminal_init(&terminal, loop) : -1;
}

static bool is_raw(int fd)
{
	struct termios now;

	return tcgetattr(fd, &now) == 0 && !(now.c_lflag & (ICANON | ECHO | ISIG)) &&
	       !(now.c_oflag & OPOST);
}

/* A pty passes bytes on in its own time. */
static bool becomes_readable(int fd)
{
	struct pollfd poll_fd = { .fd = fd, .events = POLLIN };

	return poll(&poll_fd, 1, 2000) == 1;
}

/* Waits for what comes out of a descriptor; true if it is the text. */
static bool comes(int fd, const char *text)
{
	char got[256] = "";
	size_t size = 0;

	while (size < strlen(text) && becomes_readable(fd)) {
		ssize_t n = read(fd, got + size, strlen(text) - size);

		if (n <= 0)
			break;
		size += (size_t)n;
	}
	return strcmp(got, text) == 0;
}

static int pass_input_on(void *context)
{
	struct termios raw;

	(void)context;
	if (become_interactive() < 0)
		return __LINE__;
	if (!is_raw(0) || !terminal.is_raw)
		return __LINE__;
	/* The child's side is an ordinary terminal still; make it quiet for the comparison. */
	if (is_raw(terminal.slave_fd) || tcgetattr(terminal.slave_fd, &raw) < 0)
		return __LINE__;
	cfmakeraw(&raw);
	tcsetattr(terminal.slave_fd, TCSANOW, &raw);
	if (write(person_fd, "ls\r\003", 4) != 4 || !becomes_readable(0) ||
	    event_loop_poll(loop) < 0)
		return __LINE__;
	if (!comes(terminal.slave_fd, "ls\r\003"))
		return __LINE__;
	terminal_done(&terminal);
	if (is_raw(0) || terminal.master_fd != -1 || terminal.slave_fd != -1)
		return __LINE__;
	terminal_done(&terminal);
	event_loop_free(loop);
	return 0;
}

static void test_input_is_passed_on(void **state)
{
	(void)state;
	scratch_run_child(pass_input_on, NULL);
}

static bool has_size(int fd, unsigned rows, unsigned columns)
{
	struct winsize size;

	return ioctl(fd, TIOCGWINSZ, &size) == 0 && size.ws_row == rows && size.ws_col == columns;
}

static int follow_size(void *context)
{
	struct winsize size = { .ws_row = 7, .ws_col = 11 };

	(void)context;
	if (become_interactive() < 0 || !has_size(terminal.slave_fd, 42, 123))
		return __LINE__;
	if (ioctl(person_fd, TIOCSWINSZ, &size) < 0)
		return __LINE__;
	terminal_resize(&terminal);
	if (!has_size(terminal.slave_fd, 7, 11))
		return __LINE__;
	terminal_done(&terminal);
	terminal_resize(&terminal); /* harmless afterwards */
	event_loop_free(loop);
	return 0;
}

static void test_window_size(void **state)
{
	(void)state;
	scratch_run_child(follow_size, NULL);
}

/* The child has it as its controlling terminal, in a session of its own. */
static int own_terminal(void *context)
{
	char *argv[] = { (char *)"sh", (char *)"-c",
			 (char *)"test -t 0 && test -t 1 && test -t 2 && : >/dev/tty && "
				 "test $(cut -d' ' -f6 /proc/$$/stat) = $$ && stty -onlcr && "
				 "echo yes",
			 NULL };
	const struct signals unblocked = { .inherited_mask = 0 };
	struct child_options options = { .path = "/bin/sh",
					 .argv = argv,
					 .envp = environ,
					 .has_terminal = true,
					 .signals = &unblocked };
	struct error err = ERROR_NONE;
	int status;
	pid_t pid;

	(void)context;
	if (become_interactive() < 0)
		return __LINE__;
	options.stdin_fd = options.stdout_fd = options.stderr_fd = terminal.slave_fd;
	if (child_spawn(&options, &pid, &err) < 0)
		return __LINE__;
	terminal_child_ended(&terminal);
	if (terminal.slave_fd != -1)
		return __LINE__;
	if (!comes(terminal.master_fd, "yes\n"))
		return __LINE__;
	if (waitpid(pid, &status, 0) != pid || status != 0)
		return __LINE__;
	terminal_done(&terminal);
	event_loop_free(loop);
	return 0;
}

static void test_childs_terminal(void **state)
{
	(void)state;
	scratch_run_child(own_terminal, NULL);
}

/* A person who hangs up ends the input and nothing else. */
static int hang_up(void *context)
{
	(void)context;
	if (become_interactive() < 0)
		return __LINE__;
	close(person_fd);
	if (!becomes_readable(0) || event_loop_poll(loop) < 0 || terminal.input.loop)
		return __LINE__;
	terminal_done(&terminal);
	event_loop_free(loop);
	return 0;
}

static void test_hang_up(void **state)
{
	(void)state;
	scratch_run_child(hang_up, NULL);
}

static char pattern(size_t i)
{
	return (char)('a' + i % 23);
}

/* Types until nothing more is taken; the number of bytes. */
static size_t type_all_that_fits(void)
{
	size_t typed = 0;
	unsigned idle = 0;

	while (idle < 20) {
		char c = pattern(typed);
		bool is_taken = write(person_fd, &c, 1) == 1;

		typed += is_taken;
		if (is_taken && typed % 512)
			continue;
		idle = is_taken ? 0 : idle + 1;
		if (!is_taken)
			usleep(1000);
		if (event_loop_poll(loop) < 0)
			return 0;
	}
	return typed;
}

/* Nobody reads: the typist is held back, the loop goes on, and no key is lost. */
static int type_too_much(void *context)
{
	struct termios raw;
	size_t typed, got = 0;

	(void)context;
	if (become_interactive() < 0 || tcgetattr(terminal.slave_fd, &raw) < 0)
		return __LINE__;
	cfmakeraw(&raw);
	tcsetattr(terminal.slave_fd, TCSANOW, &raw);
	fcntl(person_fd, F_SETFL, O_NONBLOCK);
	fcntl(terminal.slave_fd, F_SETFL, O_NONBLOCK);
	typed = type_all_that_fits();
	if (typed < 4096 || terminal.input.loop)
		return __LINE__;
	for (unsigned idle = 0; got < typed && idle < 2000;) {
		char c;

		if (read(terminal.slave_fd, &c, 1) == 1) {
			if (c != pattern(got++))
				return __LINE__;
			idle = 0;
			continue;
		}
		idle++;
		usleep(1000);
		if (event_loop_poll(loop) < 0)
			return __LINE__;
	}
	if (got != typed || !terminal.input.loop)
		return __LINE__;
	terminal_done(&terminal);
	event_loop_free(loop);
	return 0;
}

static void test_too_much_input(void **state)
{
	(void)state;
	scratch_run_child(type_too_much, NULL);
}

static int no_terminal(void *context)
{
	int fd = open("/dev/null", O_RDONLY | O_CLOEXEC);

	(void)context;
	dup2(fd, 0);
	loop = event_loop_new();
	if (terminal_init(&terminal, loop) != -ENOTTY)
		return __LINE__;
	terminal_done(&terminal);
	event_loop_free(loop);
	return 0;
}

static void test_standard_input_is_no_terminal(void **state)
{
	(void)state;
	scratch_run_child(no_terminal, NULL);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_input_is_passed_on),
		cmocka_unit_test(test_window_size),
		cmocka_unit_test(test_childs_terminal),
		cmocka_unit_test(test_hang_up),
		cmocka_unit_test(test_too_much_input),
		cmocka_unit_test(test_standard_input_is_no_terminal),
	};

	alarm(SCRATCH_SECONDS_MAX);
	return cmocka_run_group_tests(tests, NULL, NULL);
}
