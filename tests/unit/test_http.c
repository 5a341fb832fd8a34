#include "executor/base/clock.h"
#include "executor/base/fd.h"
#include "tests/unit/http_fixture.h"

#include <errno.h>
#include <fcntl.h>
#include <glob.h>
#include <setjmp.h>
#include <signal.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/socket.h>

#include <cmocka.h>

#define OK "HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\nhello"

static int setup(void **state)
{
	struct http_client_options options = { .user_agent = "test/1", .stall_timeout_ms = 10000 };

	return http_fixture_set_up(state, &options);
}

static void start(struct http_fixture *f, void (*serve)(struct http_peer *), const char *text,
		  const char *path)
{
	http_server_start(&f->server, serve, text);
	snprintf(f->url, sizeof(f->url), "http://127.0.0.1:%d%s", f->server.port, path);
}

static int perform(struct http_fixture *f, struct http_request request)
{
	request.method = request.method ?: "GET";
	request.url = f->url;
	return http_fixture_perform(f, &request);
}

static void test_plain_get(void **state)
{
	struct http_fixture *f = *state;
	const char *headers[] = { "X-One: 1", "X-Empty:", NULL };
	char value[64];

	start(f, http_serve_text,
	      "HTTP/1.1 200 OK\r\nContent-Length: 5\r\nX-Mixed-Case:  a b \r\n\r\nhello",
	      "/a/../b//c%20d/.?x=1");
	assert_int_equal(perform(f, (struct http_request){ .headers = headers }), 0);
	http_server_stop(&f->server);
	assert_int_equal(f->response.status, 200);
	assert_string_equal(f->response.body.data, "hello");
	assert_int_equal(f->response.content_length, 5);
	assert_int_equal(f->response.body_bytes, 5);
	assert_false(f->response.is_body_cut);
	assert_string_equal(
		http_response_header(&f->response, "x-mixed-CASE", value, sizeof(value)), "a b");
	assert_null(http_response_header(&f->response, "x-mixed", value, sizeof(value)));
	assert_non_null(strstr(f->server.peer.request, "GET /a/../b//c%20d/.?x=1 HTTP/1.1\r\n"));
	assert_non_null(strstr(f->server.peer.request, "\r\nUser-Agent: test/1\r\n"));
	assert_non_null(strstr(f->server.peer.request, "\r\nX-One: 1\r\n"));
	assert_non_null(strstr(f->server.peer.request, "\r\nX-Empty:\r\n"));
	assert_null(strcasestr(f->server.peer.request, "\r\nAccept"));
	assert_null(strcasestr(f->server.peer.request, "\r\nExpect"));
}

static size_t count_armed_timers(void)
{
	size_t armed = 0;
	glob_t names;

	assert_int_equal(glob("/proc/self/fdinfo/*", 0, NULL, &names), 0);
	for (size_t i = 0; i < names.gl_pathc; i++) {
		FILE *file = fopen(names.gl_pathv[i], "re");
		char line[128];

		while (file && fgets(line, sizeof(line), file))
			armed += strncmp(line, "it_value:", 9) == 0 && !strstr(line, "(0, 0)");
		if (file)
			fclose(file);
	}
	globfree(&names);
	return armed;
}

/* An idle process is never woken. */
static void test_no_timer_is_left(void **state)
{
	struct http_request request = { .method = "GET" };
	struct http_fixture *f = *state;
	struct http_transfer *transfer;

	start(f, http_serve_text, OK, "/");
	request.url = f->url;
	transfer = http_start(f->client, &request, NULL, NULL, &f->err);
	assert_non_null(transfer);
	assert_true(count_armed_timers() > 0);
	http_transfer_free(transfer);
	assert_int_equal(count_armed_timers(), 0);
	assert_int_equal(perform(f, (struct http_request){ 0 }), 0);
	http_server_stop(&f->server);
	assert_int_equal(count_armed_timers(), 0);
}

static void test_connection_is_kept(void **state)
{
	struct http_fixture *f = *state;

	start(f, http_serve_text, OK, "/");
	for (int i = 0; i < 20; i++)
		assert_int_equal(perform(f, (struct http_request){ 0 }), 0);
	http_server_stop(&f->server);
	assert_int_equal(f->server.connections, 1);
}

static void test_closed_kept_connection(void **state)
{
	struct http_fixture *f = *state;

	start(f, http_serve_once, OK, "/");
	for (int i = 0; i < 5; i++)
		assert_int_equal(perform(f, (struct http_request){ 0 }), 0);
	http_server_stop(&f->server);
	assert_int_equal(f->server.connections, 5);
}

static void test_sockets_are_close_on_exec(void **state)
{
	struct http_fixture *f = *state;
	int seen = 0;

	start(f, http_serve_text, OK, "/");
	assert_int_equal(perform(f, (struct http_request){ 0 }), 0);
	for (int fd = 3; fd < 256; fd++) {
		int domain = 0;
		socklen_t size = sizeof(domain);

		if (getsockopt(fd, SOL_SOCKET, SO_DOMAIN, &domain, &size) < 0 || domain != AF_INET)
			continue;
		assert_true(fcntl(fd, F_GETFD) & FD_CLOEXEC);
		seen++;
	}
	http_server_stop(&f->server);
	assert_true(seen >= 3); /* listener, both ends of the kept connection */
}

static void test_chunked_and_1_0(void **state)
{
	struct http_fixture *f = *state;

	start(f, http_serve_once,
	      "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nhello\r\n4\r\n you\r\n0\r\n"
	      "X-Trailer: HTTP/1.1\r\n\r\n",
	      "/");
	assert_int_equal(perform(f, (struct http_request){ 0 }), 0);
	http_server_stop(&f->server);
	assert_string_equal(f->response.body.data, "hello you");
	assert_int_equal(f->response.content_length, -1);

	start(f, http_serve_once, "HTTP/1.0 404 No\r\n\r\nuntil the end", "/");
	assert_int_equal(perform(f, (struct http_request){ 0 }), 0);
	http_server_stop(&f->server);
	assert_int_equal(f->response.status, 404);
	assert_string_equal(f->response.body.data, "until the end");
}

static void test_head(void **state)
{
	struct http_fixture *f = *state;

	start(f, http_serve_text, "HTTP/1.1 200 OK\r\nContent-Length: 12345\r\n\r\n", "/");
	assert_int_equal(perform(f, (struct http_request){ .method = "HEAD" }), 0);
	assert_int_equal(perform(f, (struct http_request){ .method = "HEAD" }), 0);
	http_server_stop(&f->server);
	assert_int_equal(f->response.content_length, 12345);
	assert_int_equal(f->response.body_bytes, 0);
	assert_int_equal(f->server.connections, 1);
}

static void test_upload_from_memory(void **state)
{
	static const char *const methods[] = { "PUT", "POST", "PATCH", "DELETE" };
	struct http_fixture *f = *state;

	for (size_t i = 0; i < 4; i++) {
		struct http_body body = { .data = "0123456789", .size = 10 };

		start(f, http_serve_text, OK, "/");
		assert_int_equal(
			perform(f, (struct http_request){ .method = methods[i], .body = body }), 0);
		http_server_stop(&f->server);
		assert_memory_equal(f->server.peer.request, methods[i], strlen(methods[i]));
		assert_non_null(strstr(f->server.peer.request, "\r\nContent-Length: 10\r\n"));
		assert_null(strcasestr(f->server.peer.request, "\r\nContent-Type:"));
		assert_null(strcasestr(f->server.peer.request, "\r\nExpect"));
		assert_string_equal(f->server.peer.body, "0123456789");
	}
	start(f, http_serve_text, OK, "/");
	assert_int_equal(perform(f, (struct http_request){ .method = "POST" }), 0);
	http_server_stop(&f->server);
	assert_non_null(strstr(f->server.peer.request, "\r\nContent-Length: 0\r\n"));
	start(f, http_serve_text, OK, "/");
	assert_int_equal(perform(f, (struct http_request){ .method = "DELETE" }), 0);
	http_server_stop(&f->server);
	assert_memory_equal(f->server.peer.request, "DELETE / ", 9);
	assert_null(strcasestr(f->server.peer.request, "\r\nContent-Length"));
}

/* A file of `size` bytes, each the low byte of its offset / 256. */
static int make_file(size_t size)
{
	int fd = memfd_create("upload", MFD_CLOEXEC);
	unsigned char block[256];

	for (size_t i = 0; i < size / 256; i++) {
		memset(block, 'a' + (int)(i % 26), sizeof(block));
		assert_int_equal(fd_write_all(fd, block, sizeof(block)), 0);
	}
	return fd;
}

static void test_upload_from_file(void **state)
{
	struct http_fixture *f = *state;
	_cleanup_close_ int fd = make_file(8 << 20);
	struct http_body body = { .fd = fd, .has_file = true, .offset = 256 * 3, .size = 3 << 20 };

	lseek(fd, 77, SEEK_SET);
	start(f, http_serve_text, OK, "/");
	assert_int_equal(perform(f, (struct http_request){ .method = "PUT", .body = body }), 0);
	http_server_stop(&f->server);
	assert_int_equal(f->server.peer.body_size, 3 << 20);
	assert_memory_equal(f->server.peer.body, "dddd", 4);
	assert_int_equal(f->server.peer.body[256], 'e');
	assert_int_equal(lseek(fd, 0, SEEK_CUR), 77);
}

static void test_upload_file_shrank(void **state)
{
	struct http_fixture *f = *state;
	_cleanup_close_ int fd = make_file(1 << 20);
	struct http_body body = { .fd = fd, .has_file = true, .size = 2 << 20 };

	start(f, http_serve_text, OK, "/key");
	assert_int_equal(perform(f, (struct http_request){ .method = "PUT", .body = body }),
			 -ESTALE);
	http_server_stop(&f->server);
	assert_int_equal(f->err.class, ERROR_PERMANENT);
	assert_non_null(
		strstr(f->err.message, "/key: the file to send became shorter: it has 1048576"));
}

static void test_upload_is_rewound(void **state)
{
	struct http_fixture *f = *state;
	_cleanup_close_ int fd = make_file(2 << 20);
	struct http_body body = { .fd = fd, .has_file = true, .size = 2 << 20 };

	/* The kept connection turns out to be dead only when the body is on its way. */
	start(f, http_serve_once, OK, "/");
	for (int i = 0; i < 5; i++) {
		assert_int_equal(perform(f, (struct http_request){ .method = "PUT", .body = body }),
				 0);
		assert_int_equal(f->response.status, 200);
	}
	http_server_stop(&f->server);
	assert_int_equal(f->server.peer.body_size, 2 << 20);
}

static void refuse_early(struct http_peer *peer)
{
	char head[1024];

	recv(peer->fd, head, sizeof(head), 0);
	http_peer_say(
		peer,
		"HTTP/1.1 413 Too Large\r\nContent-Length: 3\r\nConnection: close\r\n\r\nbig");
	http_peer_wait(peer);
}

static void test_upload_refused_early(void **state)
{
	struct http_fixture *f = *state;
	_cleanup_close_ int fd = make_file(8 << 20);
	struct http_body body = { .fd = fd, .has_file = true, .size = 8 << 20 };

	start(f, refuse_early, NULL, "/");
	assert_int_equal(perform(f, (struct http_request){ .method = "PUT", .body = body }), 0);
	http_server_stop(&f->server);
	assert_int_equal(f->response.status, 413);
	assert_string_equal(f->response.body.data, "big");
}

static void serve_100_mb(struct http_peer *peer)
{
	char block[65536];

	memset(block, 'x', sizeof(block));
	if (!http_peer_read(peer) ||
	    !http_peer_say(peer, "HTTP/1.1 200 OK\r\nContent-Length: 104857600\r\n\r\n"))
		return;
	for (int i = 0; i < 1600 && http_peer_write(peer, block, sizeof(block)); i++)
		;
	http_peer_wait(peer);
}

static void test_body_max(void **state)
{
	struct http_fixture *f = *state;

	start(f, serve_100_mb, NULL, "/");
	assert_int_equal(perform(f, (struct http_request){ .body_max = 1000 }), 0);
	http_server_stop(&f->server);
	assert_true(f->response.is_body_cut);
	assert_int_equal(f->response.body.size, 1000);
	assert_true(f->response.body_bytes < 1 << 20);
	assert_int_equal(f->response.content_length, 104857600);
}

static void redirect(struct http_peer *peer)
{
	const char *status = peer->server->text;
	char answer[256];

	while (http_peer_read(peer)) {
		bool is_end = strstr(peer->request, " /end ");

		snprintf(answer, sizeof(answer),
			 "HTTP/1.1 %s\r\nLocation: %s\r\nContent-Length: 2\r\n\r\nno", status,
			 strstr(peer->request, " /loop") ? "/loop" : "/end");
		http_peer_say(peer, is_end ? OK : answer);
	}
}

static void test_redirects(void **state)
{
	struct http_body body = { .data = "payload", .size = 7 };
	struct http_fixture *f = *state;

	start(f, redirect, "302 Found", "/start");
	assert_int_equal(perform(f, (struct http_request){ 0 }), 0);
	assert_int_equal(f->response.status, 302);
	assert_string_equal(f->response.body.data, "no");
	assert_int_equal(perform(f, (struct http_request){ .redirects_max = 10 }), 0);
	assert_int_equal(f->response.status, 200);
	assert_string_equal(f->response.body.data, "hello");
	http_server_stop(&f->server);

	start(f, redirect, "302 Found", "/loop");
	assert_int_equal(perform(f, (struct http_request){ .redirects_max = 10 }), -ELOOP);
	assert_int_equal(f->err.class, ERROR_PERMANENT);
	http_server_stop(&f->server);

	start(f, redirect, "303 See Other", "/start");
	assert_int_equal(perform(f, (struct http_request){ .method = "PUT",
							   .body = body,
							   .redirects_max = 10 }),
			 0);
	assert_int_equal(f->response.status, 303);
	http_server_stop(&f->server);

	start(f, redirect, "307 Temporary Redirect", "/start");
	assert_int_equal(perform(f, (struct http_request){ .method = "PUT",
							   .body = body,
							   .redirects_max = 10 }),
			 0);
	assert_int_equal(f->response.status, 200);
	http_server_stop(&f->server);
	assert_memory_equal(f->server.peer.request, "PUT /end ", 9);
	assert_string_equal(f->server.peer.body, "payload");
}

struct sink {
	struct http_fixture *f;
	struct http_transfer *transfer;
	size_t bytes;
	size_t pause_at;
	int fail_with;
	bool is_started_inside, frees_inside, is_done;
	struct http_transfer *second;
	bool is_second_done;
	int code, status;
};

static void on_second(struct http_transfer *transfer, const struct http_response *response,
		      const struct error *error, void *context)
{
	struct sink *sink = context;

	assert_ptr_equal(transfer, sink->second);
	assert_int_equal(error->code, 0);
	assert_int_equal(response->status, 200);
	sink->is_second_done = true;
}

static int take(void *context, const char *data, size_t size, struct error *err)
{
	struct sink *sink = context;
	struct http_request again = { .method = "GET", .url = sink->f->url };

	(void)data;
	sink->bytes += size;
	assert_int_equal(http_transfer_response(sink->transfer)->status, 200);
	if (sink->fail_with)
		return error_errno(err, sink->fail_with, "write /out");
	if (sink->is_started_inside && !sink->second)
		sink->second = http_start(sink->f->client, &again, on_second, sink, err);
	if (sink->frees_inside)
		http_transfer_free(TAKE_PTR(sink->transfer));
	else if (sink->pause_at && sink->bytes >= sink->pause_at)
		http_transfer_pause(sink->transfer);
	return 0;
}

static void on_end(struct http_transfer *transfer, const struct http_response *response,
		   const struct error *error, void *context)
{
	struct sink *sink = context;

	assert_ptr_equal(transfer, sink->transfer);
	sink->code = error->code;
	sink->status = response->status;
	sink->f->err = *error;
	sink->is_done = true;
}

static void start_sink(struct sink *sink, struct http_fixture *f)
{
	struct http_request request = { .method = "GET", .url = f->url, .on_data = take };

	sink->f = f;
	request.context = sink;
	sink->transfer = http_start(f->client, &request, on_end, sink, &f->err);
	assert_non_null(sink->transfer);
}

static void test_pause_and_resume(void **state)
{
	struct http_fixture *f = *state;
	struct sink sink = { .pause_at = 1 << 20 };
	size_t paused_at;

	start(f, serve_100_mb, NULL, "/");
	start_sink(&sink, f);
	event_loop_pause(f->loop, 300);
	paused_at = sink.bytes;
	assert_in_range(paused_at, 1 << 20, (1 << 20) + 256 * 1024);
	event_loop_pause(f->loop, 200);
	assert_int_equal(sink.bytes, paused_at);
	while (!sink.is_done) {
		sink.pause_at = sink.bytes + (4 << 20);
		http_transfer_resume(sink.transfer);
		event_loop_pause(f->loop, 1);
	}
	assert_int_equal(sink.code, 0);
	assert_int_equal(sink.bytes, 104857600);
	http_transfer_free(sink.transfer);
	http_server_stop(&f->server);
}

static void test_on_data_fails(void **state)
{
	struct http_fixture *f = *state;
	struct sink sink = { .fail_with = -ENOSPC };

	start(f, serve_100_mb, NULL, "/");
	start_sink(&sink, f);
	assert_int_equal(event_loop_wait(f->loop, &sink.is_done), 0);
	assert_int_equal(sink.code, -ENOSPC);
	assert_string_equal(f->err.message, "write /out: no space left on device");
	http_transfer_free(sink.transfer);
	http_server_stop(&f->server);
}

static void test_error_document_bypasses_on_data(void **state)
{
	struct http_fixture *f = *state;
	struct sink sink = { .f = f };
	struct http_request request = { .on_data = take, .context = &sink };

	start(f, http_serve_text, "HTTP/1.1 403 No\r\nContent-Length: 3\r\n\r\nwhy", "/");
	assert_int_equal(perform(f, request), 0);
	http_server_stop(&f->server);
	assert_int_equal(sink.bytes, 0);
	assert_string_equal(f->response.body.data, "why");
}

static void test_start_and_free_inside_on_data(void **state)
{
	struct http_fixture *f = *state;
	struct sink sink = { .is_started_inside = true, .frees_inside = true };

	/* The first answer is cut short by the free, so the second comes on a new connection. */
	start(f, http_serve_text, OK, "/");
	start_sink(&sink, f);
	assert_int_equal(event_loop_wait(f->loop, &sink.is_second_done), 0);
	assert_false(sink.is_done);
	assert_int_equal(sink.bytes, 5);
	http_transfer_free(sink.second);
	http_server_stop(&f->server);
}

static void test_client_freed_first(void **state)
{
	struct http_fixture *f = *state;
	struct sink sink = { .pause_at = 1 };

	start(f, serve_100_mb, NULL, "/");
	start_sink(&sink, f);
	event_loop_pause(f->loop, 50);
	http_client_free(TAKE_PTR(f->client));
	http_transfer_resume(sink.transfer);
	http_transfer_free(sink.transfer);
	http_server_stop(&f->server);
	assert_false(sink.is_done);
}

static void test_malformed_requests(void **state)
{
	struct http_fixture *f = *state;
	const char *headers[] = { "X: 1\r\nY: 2", NULL };

	strcpy(f->url, "http://127.0.0.1:1/");
	assert_int_equal(perform(f, (struct http_request){ .headers = headers }), -EINVAL);
	assert_int_equal(f->err.class, ERROR_PERMANENT);
	strcpy(f->url, "http://user:secret@127.0.0.1:99999/x?token=secret");
	assert_true(perform(f, (struct http_request){ 0 }) < 0);
	assert_int_equal(f->err.class, ERROR_PERMANENT);
	assert_non_null(strstr(f->err.message, "GET http://127.0.0.1:99999/x: "));
	assert_null(strstr(f->err.message, "secret"));
	strcpy(f->url, "file:///etc/passwd");
	assert_true(perform(f, (struct http_request){ 0 }) < 0);
	assert_int_equal(f->err.class, ERROR_PERMANENT);
}

static void test_proxy(void **state)
{
	struct http_fixture *f = *state;
	char proxy[64];

	start(f, http_serve_text, OK, "/");
	snprintf(proxy, sizeof(proxy), "http://127.0.0.1:%d", f->server.port);
	setenv("HTTP_PROXY", proxy, 1);
	strcpy(f->url, "http://a.example/x");
	assert_int_equal(perform(f, (struct http_request){ 0 }), 0);
	setenv("NO_PROXY", "10.0.0.0/8,.example", 1);
	assert_int_equal(perform(f, (struct http_request){ .proxy = proxy }), 0);
	strcpy(f->url, "http://127.0.0.1:1/");
	assert_int_equal(perform(f, (struct http_request){ 0 }), -ECONNREFUSED);
	strcpy(f->url, "http://a.example/x");
	assert_true(perform(f, (struct http_request){ 0 }) < 0);
	unsetenv("HTTP_PROXY");
	unsetenv("NO_PROXY");
	http_server_stop(&f->server);
	assert_int_equal(f->server.connections, 1);
	assert_memory_equal(f->server.peer.request, "GET http://a.example/x HTTP/1.1\r\n", 33);
}

static void test_trailers(void **state)
{
	struct http_fixture *f = *state;
	char value[64];

	start(f, http_serve_text,
	      "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\nX-A: head\r\n\r\n5\r\nhello\r\n0\r\n"
	      "X-A: tail\r\nGrpc-Status: 5\r\n\r\n",
	      "/");
	assert_int_equal(perform(f, (struct http_request){ 0 }), 0);
	http_server_stop(&f->server);
	assert_string_equal(http_response_header(&f->response, "x-a", value, sizeof(value)),
			    "head");
	assert_string_equal(http_response_trailer(&f->response, "x-a", value, sizeof(value)),
			    "tail");
	assert_string_equal(
		http_response_trailer(&f->response, "grpc-status", value, sizeof(value)), "5");
	assert_null(http_response_header(&f->response, "grpc-status", value, sizeof(value)));
}

/* What is on the other side of a unix socket is tested by those who need it: tests of plugins. */
static void test_nobody_at_a_unix_socket(void **state)
{
	struct http_fixture *f = *state;
	struct http_request request = { .unix_path = "/nonexistent/socket" };

	snprintf(f->url, sizeof(f->url), "http://localhost/x");
	setenv("HTTP_PROXY", "http://127.0.0.1:1", 1);
	assert_int_equal(perform(f, request), -ENOENT);
	unsetenv("HTTP_PROXY");
	assert_int_equal(f->err.class, ERROR_TRANSIENT);
	assert_string_equal(f->err.message,
			    "GET http://localhost/x: dial unix /nonexistent/socket: "
			    "connect: no such file or directory");
}

#define TEST(name) cmocka_unit_test_setup_teardown(test_##name, setup, http_fixture_tear_down)

int main(void)
{
	const struct CMUnitTest tests[] = {
		TEST(plain_get),
		TEST(no_timer_is_left),
		TEST(connection_is_kept),
		TEST(closed_kept_connection),
		TEST(sockets_are_close_on_exec),
		TEST(chunked_and_1_0),
		TEST(head),
		TEST(upload_from_memory),
		TEST(upload_from_file),
		TEST(upload_file_shrank),
		TEST(upload_is_rewound),
		TEST(upload_refused_early),
		TEST(body_max),
		TEST(redirects),
		TEST(pause_and_resume),
		TEST(on_data_fails),
		TEST(error_document_bypasses_on_data),
		TEST(start_and_free_inside_on_data),
		TEST(client_freed_first),
		TEST(malformed_requests),
		TEST(proxy),
		TEST(trailers),
		TEST(nobody_at_a_unix_socket),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
