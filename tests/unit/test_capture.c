#include "executor/process/capture.h"

#include "executor/base/cleanup.h"
#include "executor/base/clock.h"

#include <errno.h>
#include <fcntl.h>
#include <pty.h>
#include <setjmp.h>
#include <signal.h>
#include <stdarg.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/wait.h>

#include <cmocka.h>

#define FLOOD_BYTES (50 * 1024 * 1024)

/* A capture between a child's pipe and an output of ours. */
static struct {
	struct event_loop *loop;
	struct capture capture;
	int child_fd; /* the write end, as the child has it; -1 = closed */
	int reader_fd; /* what our own reader reads; -1 = none */
	int output_fd;
	int copies[2];
	bool is_ended;
	int ends;
} it;

static void on_end(struct capture *capture, void *context)
{
	assert_ptr_equal(capture, &it.capture);
	assert_ptr_equal(context, &it);
	it.is_ended = true;
	it.ends++;
}

static void start(int reader_fd, int output_fd)
{
	int ends[2];

	assert_int_equal(pipe2(ends, O_CLOEXEC), 0);
	it.child_fd = ends[1];
	it.reader_fd = reader_fd;
	it.output_fd = output_fd;
	it.copies[0] = memfd_create("stdout", MFD_CLOEXEC);
	it.copies[1] = memfd_create("combined", MFD_CLOEXEC);
	it.is_ended = false;
	it.ends = 0;
	assert_int_equal(capture_init(&it.capture, it.loop, ends[0], output_fd, it.copies), 0);
	it.capture.on_end = on_end;
	it.capture.context = &it;
}

static void start_with_pipe(void)
{
	int ends[2];

	assert_int_equal(pipe2(ends, O_CLOEXEC), 0);
	start(ends[0], ends[1]);
}

static void start_with_socket(void)
{
	int ends[2];

	assert_int_equal(socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, ends), 0);
	start(ends[0], ends[1]);
}

static void start_with_terminal(void)
{
	struct termios raw;
	int master, slave;

	assert_int_equal(openpty(&master, &slave, NULL, NULL, NULL), 0);
	assert_int_equal(tcgetattr(slave, &raw), 0);
	cfmakeraw(&raw);
	tcsetattr(slave, TCSANOW, &raw);
	start(master, slave);
}

static void close_child(void)
{
	close(TAKE_FD(it.child_fd));
}

static void stop(void)
{
	assert_int_equal(it.ends, 1);
	capture_done(&it.capture);
	if (it.child_fd >= 0)
		close_child();
	if (it.reader_fd >= 0)
		close(it.reader_fd);
	if (it.output_fd >= 0)
		close(it.output_fd);
	close(it.copies[0]);
	close(it.copies[1]);
}

static void say(const char *text)
{
	assert_int_equal(write(it.child_fd, text, strlen(text)), strlen(text));
}

static const char *heard(void)
{
	static char text[4096];
	ssize_t n = read(it.reader_fd, text, sizeof(text) - 1);

	assert_true(n >= 0);
	text[n] = '\0';
	return text;
}

static const char *copy(int i)
{
	static char text[2][4096];
	ssize_t n = pread(it.copies[i], text[i], sizeof(text[i]) - 1, 0);

	assert_true(n >= 0);
	text[i][n] = '\0';
	return text[i];
}

static void wait_for_end(void)
{
	assert_int_equal(event_loop_wait(it.loop, &it.is_ended), 0);
}

static void test_pipe_to_pipe(void **state)
{
	(void)state;
	start_with_pipe();
	assert_true(it.capture.can_tee);
	say("hello ");
	event_loop_poll(it.loop);
	assert_string_equal(heard(), "hello "); /* at once, not at the end */
	say("world\n");
	close_child();
	wait_for_end();
	assert_string_equal(heard(), "world\n");
	assert_string_equal(copy(0), "hello world\n");
	assert_string_equal(copy(1), "hello world\n");
	assert_int_equal(it.capture.error.code, 0);
	stop();
	start_with_pipe(); /* nothing at all */
	close_child();
	wait_for_end();
	capture_child_ended(&it.capture); /* harmless afterwards */
	stop();
}

static void test_file_output(void **state)
{
	int fd = memfd_create("output", MFD_CLOEXEC);

	(void)state;
	start(fcntl(fd, F_DUPFD_CLOEXEC, 0), fd);
	assert_false(it.capture.can_tee);
	say("into a file");
	close_child();
	wait_for_end();
	assert_int_equal(lseek(fd, 0, SEEK_SET), 0);
	assert_string_equal(heard(), "into a file");
	assert_string_equal(copy(1), "into a file");
	stop();
}

static void test_terminal_output(void **state)
{
	(void)state;
	start_with_terminal();
	say("onto a terminal");
	close_child();
	wait_for_end();
	assert_string_equal(heard(), "onto a terminal");
	assert_string_equal(copy(0), "onto a terminal");
	stop();
}

/* --- slow and absent readers ------------------------------------------------------------ */

static bool tick_done;

static void on_tick(struct event_timer *timer)
{
	(void)timer;
	tick_done = true;
}

/* The loop still serves others. */
static void check_loop_is_free(void)
{
	struct event_timer timer;
	int64_t start_ms = clock_now_ms();

	tick_done = false;
	assert_int_equal(event_timer_init(&timer, it.loop, on_tick), 0);
	event_timer_set(&timer, 20);
	assert_int_equal(event_loop_wait(it.loop, &tick_done), 0);
	assert_true(clock_now_ms() - start_ms < 5000);
	event_timer_done(&timer);
}

static size_t fill(int fd)
{
	size_t total = 0;
	char block[1000];
	ssize_t n;

	fcntl(fd, F_SETFL, O_NONBLOCK);
	do {
		for (size_t i = 0; i < sizeof(block); i++)
			block[i] = (char)('a' + (char)((total + i) % 26));
		n = write(fd, block, sizeof(block));
		total += n > 0 ? (size_t)n : 0;
		event_loop_poll(it.loop);
	} while (n > 0);
	return total;
}

/* Reads exactly what the pattern of fill() says. */
static void drain(size_t total)
{
	static char block[65536];
	size_t at = 0;

	while (at < total) {
		ssize_t n = read(it.reader_fd, block, sizeof(block));

		assert_true(n > 0);
		for (ssize_t i = 0; i < n; i++, at++)
			if (block[i] != (char)('a' + (char)(at % 26)))
				fail_msg("byte %zu is wrong", at);
		event_loop_poll(it.loop);
	}
	assert_int_equal(at, total);
}

static void check_stalled_reader(void)
{
	struct stat st;
	size_t total = fill(it.child_fd);

	/* The child is held back, as by a plain pipe, and nobody else. */
	assert_true(total > 65536);
	check_loop_is_free();
	close_child();
	check_loop_is_free();
	assert_false(it.is_ended);
	drain(total);
	wait_for_end();
	assert_int_equal(fstat(it.copies[0], &st), 0);
	assert_int_equal(st.st_size, total);
	stop();
}

static void test_stalled_reader(void **state)
{
	(void)state;
	start_with_pipe();
	check_stalled_reader();
	start_with_socket();
	check_stalled_reader();
	start_with_terminal();
	check_stalled_reader();
}

static void check_gone_reader(void)
{
	say("first");
	event_loop_poll(it.loop);
	assert_string_equal(heard(), "first");
	close(TAKE_FD(it.reader_fd));
	say(" second");
	event_loop_poll(it.loop);
	say(" third");
	close_child();
	wait_for_end();
	assert_string_equal(copy(0), "first second third"); /* the copies get everything */
	assert_string_equal(copy(1), "first second third");
	stop();
}

static void test_gone_reader(void **state)
{
	(void)state;
	start_with_pipe();
	check_gone_reader();
	start_with_socket();
	check_gone_reader();
}

static void test_reader_goes_while_it_is_full(void **state)
{
	struct stat st;
	size_t total;

	(void)state;
	start_with_pipe();
	total = fill(it.child_fd);
	close(TAKE_FD(it.reader_fd));
	close_child();
	wait_for_end();
	assert_int_equal(fstat(it.copies[0], &st), 0);
	assert_int_equal(st.st_size, total);
	stop();
}

/* Somebody else keeps the pipe open: waited for 100 ms, no longer. */
static void test_orphan_holds_the_pipe(void **state)
{
	int64_t start_ms = clock_now_ms();

	(void)state;
	start_with_pipe();
	say("last words");
	capture_child_ended(&it.capture);
	assert_false(it.is_ended);
	say(", and an orphan's");
	wait_for_end();
	assert_in_range(clock_now_ms() - start_ms, CAPTURE_ORPHAN_MS - 1, 5000);
	assert_string_equal(heard(), "last words, and an orphan's");
	assert_string_equal(copy(0), "last words, and an orphan's");
	stop();
}

/* The 100 ms are for orphans: what the child itself left goes through, however long it takes, and
 * what an orphan added does not keep it open. */
static void test_stalled_reader_after_the_childs_end(void **state)
{
	(void)state;
	for (size_t extra = 0; extra < 3; extra++) {
		char rest[8192];

		start_with_pipe();
		fcntl(it.output_fd, F_SETPIPE_SZ, 4096);
		assert_int_equal(write(it.output_fd, rest, sizeof(rest) / 2), 4096);
		say("0123456789");
		event_loop_poll(it.loop);
		capture_child_ended(&it.capture);
		assert_int_equal(write(it.child_fd, "orphan", extra), extra);
		assert_int_equal(event_loop_pause(it.loop, CAPTURE_ORPHAN_MS + 30), 0);
		assert_false(it.is_ended);
		assert_int_equal(read(it.reader_fd, rest, 4096), 4096);
		wait_for_end();
		assert_int_equal(read(it.reader_fd, rest, sizeof(rest)), 10 + extra);
		assert_memory_equal(rest, "0123456789orphan", 10 + extra);
		stop();
	}
}

static void fill_block(uint32_t *block, size_t words, uint32_t *x)
{
	for (size_t i = 0; i < words; i++) {
		*x ^= *x << 13; /* xorshift32 */
		*x ^= *x >> 17;
		*x ^= *x << 5;
		block[i] = *x;
	}
}

static pid_t flood(int fd)
{
	static uint32_t block[16384];
	uint32_t x = 1;
	pid_t pid = fork();

	if (pid != 0)
		return pid;
	for (size_t at = 0; at < FLOOD_BYTES; at += sizeof(block)) {
		fill_block(block, 16384, &x);
		for (size_t i = 0; i < sizeof(block);) {
			ssize_t n = write(fd, (char *)block + i, sizeof(block) - i);

			if (n < 0)
				_exit(1);
			i += (size_t)n;
		}
	}
	_exit(0);
}

/* The same bytes come out of fd; the exit status says so. Unused ends are closed, or the end of
 * what goes through them is never seen. */
static pid_t judge(int fd, int unused_fd, int other_fd)
{
	static uint32_t block[16384], expected[16384];
	uint32_t x = 1;
	pid_t pid = fork();
	ssize_t n = 1;

	if (pid != 0)
		return pid;
	close(unused_fd);
	close(other_fd);
	for (size_t at = 0; at < FLOOD_BYTES; at += sizeof(block)) {
		fill_block(expected, 16384, &x);
		for (size_t i = 0; n > 0 && i < sizeof(block); i += (size_t)n)
			n = read(fd, (char *)block + i, sizeof(block) - i);
		if (n <= 0 || memcmp(block, expected, sizeof(block)) != 0)
			_exit(1);
	}
	_exit(read(fd, block, 1) == 0 ? 0 : 2);
}

static void check_flood(void)
{
	struct stat st;
	pid_t writer, reader;
	int status;

	writer = flood(it.child_fd);
	reader = judge(it.reader_fd, it.output_fd, it.child_fd);
	close_child();
	wait_for_end();
	close(TAKE_FD(it.output_fd));
	assert_int_equal(waitpid(writer, &status, 0), writer);
	assert_int_equal(status, 0);
	assert_int_equal(waitpid(reader, &status, 0), reader);
	assert_int_equal(status, 0);
	for (int i = 0; i < 2; i++) {
		assert_int_equal(fstat(it.copies[i], &st), 0);
		assert_int_equal(st.st_size, FLOOD_BYTES);
		lseek(it.copies[i], 0, SEEK_SET);
		reader = judge(it.copies[i], -1, -1);
		assert_int_equal(waitpid(reader, &status, 0), reader);
		assert_int_equal(status, 0);
	}
	stop();
}

static void test_flood(void **state)
{
	(void)state;
	start_with_pipe();
	check_flood();
	start_with_socket();
	check_flood();
}

/* A copy that cannot be kept is told once; the output itself goes on. */
static void test_full_disk(void **state)
{
	(void)state;
	start_with_pipe();
	it.capture.files[0] = open("/dev/full", O_WRONLY | O_CLOEXEC);
	say("one ");
	event_loop_poll(it.loop);
	say("two");
	close_child();
	wait_for_end();
	assert_string_equal(heard(), "one two");
	assert_string_equal(copy(1), "one two");
	assert_string_equal(it.capture.error.message,
			    "keep a copy of the output: no space left on device");
	close(it.capture.files[0]);
	stop();
}

static int set_up(void **state)
{
	(void)state;
	alarm(60);
	signal(SIGPIPE, SIG_IGN); /* roles block it */
	it.loop = event_loop_new();
	return it.loop ? 0 : -1;
}

static int tear_down(void **state)
{
	(void)state;
	event_loop_free(it.loop);
	return 0;
}

/* What is kept is whole, what the reader has not taken is counted, and the stream ends at once. */
static void test_given_up(void **state)
{
	static char text[60000];
	size_t heard_bytes = 0;

	(void)state;
	start_with_pipe();
	assert_int_equal(fcntl(it.output_fd, F_SETPIPE_SZ, 4096), 4096);
	memset(text, 'x', sizeof(text));
	assert_int_equal(capture_give_up(&it.capture), 0); /* not while the child lives */
	assert_int_equal(write(it.child_fd, text, sizeof(text)), sizeof(text));
	close_child();
	capture_child_ended(&it.capture);
	assert_int_equal(event_loop_pause(it.loop, 2 * CAPTURE_ORPHAN_MS), 0);
	assert_false(it.is_ended);
	assert_int_equal(capture_give_up(&it.capture), sizeof(text) - 4096);
	wait_for_end();
	assert_int_equal(capture_give_up(&it.capture), 0);
	for (ssize_t n; heard_bytes < 4096; heard_bytes += (size_t)n) {
		n = read(it.reader_fd, text, sizeof(text));
		assert_true(n > 0);
	}
	assert_int_equal(lseek(it.copies[0], 0, SEEK_END), sizeof(text));
	assert_int_equal(lseek(it.copies[1], 0, SEEK_END), sizeof(text));
	stop();
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_pipe_to_pipe),
		cmocka_unit_test(test_file_output),
		cmocka_unit_test(test_terminal_output),
		cmocka_unit_test(test_stalled_reader),
		cmocka_unit_test(test_gone_reader),
		cmocka_unit_test(test_reader_goes_while_it_is_full),
		cmocka_unit_test(test_orphan_holds_the_pipe),
		cmocka_unit_test(test_stalled_reader_after_the_childs_end),
		cmocka_unit_test(test_given_up),
		cmocka_unit_test(test_flood),
		cmocka_unit_test(test_full_disk),
	};

	return cmocka_run_group_tests(tests, set_up, tear_down);
}
