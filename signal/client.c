#include "signal/client.h"

#include "executor/base/fd.h"
#include "executor/base/text.h"
#include "signal/control.h"

#include <errno.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/time.h>
#include <sys/un.h>

/* Kinds of WebSocket frames (RFC 6455, section 5.2), with the bit that says "whole message". */
#define FRAME_TEXT 0x81
#define FRAME_CLOSE 0x88
#define FRAME_PING 0x89

static int connect_to(const char *root, struct error *err)
{
	struct sockaddr_un address = { .sun_family = AF_UNIX };
	struct timeval limit = { .tv_sec = CLIENT_TIMEOUT_S };
	_cleanup_close_ int fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);

	if ((size_t)snprintf(address.sun_path, sizeof(address.sun_path), "%s/" CONTROL_SOCKET_NAME,
			     root) >= sizeof(address.sun_path))
		return error_set(err, -ENAMETOOLONG, "%s: the path is too long for a socket", root);
	if (fd < 0 || setsockopt(fd, SOL_SOCKET, SO_RCVTIMEO, &limit, sizeof(limit)) < 0 ||
	    setsockopt(fd, SOL_SOCKET, SO_SNDTIMEO, &limit, sizeof(limit)) < 0 ||
	    connect(fd, (struct sockaddr *)&address, sizeof(address)) < 0)
		return error_errno(err, -errno, "connect to %s", address.sun_path);
	return TAKE_FD(fd);
}

static int send_all(int fd, const struct buffer *request, struct error *err)
{
	size_t sent = 0;

	while (sent < request->size) {
		ssize_t n = send(fd, request->data + sent, request->size - sent, MSG_NOSIGNAL);

		if (n < 0 && errno != EINTR)
			return error_errno(err, -errno, "send to the control socket");
		sent += n > 0 ? (size_t)n : 0;
	}
	return 0;
}

/* One read: > 0, 0 at the end, or a negative errno. */
static int receive(int fd, struct buffer *in, struct error *err)
{
	char chunk[4096];
	ssize_t n;

	do
		n = recv(fd, chunk, sizeof(chunk), 0);
	while (n < 0 && errno == EINTR);
	/* The server closes behind an answer that refuses what was not read. */
	if (n < 0 && errno == ECONNRESET)
		n = 0;
	if (n < 0)
		return error_errno(err, errno == EAGAIN ? -ETIMEDOUT : -errno,
				   "read from the control socket");
	if (n > 0 && buffer_append(in, chunk, (size_t)n) < 0)
		return error_set(err, -EMSGSIZE, "the answer of the control socket is too long");
	return (int)n;
}

/* "HTTP/1.1 NNN …" */
static int parse_status(const struct buffer *in, struct error *err)
{
	const char *text = buffer_string(in);
	char digits[4] = "";
	int64_t status;

	if (text_has_prefix(text, "HTTP/1.") && strlen(text) >= 12)
		memcpy(digits, text + 9, 3);
	if (text_parse_int64(digits, &status) < 0 || status < 100)
		return error_set(err, -EPROTO, "the control socket does not speak HTTP");
	return (int)status;
}

int client_request(const char *root, const char *method, const char *path, const char *body,
		   struct buffer *out, struct error *err)
{
	_cleanup_buffer_ struct buffer request = BUFFER_INIT(CLIENT_ANSWER_BYTES_MAX);
	_cleanup_buffer_ struct buffer in = BUFFER_INIT(CLIENT_ANSWER_BYTES_MAX);
	_cleanup_close_ int fd = connect_to(root, err);
	const char *start;
	int r;

	if (fd < 0)
		return fd;
	r = buffer_append_format(&request,
				 "%s %s HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n"
				 "Content-Length: %zu\r\n\r\n%s",
				 method, path, body ? strlen(body) : 0, body ? body : "");
	if (r < 0)
		return error_set(err, r, "the request is too long");
	r = send_all(fd, &request, err);
	if (r < 0)
		return r;
	do
		r = receive(fd, &in, err);
	while (r > 0);
	if (r < 0)
		return r;
	start = strstr(buffer_string(&in), "\r\n\r\n");
	if (!start)
		return error_set(err, -EPROTO, "the control socket gave no answer");
	r = buffer_append_string(out, start + 4);
	return r < 0 ? error_set(err, r, "out of memory") : parse_status(&in, err);
}

/* --- WebSocket --------------------------------------------------------------------------- */

/* The answer to the upgrade; what came behind it stays in `in`. */
static int shake_hands(int fd, struct buffer *in, struct error *err)
{
	_cleanup_buffer_ struct buffer request = BUFFER_INIT(1024);
	const char *end;
	int status, r;

	/* The key only keeps caches from answering; there is none on a unix socket. */
	r = buffer_append_string(&request, "GET /v1/events HTTP/1.1\r\nHost: localhost\r\n"
					   "Connection: Upgrade\r\nUpgrade: websocket\r\n"
					   "Sec-WebSocket-Version: 13\r\n"
					   "Sec-WebSocket-Key: YXJnb2V4ZWMgd2F0Y2hlcg==\r\n\r\n");
	if (r == 0)
		r = send_all(fd, &request, err);
	while (r >= 0 && !strstr(buffer_string(in), "\r\n\r\n")) {
		r = receive(fd, in, err);
		if (r == 0)
			return error_set(err, -EPROTO, "the control socket refuses to be watched");
	}
	if (r < 0)
		return r;
	status = parse_status(in, err);
	if (status < 0)
		return status;
	if (status != 101)
		return error_set(err, -EPROTO, "the control socket answers %d", status);
	end = strstr(buffer_string(in), "\r\n\r\n") + 4;
	buffer_consume(in, (size_t)(end - in->data));
	return 0;
}

/* Size of the frame's head if it is there, else 0; servers do not mask. */
static size_t parse_head(const struct buffer *in, uint64_t *ret_size)
{
	const unsigned char *head = (const unsigned char *)in->data;
	size_t extra;

	if (in->size < 2)
		return 0;
	*ret_size = head[1] & 0x7f;
	extra = *ret_size == 126 ? 2 : *ret_size == 127 ? 8 : 0;
	if (in->size < 2 + extra)
		return 0;
	if (extra)
		*ret_size = 0;
	for (size_t i = 0; i < extra; i++)
		*ret_size = *ret_size << 8 | head[2 + i];
	return 2 + extra;
}

/* Takes one frame out of `in`: 1, 0 if it is not there yet, -EPIPE at the server's goodbye. */
static int take_frame(struct buffer *in, int (*on_event)(const char *text, size_t size),
		      int *ret_stop)
{
	uint64_t size = 0;
	size_t head = parse_head(in, &size);
	unsigned char kind;

	if (head == 0)
		return 0;
	if (size > in->max - head)
		return -EMSGSIZE;
	if (in->size < head + size)
		return 0;
	kind = (unsigned char)in->data[0];
	if (kind == FRAME_CLOSE)
		return -EPIPE;
	if (kind == FRAME_TEXT)
		*ret_stop = on_event(in->data + head, (size_t)size);
	else if (kind != FRAME_PING)
		return -EPROTO;
	buffer_consume(in, head + (size_t)size);
	return 1;
}

int client_watch(const char *root, int (*on_event)(const char *text, size_t size),
		 struct error *err)
{
	_cleanup_buffer_ struct buffer in = BUFFER_INIT(CLIENT_ANSWER_BYTES_MAX);
	_cleanup_close_ int fd = connect_to(root, err);
	struct timeval forever = { .tv_sec = 0 };
	int stop = 0, r;

	if (fd < 0)
		return fd;
	r = shake_hands(fd, &in, err);
	if (r < 0)
		return r;
	/* Nothing may happen for hours. */
	setsockopt(fd, SOL_SOCKET, SO_RCVTIMEO, &forever, sizeof(forever));
	for (;;) {
		do
			r = take_frame(&in, on_event, &stop);
		while (r > 0 && !stop);
		if (stop)
			return stop;
		if (r == -EPIPE)
			return 0;
		if (r < 0)
			return error_set(err, r, "the control socket speaks nonsense");
		r = receive(fd, &in, err);
		if (r <= 0)
			return r;
	}
}
