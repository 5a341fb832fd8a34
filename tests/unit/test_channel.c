#include "executor/process/channel.h"

#include "executor/base/cleanup.h"

#include <errno.h>
#include <fcntl.h>
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

static void on_heard(void *context, const char *container, int signo, pid_t pid, uid_t uid)
{
	assert_ptr_equal(context, &events);
	snprintf(events + strlen(events), sizeof(events) - strlen(events), "%s:%d:%d:%u ",
		 container, signo, pid, uid);
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
		.on_heard = on_heard,
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

/* What the wrapper was sent by others. */
static void test_a_signal_is_told_of(void **state)
{
	struct channel_client a;

	(void)state;
	serve();
	channel_client_tell(&(struct channel_client){ 0 }, 15, 1, 2);
	assert_int_equal(join(&a, "main"), 0);
	channel_client_tell(&a, 15, 0, 4294967295u);
	channel_client_tell(&a, 64, 7, 8737);
	run();
	assert_string_equal(events, "+main main:15:0:4294967295 main:64:7:8737 ");
	/* Of nothing that is a signal. */
	channel_client_tell(&a, 65, 7, 8737);
	run();
	assert_string_equal(events, "+main main:15:0:4294967295 main:64:7:8737 -main ");
	channel_client_done(&a);
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
	check_dropped(&(struct channel_heard){ CHANNEL_MAGIC, CHANNEL_HEARD, 15, 1, 0 },
		      sizeof(struct channel_heard)); /* of nobody */
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

/* --- outputs ---------------------------------------------------------------------------- */

static enum channel_verdict verdict, answered;
static uint64_t offering;
static unsigned offer_count;
static bool keeps_descriptors;
static int kept_fd = -1;

static enum channel_verdict on_offer(void *context, struct channel_offer *offer)
{
	(void)context;
	assert_string_equal(offer->container, "main");
	assert_int_equal(offer->uid, getuid());
	assert_int_equal(offer->gid, getgid());
	snprintf(events + strlen(events), sizeof(events) - strlen(events), "%s:%d ", offer->path,
		 offer->code);
	offering = offer->peer;
	offer_count++;
	if (keeps_descriptors)
		kept_fd = TAKE_FD(offer->fd);
	return verdict;
}

static void on_answer(struct channel_client *client, enum channel_verdict heard)
{
	(void)client;
	answered = heard;
}

static void serve_outputs(struct channel_client *client)
{
	const struct channel_server_options options = {
		.root = scratch_path(""),
		.on_hello = on_hello,
		.on_gone = on_gone,
		.on_offer = on_offer,
		.context = &events,
	};

	events[0] = '\0';
	answered = 0;
	offer_count = 0;
	server = channel_server_new(loop, &options, NULL);
	assert_non_null(server);
	join(client, "main");
	client->on_answer = on_answer;
	run();
}

static void test_an_output_is_taken(void **state)
{
	struct channel_client client;
	struct stat ours, theirs;
	int fd;

	(void)state;
	serve_outputs(&client);
	fd = open("/etc/hostname", O_RDONLY | O_CLOEXEC);
	verdict = CHANNEL_TAKEN;
	keeps_descriptors = true;
	assert_int_equal(channel_client_offer(&client, "/out/a", fd, 0), 0);
	run();
	keeps_descriptors = false;
	assert_int_equal(answered, CHANNEL_TAKEN);
	assert_int_equal(fstat(fd, &ours) | fstat(kept_fd, &theirs), 0);
	assert_int_equal(ours.st_ino, theirs.st_ino);
	assert_int_equal(fcntl(kept_fd, F_GETFD), FD_CLOEXEC);
	close(kept_fd);
	verdict = CHANNEL_REFUSED;
	assert_int_equal(channel_client_offer(&client, "/b", -1, ENOENT), 0);
	run();
	assert_int_equal(answered, CHANNEL_REFUSED);
	assert_string_equal(events, "+main /out/a:0 /b:2 ");
	close(fd);
	channel_client_done(&client);
	assert_int_equal(channel_client_offer(&client, "/b", -1, ENOENT), -ENOTCONN);
	run();
	end();
}

static void test_a_verdict_that_takes_time(void **state)
{
	struct channel_client client;

	(void)state;
	serve_outputs(&client);
	verdict = CHANNEL_BUSY;
	assert_int_equal(channel_client_offer(&client, "/a", -1, EACCES), 0);
	run();
	assert_int_equal(answered, CHANNEL_BUSY);
	assert_int_equal(channel_server_answer(server, offering + 1, CHANNEL_TAKEN), -ENOTCONN);
	assert_int_equal(channel_server_answer(server, offering, CHANNEL_BUSY), 0);
	assert_int_equal(channel_server_answer(server, offering, CHANNEL_TAKEN), 0);
	run();
	assert_int_equal(answered, CHANNEL_TAKEN);
	/* Two at a time are none of ours. */
	assert_int_equal(channel_client_offer(&client, "/a", -1, EACCES), 0);
	assert_int_equal(channel_client_offer(&client, "/b", -1, EACCES), 0);
	run();
	assert_false(channel_client_is_connected(&client));
	assert_int_equal(channel_server_answer(server, offering, CHANNEL_TAKEN), -ENOTCONN);
	assert_string_equal(events, "+main /a:13 /a:13 -main ");
	end();
}

/* Sends it behind a hello, or alone, with so many descriptors: the connection ends, and none is left. */
static void check_output_dropped(const void *data, size_t size, unsigned descriptors,
				 bool says_hello)
{
	const struct channel_message first = hello("main");
	const int fds[3] = { 0, 0, 0 };
	union {
		char bytes[CMSG_SPACE(sizeof(fds))];
		struct cmsghdr header;
	} control = { .header = { .cmsg_level = SOL_SOCKET, .cmsg_type = SCM_RIGHTS } };
	struct iovec part = { (void *)data, size };
	struct msghdr header = { .msg_iov = &part, .msg_iovlen = 1 };
	int next = dup(0), fd;
	char c;

	close(next);
	fd = dial();
	control.header.cmsg_len = CMSG_LEN(descriptors * sizeof(int));
	memcpy(CMSG_DATA(&control.header), fds, descriptors * sizeof(int));
	if (descriptors) {
		header.msg_control = &control;
		header.msg_controllen = CMSG_SPACE(descriptors * sizeof(int));
	}
	if (says_hello)
		assert_int_equal(send(fd, &first, sizeof(first), 0), sizeof(first));
	assert_int_equal(sendmsg(fd, &header, MSG_NOSIGNAL), size);
	run();
	while (recv(fd, &c, 1, MSG_DONTWAIT | MSG_TRUNC) > 0)
		;
	assert_int_equal(recv(fd, &c, 1, MSG_DONTWAIT), 0);
	close(fd);
	assert_int_equal(dup(0), next);
	close(next);
}

static void test_outputs_that_make_no_sense(void **state)
{
	static struct channel_output output = { .magic = CHANNEL_MAGIC,
						.kind = CHANNEL_OUTPUT,
						.path = "/a" };
	const size_t size = offsetof(struct channel_output, path) + sizeof("/a");
	struct channel_message message = hello("main");
	struct channel_client client;

	(void)state;
	serve_outputs(&client);
	channel_client_done(&client);
	verdict = CHANNEL_TAKEN;
	check_output_dropped(&output, size, 1, false); /* from a stranger */
	check_output_dropped(&output, size, 0, true); /* neither descriptor nor reason */
	check_output_dropped(&output, size, 2, true);
	check_output_dropped(&output, size, 3, true);
	check_output_dropped(&output, size - 1, 1, true); /* no end */
	check_output_dropped(&output, size + 1, 1, true); /* more than a path */
	check_output_dropped(&output, size - 3, 1, true); /* no path */
	check_output_dropped(&message, sizeof(message), 1, false);
	output.number = EACCES;
	check_output_dropped(&output, size, 1, true); /* both */
	output.path[0] = 'x';
	check_output_dropped(&output, size, 0, true); /* not absolute */
	memset(output.path, '/', sizeof(output.path));
	check_output_dropped(&output, sizeof(output), 0, true);
	assert_int_equal(offer_count, 0);
	output.path[sizeof(output.path) - 1] = '\0'; /* as long as can be */
	join(&client, "main");
	client.on_answer = on_answer;
	assert_int_equal(channel_client_offer(&client, output.path, -1, ENOENT), 0);
	run();
	assert_int_equal(offer_count, 1);
	channel_client_done(&client);
	end();
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
		cmocka_unit_test(test_a_signal_is_told_of),
		cmocka_unit_test(test_killed_wrapper),
		cmocka_unit_test(test_nonsense_is_dropped),
		cmocka_unit_test(test_second_hello),
		cmocka_unit_test(test_a_thousand_connections),
		cmocka_unit_test(test_clients_believe_no_nonsense_either),
		cmocka_unit_test(test_an_output_is_taken),
		cmocka_unit_test(test_a_verdict_that_takes_time),
		cmocka_unit_test(test_outputs_that_make_no_sense),
		cmocka_unit_test(test_nobody_there),
		cmocka_unit_test(test_server_restarts),
		cmocka_unit_test(test_deleted_socket_file),
		cmocka_unit_test(test_no_descriptor_left),
		cmocka_unit_test(test_server_errors),
	};

	return cmocka_run_group_tests(tests, set_up, tear_down);
}
