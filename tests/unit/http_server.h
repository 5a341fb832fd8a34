/*
 * A server on loopback that says exactly what a test wants said: every connection is handed to the
 * test's function, on the server's thread, one after the other. Plain or TLS.
 */
#pragma once

#include <pthread.h>
#include <stdbool.h>
#include <stddef.h>

struct http_server;

struct http_peer {
	struct http_server *server;
	int fd;
	unsigned number; /* of the connection, from 1 */
	void *ssl;
	char request[64 * 1024]; /* the last one's head, NUL terminated */
	size_t body_size; /* and its body */
	char body[4096]; /* the first bytes of it, NUL terminated */
};

struct http_server {
	pthread_t thread;
	void (*serve)(struct http_peer *peer);
	const void *text; /* for the serve function */
	int listener;
	int stop_fd;
	int port;
	unsigned connections; /* read after http_server_stop */
	void *ssl_context;
	struct http_peer peer;
};

/* On any port; fails the test if it cannot start. `text` is for http_serve_text & co. */
void http_server_start(struct http_server *server, void (*serve)(struct http_peer *),
		       const void *text);
/* The same with TLS: cert and key are PEM files; client_ca (PEM file) asks for a certificate. */
void http_server_start_tls(struct http_server *server, void (*serve)(struct http_peer *),
			   const void *text, const char *cert, const char *key,
			   const char *client_ca);
void http_server_stop(struct http_server *server);

/* Reads one request with its body; false when the client has closed or the server stops. */
bool http_peer_read(struct http_peer *peer);
bool http_peer_write(struct http_peer *peer, const void *data, size_t size);
bool http_peer_say(struct http_peer *peer, const char *text);
/* Makes the coming close a reset. */
void http_peer_reset(struct http_peer *peer);
/* Until the client closes or the server stops. */
void http_peer_wait(struct http_peer *peer);

/* Serve functions: answer every request of a connection with server->text. */
void http_serve_text(struct http_peer *peer);
/* … answer one and close. */
void http_serve_once(struct http_peer *peer);
