/* Waiting for a plugin's socket: all the ways in which there is nobody, yet or for ever. */
#include "executor/artifact/plugin/socket.h"

#include "executor/base/clock.h"

#include <errno.h>
#include <pthread.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <unistd.h>

#include <cmocka.h>

#include "tests/unit/scratch.h"

#define SETTINGS "\0\0\0\4\0\0\0\0\0"

static struct {
	struct event_loop *loop;
	struct log log;
	struct plugin_socket socket;
	struct error err;
	char directory[256], path[300], sidecar[256];
	pthread_t thread;
	int listener;
	const char *text; /* what the server says */
	size_t text_size;
	unsigned delay_ms; /* before its socket has a name */
	struct event_timer timer;
} f;

static int set_up(void **state)
{
	if (scratch_set_up(state) < 0)
		return -1;
	memset(&f, 0, sizeof(f));
	f.loop = event_loop_new();
	f.log = (struct log){ .fd = -1, .level = LOG_ERROR };
	snprintf(f.directory, sizeof(f.directory), "%s", scratch_path("sockets"));
	snprintf(f.path, sizeof(f.path), "%s/socket", f.directory);
	snprintf(f.sidecar, sizeof(f.sidecar), "%s", scratch_path("sidecar"));
	assert_int_equal(mkdir(f.directory, 0755) | mkdir(f.sidecar, 0755), 0);
	f.socket = (struct plugin_socket){ .plugin = "p",
					   .directory = f.directory,
					   .path = f.path,
					   .sidecar_directory = f.sidecar,
					   .wait_ms = 5000,
					   .connect_timeout_ms = 5000,
					   .loop = f.loop,
					   .log = &f.log };
	return 0;
}

static int tear_down(void **state)
{
	event_loop_free(f.loop);
	return scratch_tear_down(state);
}

static void *serve(void *unused)
{
	struct sockaddr_un address = { .sun_family = AF_UNIX };
	char heard[64];
	int fd;

	usleep(f.delay_ms * 1000);
	snprintf(address.sun_path, sizeof(address.sun_path), "%.100s", f.path);
	if (bind(f.listener, (struct sockaddr *)&address, sizeof(address)) < 0)
		abort();
	usleep(f.delay_ms * 1000);
	listen(f.listener, 4);
	fd = accept(f.listener, NULL, NULL);
	if (send(fd, f.text, f.text_size, MSG_NOSIGNAL) < 0)
		abort();
	while (recv(fd, heard, sizeof(heard), 0) > 0)
		;
	close(fd);
	return unused;
}

static void start(const char *text, size_t size, unsigned delay_ms)
{
	f.text = text;
	f.text_size = size;
	f.delay_ms = delay_ms;
	f.listener = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);
	assert_int_equal(pthread_create(&f.thread, NULL, serve, NULL), 0);
}

static void finish(void)
{
	pthread_join(f.thread, NULL);
	close(f.listener);
}

static void test_a_server(void **state)
{
	(void)state;
	start(SETTINGS "more", sizeof(SETTINGS "more") - 1, 0);
	assert_int_equal(plugin_socket_await(&f.socket, &f.err), 0);
	finish();
}

static void test_a_server_that_comes_late(void **state)
{
	(void)state;
	start(SETTINGS, sizeof(SETTINGS) - 1, 100);
	assert_int_equal(plugin_socket_await(&f.socket, &f.err), 0);
	finish();
}

static void test_a_server_of_something_else(void **state)
{
	(void)state;
	start("220 hello there", 15, 0);
	assert_int_equal(plugin_socket_await(&f.socket, &f.err), -EPROTO);
	finish();
	assert_non_null(strstr(f.err.message, "plugin p does not speak HTTP/2"));
}

static void test_a_mute_server(void **state)
{
	int64_t begun = clock_now_ms();

	(void)state;
	f.socket.connect_timeout_ms = 50;
	start("", 0, 0);
	assert_int_equal(plugin_socket_await(&f.socket, &f.err), -ETIMEDOUT);
	finish();
	assert_true(clock_now_ms() - begun >= 50);
	assert_non_null(strstr(f.err.message, "timeout waiting for plugin p connection to become "
					      "ready, last state: CONNECTING (socket=\""));
	assert_int_equal(f.err.class, ERROR_PERMANENT);
}

static void test_no_socket(void **state)
{
	(void)state;
	f.socket.wait_ms = 50;
	assert_int_equal(plugin_socket_await(&f.socket, &f.err), -ETIMEDOUT);
	assert_non_null(strstr(f.err.message, "plugin p expected unix socket at \""));
	assert_non_null(strstr(f.err.message, "after waiting for 0 seconds"));
	assert_int_equal(f.err.class, ERROR_PERMANENT);
}

static void test_nobody_behind_the_name(void **state)
{
	(void)state;
	f.socket.connect_timeout_ms = 50;
	scratch_write("sockets/socket", "");
	assert_int_equal(plugin_socket_await(&f.socket, &f.err), -ETIMEDOUT);
	assert_non_null(strstr(f.err.message, "last state: TRANSIENT_FAILURE"));
}

static void test_the_sidecar_has_ended(void **state)
{
	(void)state;
	scratch_write("sidecar/exitcode", "3");
	assert_int_equal(plugin_socket_await(&f.socket, &f.err), -ECHILD);
	assert_string_equal(f.err.message, "plugin p has ended (exit code 3)");
	/* Also when its socket is still there. */
	scratch_write("sockets/socket", "");
	assert_int_equal(plugin_socket_await(&f.socket, &f.err), -ECHILD);
	scratch_write("sidecar/exitcode", "a very long text that is no exit code at all");
	assert_int_equal(plugin_socket_await(&f.socket, &f.err), -ECHILD);
	assert_string_equal(f.err.message, "plugin p has ended (exit code unknown)");
}

static void end_sidecar(struct event_timer *timer)
{
	(void)timer;
	scratch_write("sidecar/exitcode", "4");
}

static void test_the_sidecar_ends_meanwhile(void **state)
{
	(void)state;
	assert_int_equal(event_timer_init(&f.timer, f.loop, end_sidecar), 0);
	event_timer_set(&f.timer, 30);
	assert_int_equal(plugin_socket_await(&f.socket, &f.err), -ECHILD);
	event_timer_done(&f.timer);
	assert_string_equal(f.err.message, "plugin p has ended (exit code 4)");
}

static void cancel(struct event_timer *timer)
{
	(void)timer;
	event_loop_cancel(f.loop);
}

static void test_cancelled(void **state)
{
	(void)state;
	assert_int_equal(event_timer_init(&f.timer, f.loop, cancel), 0);
	event_timer_set(&f.timer, 30);
	assert_int_equal(plugin_socket_await(&f.socket, &f.err), -ECANCELED);
	event_timer_done(&f.timer);
	assert_int_equal(f.err.class, ERROR_CANCELLED);
}

static void test_a_path_that_cannot_be(void **state)
{
	static char path[300];

	(void)state;
	memset(path, 'x', sizeof(path) - 1);
	path[sizeof(path) - 1] = '\0';
	f.socket.path = path;
	assert_int_equal(plugin_socket_await(&f.socket, &f.err), -ENAMETOOLONG);
	assert_non_null(strstr(f.err.message, "plugin p cannot stat unix socket at"));
}

int main(void)
{
#define TEST(name) cmocka_unit_test_setup_teardown(name, set_up, tear_down)
	const struct CMUnitTest tests[] = {
		TEST(test_a_server),
		TEST(test_a_server_that_comes_late),
		TEST(test_a_server_of_something_else),
		TEST(test_a_mute_server),
		TEST(test_no_socket),
		TEST(test_nobody_behind_the_name),
		TEST(test_the_sidecar_has_ended),
		TEST(test_the_sidecar_ends_meanwhile),
		TEST(test_cancelled),
		TEST(test_a_path_that_cannot_be),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
