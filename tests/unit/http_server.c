#include "tests/unit/http_server.h"

#include <arpa/inet.h>
#include <openssl/ssl.h>
#include <poll.h>
#include <setjmp.h>
#include <signal.h>
#include <stdarg.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>
#include <sys/eventfd.h>
#include <sys/socket.h>
#include <unistd.h>

#include <cmocka.h>

/* False when the server shall stop, or another connection is waiting for an idle one to end. */
static bool wait_readable(const struct http_server *server, int fd, bool is_idle)
{
	struct pollfd fds[3] = {
		{ .fd = server->stop_fd, .events = POLLIN },
		{ .fd = fd, .events = POLLIN },
		{ .fd = server->listener, .events = POLLIN },
	};

	if (poll(fds, is_idle ? 3 : 2, -1) <= 0 || fds[0].revents)
		return false;
	return fds[1].revents || !is_idle;
}

static ssize_t receive(struct http_peer *peer, void *data, size_t size, bool is_idle)
{
	if (!(peer->ssl && SSL_pending(peer->ssl) > 0) &&
	    !wait_readable(peer->server, peer->fd, is_idle))
		return -1;
	return peer->ssl ? SSL_read(peer->ssl, data, (int)size) : recv(peer->fd, data, size, 0);
}

bool http_peer_write(struct http_peer *peer, const void *data, size_t size)
{
	const char *p = data;

	while (size > 0) {
		ssize_t n = peer->ssl ? SSL_write(peer->ssl, p, (int)size) :
					send(peer->fd, p, size, MSG_NOSIGNAL);

		if (n <= 0)
			return false;
		p += n;
		size -= (size_t)n;
	}
	return true;
}

bool http_peer_say(struct http_peer *peer, const char *text)
{
	return http_peer_write(peer, text, strlen(text));
}

static bool read_body(struct http_peer *peer, const char *begun, size_t size, size_t expected)
{
	char chunk[65536];

	memset(peer->body, 0, sizeof(peer->body));
	memcpy(peer->body, begun, size < sizeof(peer->body) ? size : sizeof(peer->body) - 1);
	peer->body_size = size;
	while (peer->body_size < expected) {
		ssize_t n = receive(peer, chunk, sizeof(chunk), false);

		if (n <= 0)
			return false;
		for (ssize_t i = 0; i < n && peer->body_size + (size_t)i < sizeof(peer->body) - 1;
		     i++)
			peer->body[peer->body_size + (size_t)i] = chunk[i];
		peer->body_size += (size_t)n;
	}
	return true;
}

bool http_peer_read(struct http_peer *peer)
{
	size_t size = 0;
	char *end = NULL;
	const char *length;

	while (!end) {
		ssize_t n = receive(peer, peer->request + size, sizeof(peer->request) - 1 - size,
				    size == 0);

		if (n <= 0)
			return false;
		memset(peer->request + size + n, 0, sizeof(peer->request) - size - (size_t)n);
		size += (size_t)n;
		end = strstr(peer->request, "\r\n\r\n");
	}
	length = strcasestr(peer->request, "\r\ncontent-length: ");
	if (!read_body(peer, end + 4, size - (size_t)(end + 4 - peer->request),
		       length ? strtoull(length + 18, NULL, 10) : 0))
		return false;
	end[2] = '\0';
	return true;
}

void http_peer_reset(struct http_peer *peer)
{
	struct linger linger = { .l_onoff = 1 };

	setsockopt(peer->fd, SOL_SOCKET, SO_LINGER, &linger, sizeof(linger));
}

void http_peer_wait(struct http_peer *peer)
{
	char byte;

	while (wait_readable(peer->server, peer->fd, false) && recv(peer->fd, &byte, 1, 0) > 0)
		;
}

void http_serve_text(struct http_peer *peer)
{
	while (http_peer_read(peer) && http_peer_say(peer, peer->server->text))
		;
}

void http_serve_once(struct http_peer *peer)
{
	if (http_peer_read(peer))
		http_peer_say(peer, peer->server->text);
}

static void *run(void *context)
{
	struct http_server *server = context;
	struct http_peer *peer = &server->peer;
	sigset_t pipe;

	/* OpenSSL's sockets raise it, in the writing thread; the client must do without. */
	sigemptyset(&pipe);
	sigaddset(&pipe, SIGPIPE);
	pthread_sigmask(SIG_BLOCK, &pipe, NULL);
	while (wait_readable(server, server->listener, false)) {
		peer->fd = accept4(server->listener, NULL, NULL, SOCK_CLOEXEC);
		if (peer->fd < 0)
			continue;
		peer->number = ++server->connections;
		if (server->ssl_context) {
			peer->ssl = SSL_new(server->ssl_context);
			SSL_set_fd(peer->ssl, peer->fd);
		}
		if (!peer->ssl || SSL_accept(peer->ssl) == 1) {
			server->serve(peer);
		} else { /* the alert must not be overtaken by a reset */
			shutdown(peer->fd, SHUT_WR);
			http_peer_wait(peer);
		}
		SSL_free(peer->ssl);
		peer->ssl = NULL;
		close(peer->fd);
	}
	return NULL;
}

void http_server_start(struct http_server *server, void (*serve)(struct http_peer *),
		       const void *text)
{
	struct sockaddr_in address = { .sin_family = AF_INET,
				       .sin_addr.s_addr = htonl(INADDR_LOOPBACK) };
	socklen_t size = sizeof(address);
	void *ssl_context = server->ssl_context;

	memset(server, 0, sizeof(*server));
	server->ssl_context = ssl_context;
	server->serve = serve;
	server->text = text;
	server->peer.server = server;
	server->stop_fd = eventfd(0, EFD_CLOEXEC);
	server->listener = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
	assert_int_equal(bind(server->listener, (struct sockaddr *)&address, size), 0);
	assert_int_equal(listen(server->listener, 16), 0);
	assert_int_equal(getsockname(server->listener, (struct sockaddr *)&address, &size), 0);
	server->port = ntohs(address.sin_port);
	assert_int_equal(pthread_create(&server->thread, NULL, run, server), 0);
}

void http_server_start_tls(struct http_server *server, void (*serve)(struct http_peer *),
			   const void *text, const char *cert, const char *key,
			   const char *client_ca)
{
	SSL_CTX *context = SSL_CTX_new(TLS_server_method());

	assert_int_equal(SSL_CTX_use_certificate_chain_file(context, cert), 1);
	assert_int_equal(SSL_CTX_use_PrivateKey_file(context, key, SSL_FILETYPE_PEM), 1);
	if (client_ca) {
		assert_int_equal(SSL_CTX_load_verify_locations(context, client_ca, NULL), 1);
		SSL_CTX_set_verify(context, SSL_VERIFY_PEER | SSL_VERIFY_FAIL_IF_NO_PEER_CERT,
				   NULL);
	}
	server->ssl_context = context;
	http_server_start(server, serve, text);
}

void http_server_stop(struct http_server *server)
{
	uint64_t one = 1;

	assert_int_equal(write(server->stop_fd, &one, sizeof(one)), sizeof(one));
	pthread_join(server->thread, NULL);
	close(server->listener);
	close(server->stop_fd);
	SSL_CTX_free(server->ssl_context);
	server->ssl_context = NULL;
}
