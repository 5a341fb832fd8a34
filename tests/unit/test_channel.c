#include "executor/process/channel.h"

#include "executor/base/cleanup.h"

#include <errno.h>
#include <setjmp.h>
#include <signal.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <sys/wait.h>

#include <cmocka.h>

#include "tests/unit/scratch.h"

static struct event_loop *loop;
static struct channel_server *server;
static char events[4096]; /* "+a -a …": who came and went */
static int signals_seen[8], signal_count, lost_count;
static pid_t last_peer;

static void on_hello(void *context, const char *container, pid_t peer)
{
	assert_ptr_equal(context, &events);
	last_peer = peer;
	snprintf(events + strlen(events), sizeof(events) - strlen(events), "+%s ", container);
}

static void on_gone(void *context, const char *container)
{
	assert_ptr_equal(context, &events);
	snprintf(events + strlen(events), sizeof(events) - strlen(events), "-%s ", container);
}

static void on_signal(struct channel_client *client, int signo)
{
	(void)client;
	signals_seen[signal_count++] = signo;
}

static void on_lost(struct channel_client *client)
{
	assert_false(channel_client_is_connected(client));
	lost_count++;
}

static void serve(void)
{
	const struct channel_server_options options = {
		.root = scratch_path(""),
		.on_hello = on_hello,
		.on_gone = on_gone,
		.context = &events,
	};
	struct error err = ERROR_NONE;

	events[0] = '\0';
	signal_count = lost_count = 0;
	server = channel_server_new(loop, &options, &err);
	if (!server)
		fail_msg("%s", err.message);
}

static void run(void)
{
	for (int i = 0; i < 4; i++)
		assert_int_equal(event_loop_poll(loop), 0);
}

static int join(struct channel_client *client, const char *name)
{
	*client = (struct channel_client){ .on_signal = on_signal, .on_lost = on_lost };
	return channel_client_connect(client, loop, scratch_path(""), name);
}

static void end(void)
{
	channel_server_free(server);
	server = NULL;
	assert_int_equal(access(scratch_path(CHANNEL_SOCKET_NAME), F_OK), -1);
}

static void test_hello_signal_and_end(void **state)
{
	struct channel_client a, b;

	(void)state;
	serve();
	assert_int_equal(scratch_mode(CHANNEL_SOCKET_NAME), 0666);
	assert_int_equal(join(&a, "main"), 0);
	assert_true(channel_client_is_connected(&a));
	run();
	assert_string_equal(events, "+main ");
	assert_int_equal(last_peer, getpid());
	assert_true(channel_server_has(server, "main"));
	assert_false(channel_server_has(server, "mai"));
	assert_int_equal(channel_server_signal(server, "main", 15), 1);
	assert_int_equal(channel_server_signal(server, "main", 64), 1);
	assert_int_equal(channel_server_signal(server, "other", 9), 0);
	run();
	assert_int_equal(signal_count, 2);
	assert_int_equal(signals_seen[0], 15);
	assert_int_equal(signals_seen[1], 64);
	/* Two of one name: gone when the last one is. */
	assert_int_equal(join(&b, "main"), 0);
	run();
	assert_int_equal(channel_server_signal(server, "main", 1), 2);
	channel_client_done(&a);
	run();
	assert_string_equal(events, "+main +main ");
	channel_client_done(&b);
	channel_client_done(&b);
	run();
	assert_string_equal(events, "+main +main -main ");
	assert_false(channel_server_has(server, "main"));
	assert_int_equal(lost_count, 0);
	end();
}

/* The end of a process is the end of its connection, however it ends. */
static void test_killed_wrapper(void **state)
{
	pid_t pid;

	(void)state;
	serve();
	pid = fork();
	if (pid == 0) {
		struct channel_client client;

		join(&client, "main");
		raise(SIGKILL);
	}
	assert_int_equal(waitpid(pid, NULL, 0), pid);
	run();
	assert_string_equal(events, "+main -main ");
	assert_int_equal(last_peer, pid);
	end();
}

/* --- nonsense --------------------------------------------------------------------------- */

static int dial(void)
{
	struct sockaddr_un address = { .sun_family = AF_UNIX };
	int fd = socket(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);

	snprintf(address.sun_path, sizeof(address.sun_path), "%s",
		 scratch_path(CHANNEL_SOCKET_NAME));
	if (connect(fd, (struct sockaddr *)&address, sizeof(address)) < 0) {
		close(fd);
		return -1;
	}
	return fd;
}

static struct channel_message hello(const char *name)
{
	struct channel_message message = { .magic = CHANNEL_MAGIC, .kind = CHANNEL_HELLO };

	snprintf(message.text, sizeof(message.text), "%s", name);
	return message;
}

static void check_dropped(const void *data, size_t size)
{
	int fd = dial();
	char c;

	assert_true(fd >= 0);
	assert_int_equal(send(fd, data, size, MSG_NOSIGNAL), size);
	run();
	assert_int_equal(recv(fd, &c, 1, 0), 0); /* the end of the connection */
	close(fd);
	assert_string_equal(events, "");
}

static void test_nonsense_is_dropped(void **state)
{
	static const char *const names[] = { "", "../main", "a/b", "MAIN", "a b", "a\nb" };
	struct {
		struct channel_message message;
		char more;
	} long_one = { .more = 'x' };
	static char flood[100000];
	struct channel_message message;

	(void)state;
	serve();
	check_dropped("x", 1);
	check_dropped(flood, sizeof(flood));
	message = hello("main");
	check_dropped(&message, sizeof(message) - 1);
	long_one.message = message;
	check_dropped(&long_one, sizeof(message) + 1);
	message.magic ^= 1;
	check_dropped(&message, sizeof(message));
	message = hello("main");
	message.kind = CHANNEL_SIGNAL;
	check_dropped(&message, sizeof(message));
	message.kind = 4711;
	check_dropped(&message, sizeof(message));
	for (size_t i = 0; i < sizeof(names) / sizeof(names[0]); i++) {
		message = hello(names[i]);
		check_dropped(&message, sizeof(message));
	}
	message = hello("");
	memset(message.text, 'a', sizeof(message.text)); /* no end */
	check_dropped(&message, sizeof(message));
	end();
}

static void test_second_hello(void **state)
{
	struct channel_message first = hello("main"), second = hello("other");
	int fd;

	(void)state;
	serve();
	fd = dial();
	assert_int_equal(send(fd, &first, sizeof(first), 0), sizeof(first));
	run();
	assert_int_equal(send(fd, &second, sizeof(second), 0), sizeof(second));
	run();
	assert_string_equal(events, "+main -main ");
	close(fd);
	end();
}

/* Silent ones cost nothing but their places, and only until they go. */
static void test_a_thousand_connections(void **state)
{
	static int fds[1000];
	struct channel_client client;
	int refused = 0;
	char c;

	(void)state;
	serve();
	for (int i = 0; i < 1000; i++) {
		fds[i] = dial();
		event_loop_poll(loop);
	}
	run();
	for (int i = 0; i < 1000; i++)
		refused += fds[i] < 0 || recv(fds[i], &c, 1, 0) == 0;
	assert_int_equal(refused, 1000 - CHANNEL_PEERS_MAX);
	for (int i = 0; i < 1000; i++)
		if (fds[i] >= 0)
			close(fds[i]);
	for (int i = 0; i < 20; i++)
		run();
	assert_int_equal(join(&client, "main"), 0);
	run();
	assert_string_equal(events, "+main ");
	channel_client_done(&client);
	end();
}

static void send_to_clients(const void *data, size_t size)
{
	struct sockaddr_un address = { .sun_family = AF_UNIX };
	struct channel_client client;
	int listener = socket(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0), fd;

	snprintf(address.sun_path, sizeof(address.sun_path), "%s",
		 scratch_path(CHANNEL_SOCKET_NAME));
	assert_int_equal(bind(listener, (struct sockaddr *)&address, sizeof(address)), 0);
	assert_int_equal(listen(listener, 1), 0);
	assert_int_equal(join(&client, "main"), 0);
	fd = accept(listener, NULL, NULL);
	assert_int_equal(send(fd, data, size, 0), size);
	signal_count = lost_count = 0;
	run();
	assert_int_equal(lost_count, 1);
	assert_int_equal(signal_count, 0);
	close(fd);
	close(listener);
	unlink(address.sun_path);
}

static void test_clients_believe_no_nonsense_either(void **state)
{
	struct channel_message message = { .magic = CHANNEL_MAGIC, .kind = CHANNEL_SIGNAL };
	static const uint16_t bad[] = { 0, 65, 65535 };

	(void)state;
	for (size_t i = 0; i < 3; i++) {
		message.number = bad[i];
		send_to_clients(&message, sizeof(message));
	}
	message = hello("main");
	send_to_clients(&message, sizeof(message));
	send_to_clients("x", 1);
}

/* --- who is there when ------------------------------------------------------------------ */

static void test_nobody_there(void **state)
{
	struct channel_client client;

	(void)state;
	assert_int_equal(join(&client, "main"), -ENOENT);
	assert_false(channel_client_is_connected(&client));
	scratch_write(CHANNEL_SOCKET_NAME, "no socket");
	assert_int_equal(join(&client, "main"), -ECONNREFUSED);
	serve(); /* takes the name over */
	assert_int_equal(join(&client, "main"), 0);
	run();
	assert_string_equal(events, "+main ");
	channel_client_done(&client);
	end();
}

static void test_server_restarts(void **state)
{
	struct channel_client client;

	(void)state;
	serve();
	assert_int_equal(join(&client, "main"), 0);
	run();
	end();
	run();
	assert_int_equal(lost_count, 1);
	serve();
	assert_int_equal(join(&client, "main"), 0);
	run();
	assert_string_equal(events, "+main ");
	assert_int_equal(channel_server_signal(server, "main", 15), 1);
	channel_client_done(&client);
	end();
}

/* Who is connected stays so without the file. */
static void test_deleted_socket_file(void **state)
{
	struct channel_client client, late;

	(void)state;
	serve();
	assert_int_equal(join(&client, "main"), 0);
	run();
	assert_int_equal(unlink(scratch_path(CHANNEL_SOCKET_NAME)), 0);
	assert_int_equal(join(&late, "late"), -ENOENT);
	assert_int_equal(channel_server_signal(server, "main", 15), 1);
	run();
	assert_int_equal(signal_count, 1);
	channel_client_done(&client);
	run();
	assert_string_equal(events, "+main -main ");
	end();
}

/* A connection that cannot be taken must not keep the loop busy, nor its wrapper waiting. */
static void test_no_descriptor_left(void **state)
{
	struct channel_client client, late;
	struct rlimit before, now;
	int next_fd;

	(void)state;
	serve();
	assert_int_equal(join(&client, "main"), 0);
	run();
	assert_int_equal(join(&late, "late"), 0);
	assert_int_equal(getrlimit(RLIMIT_NOFILE, &before), 0);
	next_fd = dup(0);
	close(next_fd);
	now = (struct rlimit){ .rlim_cur = (rlim_t)next_fd, .rlim_max = before.rlim_max };
	assert_int_equal(setrlimit(RLIMIT_NOFILE, &now), 0);
	run();
	assert_int_equal(setrlimit(RLIMIT_NOFILE, &before), 0);
	assert_int_equal(lost_count, 1);
	assert_int_equal(join(&late, "late"), -ENOENT);
	assert_int_equal(channel_server_signal(server, "main", 15), 1);
	run();
	assert_int_equal(signal_count, 1);
	channel_client_done(&client);
	run();
	assert_string_equal(events, "+main -main ");
	end();
}

static void test_server_errors(void **state)
{
	struct channel_server_options options = { .root = "/nonexistent" };
	struct error err = ERROR_NONE;
	char long_root[200];

	(void)state;
	assert_null(channel_server_new(loop, &options, &err));
	assert_string_equal(err.message,
			    "listen on /nonexistent/wait.sock: no such file or directory");
	memset(long_root, 'x', sizeof(long_root) - 1);
	long_root[sizeof(long_root) - 1] = '\0';
	options.root = long_root;
	assert_null(channel_server_new(loop, &options, &err));
	assert_int_equal(err.code, -ENAMETOOLONG);
	channel_server_free(NULL);
}

static int set_up(void **state)
{
	loop = event_loop_new();
	return loop ? scratch_set_up(state) : -1;
}

static int tear_down(void **state)
{
	event_loop_free(loop);
	return scratch_tear_down(state);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_hello_signal_and_end),
		cmocka_unit_test(test_killed_wrapper),
		cmocka_unit_test(test_nonsense_is_dropped),
		cmocka_unit_test(test_second_hello),
		cmocka_unit_test(test_a_thousand_connections),
		cmocka_unit_test(test_clients_believe_no_nonsense_either),
		cmocka_unit_test(test_nobody_there),
		cmocka_unit_test(test_server_restarts),
		cmocka_unit_test(test_deleted_socket_file),
		cmocka_unit_test(test_no_descriptor_left),
		cmocka_unit_test(test_server_errors),
	};

	return cmocka_run_group_tests(tests, set_up, tear_down);
}
