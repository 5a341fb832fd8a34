/*
 * What goes wrong on the way: each case says what the operator reads and whether it is tried again.
 * Runs in network and mount namespaces of its own, so that it can be its own name server.
 */
#include "executor/base/clock.h"
#include "executor/base/fd.h"
#include "tests/unit/http_fixture.h"

#include <arpa/inet.h>
#include <errno.h>
#include <fcntl.h>
#include <net/if.h>
#include <sched.h>
#include <setjmp.h>
#include <stdarg.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/mman.h>
#include <sys/mount.h>
#include <sys/resource.h>
#include <sys/socket.h>

#include <cmocka.h>

#define STALL_MS 400
#define CONNECT_MS 600

/* The namespaces: loopback is up, port 53 is free, /etc/resolv.conf names it. */
static int enter_namespaces(void **state)
{
	static const char resolv[] = "nameserver 127.0.0.1\noptions timeout:30 attempts:2\n";
	struct ifreq request = { .ifr_name = "lo", .ifr_flags = IFF_UP | IFF_RUNNING };
	char path[] = "/tmp/resolv.XXXXXX";
	int fd;

	(void)state;
	if (unshare(CLONE_NEWNET | CLONE_NEWNS) < 0)
		assert_int_equal(unshare(CLONE_NEWUSER | CLONE_NEWNET | CLONE_NEWNS), 0);
	assert_int_equal(mount("none", "/", NULL, MS_REC | MS_PRIVATE, NULL), 0);
	fd = mkstemp(path);
	assert_int_equal(fd_write_all(fd, resolv, strlen(resolv)), 0);
	close(fd);
	assert_int_equal(mount(path, "/etc/resolv.conf", NULL, MS_BIND, NULL), 0);
	unlink(path);
	fd = socket(AF_INET, SOCK_DGRAM | SOCK_CLOEXEC, 0);
	assert_int_equal(ioctl(fd, SIOCSIFFLAGS, &request), 0);
	close(fd);
	return 0;
}

static int setup(void **state)
{
	struct http_client_options options = { .user_agent = "test/1",
					       .stall_timeout_ms = STALL_MS,
					       .connect_timeout_ms = CONNECT_MS };

	return http_fixture_set_up(state, &options);
}

static int get(struct http_fixture *f, const char *url)
{
	struct http_request request = { .method = "GET", .url = url };

	return http_fixture_perform(f, &request);
}

/* Asks a server that behaves like `serve`; the error is in f->err afterwards. */
static int get_from(struct http_fixture *f, void (*serve)(struct http_peer *), const char *text)
{
	int r;

	http_server_start(&f->server, serve, text);
	snprintf(f->url, sizeof(f->url), "http://user:pw@127.0.0.1:%d/b/k?signature=S#f",
		 f->server.port);
	r = get(f, f->url);
	http_server_stop(&f->server);
	return r;
}

static void expect(const struct http_fixture *f, enum error_class class, const char *text)
{
	if (!strstr(f->err.message, text))
		print_error("'%s' does not contain '%s'\n", f->err.message, text);
	assert_non_null(strstr(f->err.message, text));
	assert_int_equal(f->err.class, class);
	assert_null(strstr(f->err.message, "signature"));
	assert_null(strstr(f->err.message, "pw@"));
}

static void close_at_once(struct http_peer *peer)
{
	http_peer_read(peer);
}

static void reset_after_request(struct http_peer *peer)
{
	http_peer_read(peer);
	http_peer_reset(peer);
}

static void reset_in_body(struct http_peer *peer)
{
	http_peer_read(peer);
	http_peer_say(peer, "HTTP/1.1 200 OK\r\nContent-Length: 10\r\n\r\nabc");
	http_peer_reset(peer);
}

static void go_silent(struct http_peer *peer)
{
	http_peer_read(peer);
	if (peer->server->text)
		http_peer_say(peer, peer->server->text);
	http_peer_wait(peer);
}

static void many_headers(struct http_peer *peer)
{
	char line[1000];

	/* No string: its length is given where it is sent. */
	memset(line, 'x', sizeof(line));
	line[0] = '\r';
	line[1] = '\n';
	line[5] = ':';
	http_peer_read(peer);
	http_peer_say(peer, "HTTP/1.1 200 OK");
	for (int i = 0; i < 70; i++)
		http_peer_write(peer, line, sizeof(line));
	http_peer_say(peer, "\r\n\r\n");
	http_peer_wait(peer);
}

static void one_long_header(struct http_peer *peer)
{
	char part[1000];

	memset(part, 'x', sizeof(part));
	http_peer_read(peer);
	http_peer_say(peer, "HTTP/1.1 200 OK\r\nX: ");
	for (int i = 0; i < 300; i++)
		http_peer_write(peer, part, sizeof(part));
	http_peer_say(peer, "\r\n\r\n");
	http_peer_wait(peer);
}

static void test_broken_answers(void **state)
{
	struct http_fixture *f = *state;

	assert_true(get_from(f, close_at_once, NULL) < 0);
	expect(f, ERROR_TRANSIENT, "/b/k: EOF");
	assert_int_equal(get_from(f, reset_after_request, NULL), -ECONNRESET);
	expect(f, ERROR_TRANSIENT, "read tcp 127.0.0.1:");
	expect(f, ERROR_TRANSIENT, ": read: connection reset by peer");
	assert_int_equal(get_from(f, reset_in_body, NULL), -ECONNRESET);
	expect(f, ERROR_TRANSIENT, ": read: connection reset by peer");
	assert_true(get_from(f, http_serve_once,
			     "HTTP/1.1 200 OK\r\nContent-Length: 9\r\n\r\nabc") < 0);
	expect(f, ERROR_TRANSIENT, "/b/k: unexpected EOF");
	assert_true(get_from(f, http_serve_once,
			     "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n9\r\nabc") < 0);
	expect(f, ERROR_TRANSIENT, "/b/k: unexpected EOF");
	assert_true(get_from(f, http_serve_once,
			     "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\nZZ\r\nabc") < 0);
	expect(f, ERROR_TRANSIENT, "invalid chunked encoding");
	assert_true(get_from(f, http_serve_once, "\x01\x02 hello, this is no HTTP\r\n") < 0);
	expect(f, ERROR_PERMANENT, "malformed HTTP response");
	assert_true(get_from(f, many_headers, NULL) < 0);
	expect(f, ERROR_PERMANENT, "headers are larger than 64 KiB");
	assert_true(get_from(f, one_long_header, NULL) < 0);
	expect(f, ERROR_PERMANENT, "headers are larger than 64 KiB");
}

static void test_stall(void **state)
{
	struct http_fixture *f = *state;
	int64_t started_ms = clock_now_ms();

	assert_int_equal(get_from(f, go_silent, NULL), -ETIMEDOUT);
	expect(f, ERROR_TRANSIENT, "i/o timeout");
	assert_in_range(clock_now_ms() - started_ms, STALL_MS, 3 * STALL_MS);
	assert_int_equal(get_from(f, go_silent, "HTTP/1.1 200 OK\r\nContent-Length: 9\r\n\r\nabc"),
			 -ETIMEDOUT);
	expect(f, ERROR_TRANSIENT, "i/o timeout");
}

/* One byte every 100 ms for longer than the stall timeout. */
static void trickle(struct http_peer *peer)
{
	http_peer_read(peer);
	http_peer_say(peer, "HTTP/1.1 200 OK\r\nContent-Length: 9\r\n\r\n");
	for (int i = 0; i < 9; i++) {
		usleep(100000);
		http_peer_say(peer, "x");
	}
}

static void test_slow_is_not_stalled(void **state)
{
	struct http_fixture *f = *state;

	assert_int_equal(get_from(f, trickle, NULL), 0);
	assert_int_equal(f->response.body_bytes, 9);
}

static void never_read(struct http_peer *peer)
{
	struct timespec wait = { .tv_sec = 2 };

	nanosleep(&wait, NULL);
	http_peer_reset(peer);
}

static void test_stalled_upload(void **state)
{
	struct http_fixture *f = *state;
	_cleanup_close_ int fd = memfd_create("upload", MFD_CLOEXEC);
	struct http_request request = { .method = "PUT",
					.url = f->url,
					.body = { .fd = fd, .has_file = true, .size = 64 << 20 } };

	assert_int_equal(ftruncate(fd, 64 << 20), 0);
	http_server_start(&f->server, never_read, NULL);
	snprintf(f->url, sizeof(f->url), "http://127.0.0.1:%d/", f->server.port);
	assert_int_equal(http_perform(f->client, &request, &f->response, &f->err), -ETIMEDOUT);
	http_server_stop(&f->server);
	expect(f, ERROR_TRANSIENT, "i/o timeout");
}

static void reset_in_upload(struct http_peer *peer)
{
	char part[4096];

	recv(peer->fd, part, sizeof(part), 0);
	http_peer_reset(peer);
}

static void test_reset_upload(void **state)
{
	struct http_fixture *f = *state;
	_cleanup_close_ int fd = memfd_create("upload", MFD_CLOEXEC);
	struct http_request request = { .method = "PUT",
					.url = f->url,
					.body = { .fd = fd, .has_file = true, .size = 64 << 20 } };

	assert_int_equal(ftruncate(fd, 64 << 20), 0);
	http_server_start(&f->server, reset_in_upload, NULL);
	snprintf(f->url, sizeof(f->url), "http://127.0.0.1:%d/", f->server.port);
	assert_true(http_perform(f->client, &request, &f->response, &f->err) < 0);
	http_server_stop(&f->server);
	assert_int_equal(f->err.class, ERROR_TRANSIENT);
	assert_non_null(strstr(f->err.message, " tcp 127.0.0.1:"));
}

static void test_no_connection(void **state)
{
	struct http_fixture *f = *state;
	struct sockaddr_in address = { .sin_family = AF_INET,
				       .sin_port = htons(81),
				       .sin_addr.s_addr = htonl(INADDR_LOOPBACK) };
	int listener, fillers[4];

	assert_int_equal(get(f, "http://127.0.0.1:9/x?signature=1"), -ECONNREFUSED);
	expect(f, ERROR_TRANSIENT,
	       "GET http://127.0.0.1:9/x: dial tcp 127.0.0.1:9: connect: connection refused");
	assert_int_equal(get(f, "http://[::1]:9/"), -ECONNREFUSED);
	expect(f, ERROR_TRANSIENT, "dial tcp [::1]:9: connect: connection refused");
	assert_int_equal(get(f, "http://192.0.2.1/"), -ENETUNREACH);
	expect(f, ERROR_TRANSIENT, "dial tcp 192.0.2.1:80: connect: network is unreachable");

	/* A full backlog drops what comes. */
	listener = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
	assert_int_equal(bind(listener, (struct sockaddr *)&address, sizeof(address)), 0);
	assert_int_equal(listen(listener, 0), 0);
	for (int i = 0; i < 4; i++) {
		fillers[i] = socket(AF_INET, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);
		/* In progress, or refused: they only fill the queue. */
		(void)!connect(fillers[i], (struct sockaddr *)&address, sizeof(address));
	}
	assert_int_equal(get(f, "http://127.0.0.1:81/"), -ETIMEDOUT);
	expect(f, ERROR_TRANSIENT, "dial tcp 127.0.0.1:81: i/o timeout");
	for (int i = 0; i < 4; i++)
		close(fillers[i]);
	close(listener);
}

static void test_no_descriptors(void **state)
{
	struct http_fixture *f = *state;
	struct rlimit before, none;
	int lowest = dup(0);
	int r;

	/* One more: what c-ares needs to read its configuration is then there, a socket is not. */
	assert_int_equal(getrlimit(RLIMIT_NOFILE, &before), 0);
	none = before;
	none.rlim_cur = (rlim_t)lowest;
	close(lowest);
	setrlimit(RLIMIT_NOFILE, &none);
	r = get(f, "http://127.0.0.1:9/");
	setrlimit(RLIMIT_NOFILE, &before);
	assert_int_equal(r, -EMFILE);
	expect(f, ERROR_TRANSIENT, "GET http://127.0.0.1:9/: ");
	expect(f, ERROR_TRANSIENT, "too many open files");
	assert_int_equal(get(f, "http://127.0.0.1:9/"), -ECONNREFUSED);
}

/* A name server that answers every question with NXDOMAIN, or says nothing. */
struct name_server {
	pthread_t thread;
	int fd;
	bool is_silent;
	unsigned questions;
};

static void *run_name_server(void *context)
{
	struct name_server *server = context;
	struct sockaddr_in from;
	unsigned char packet[512];

	for (;;) {
		socklen_t size = sizeof(from);
		ssize_t n = recvfrom(server->fd, packet, sizeof(packet), 0,
				     (struct sockaddr *)&from, &size);

		if (n <= 0)
			return NULL;
		server->questions++;
		if (server->is_silent)
			continue;
		packet[2] = 0x81; /* RFC 1035, 4.1.1: a response */
		packet[3] = 0x83; /* name error */
		packet[11] = 0; /* no additional records */
		sendto(server->fd, packet, (size_t)n, 0, (struct sockaddr *)&from, size);
	}
}

static void start_name_server(struct name_server *server, bool is_silent)
{
	struct sockaddr_in address = { .sin_family = AF_INET,
				       .sin_port = htons(53),
				       .sin_addr.s_addr = htonl(INADDR_LOOPBACK) };

	*server = (struct name_server){ .is_silent = is_silent };
	server->fd = socket(AF_INET, SOCK_DGRAM | SOCK_CLOEXEC, 0);
	assert_int_equal(bind(server->fd, (struct sockaddr *)&address, sizeof(address)), 0);
	assert_int_equal(pthread_create(&server->thread, NULL, run_name_server, server), 0);
}

static void stop_name_server(struct name_server *server)
{
	shutdown(server->fd, SHUT_RDWR);
	pthread_join(server->thread, NULL);
	close(server->fd);
	assert_true(server->questions > 0);
}

static void test_no_such_host(void **state)
{
	struct http_fixture *f = *state;
	struct name_server server;

	start_name_server(&server, false);
	assert_true(get(f, "https://nowhere.test/?signature=1") < 0);
	expect(f, ERROR_TRANSIENT,
	       "GET https://nowhere.test/: dial tcp: lookup nowhere.test: no such host");
	stop_name_server(&server);
}

static void test_dead_name_server_times_out(void **state)
{
	struct http_fixture *f = *state;
	struct name_server server;
	int64_t started_ms = clock_now_ms();

	start_name_server(&server, true);
	assert_int_equal(get(f, "http://nowhere.test:8080/"), -ETIMEDOUT);
	expect(f, ERROR_TRANSIENT, "dial tcp: lookup nowhere.test: i/o timeout");
	assert_in_range(clock_now_ms() - started_ms, CONNECT_MS, CONNECT_MS + 1000);
	stop_name_server(&server);
}

struct alarm {
	struct event_timer timer;
	struct event_loop *loop;
};

static void cancel(struct event_timer *timer)
{
	event_loop_cancel(((struct alarm *)timer)->loop);
}

static void test_cancelled_during_lookup(void **state)
{
	struct http_fixture *f = *state;
	struct alarm alarm = { .loop = f->loop };
	struct name_server server;
	int64_t started_ms;

	start_name_server(&server, true);
	assert_int_equal(event_timer_init(&alarm.timer, f->loop, cancel), 0);
	event_timer_set(&alarm.timer, 50);
	started_ms = clock_now_ms();
	assert_int_equal(get(f, "http://nowhere.test/"), -ECANCELED);
	assert_in_range(clock_now_ms() - started_ms, 45, 50 + 100);
	expect(f, ERROR_CANCELLED, "cancelled");
	assert_int_equal(get(f, "http://nowhere.test/"), -ECANCELED);
	event_timer_done(&alarm.timer);
	stop_name_server(&server);
}

static void unexpected(struct http_transfer *transfer, const struct http_response *response,
		       const struct error *error, void *context)
{
	(void)transfer;
	(void)response;
	(void)context;
	fail_msg("called back: %s", error->message);
}

static void test_freed_during_lookup(void **state)
{
	struct http_fixture *f = *state;
	struct http_request request = { .method = "GET", .url = "http://nowhere.test/" };
	struct name_server server;

	start_name_server(&server, true);
	for (int delay_ms = 0; delay_ms < 30; delay_ms += 10) {
		struct http_transfer *transfer;
		int64_t started_ms;

		transfer = http_start(f->client, &request, unexpected, NULL, &f->err);
		assert_non_null(transfer);
		event_loop_pause(f->loop, delay_ms);
		started_ms = clock_now_ms();
		http_transfer_free(transfer);
		assert_in_range(clock_now_ms() - started_ms, 0, 50);
	}
	event_loop_pause(f->loop, 50);
	stop_name_server(&server);
}

#define TEST(name) cmocka_unit_test_setup_teardown(test_##name, setup, http_fixture_tear_down)

int main(void)
{
	const struct CMUnitTest tests[] = {
		TEST(broken_answers),
		TEST(stall),
		TEST(slow_is_not_stalled),
		TEST(stalled_upload),
		TEST(reset_upload),
		TEST(no_connection),
		TEST(no_descriptors),
		TEST(no_such_host),
		TEST(dead_name_server_times_out),
		TEST(cancelled_during_lookup),
		TEST(freed_during_lookup),
	};

	return cmocka_run_group_tests(tests, enter_namespaces, NULL);
}
