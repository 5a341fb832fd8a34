/*
 * HTTP/1.1 and HTTP/2 client on the event loop: libcurl's multi-socket interface with c-ares, so
 * neither a dead name server nor a slow peer ever blocks the loop. One client per process; it
 * keeps connections alive per host and shares them between requests.
 *
 * Limits that hold for every request: connect (incl. name look-up and TLS) within
 * HTTP_CONNECT_TIMEOUT_MS, and a transfer that moves no byte for HTTP_STALL_TIMEOUT_MS fails.
 * There is no limit on the total time unless a request sets one. Proxies are taken from the environment (HTTPS_PROXY,
 * HTTP_PROXY, NO_PROXY and lower case). Redirects are not followed unless asked, and never turn an
 * upload into a GET: then the 3xx is the answer. Sockets are written without SIGPIPE. Messages
 * never hold user names, passwords, query strings or headers.
 */
#pragma once

#include "executor/base/buffer.h"
#include "executor/base/error.h"
#include "executor/event/loop.h"
#include "executor/http/counts.h"

#include <stdbool.h>
#include <stdint.h>
#include <sys/types.h>

#define HTTP_CONNECT_TIMEOUT_MS 30000
#define HTTP_STALL_TIMEOUT_MS 60000

/* Response headers kept (all of them, lower-cased names); a server that sends more fails. */
#define HTTP_HEADER_BYTES_MAX (64 * 1024)

struct http_client;
struct http_transfer;
struct retry;

struct http_client_options {
	const char *user_agent;
	int64_t connect_timeout_ms; /* 0 = HTTP_CONNECT_TIMEOUT_MS */
	int64_t stall_timeout_ms; /* 0 = HTTP_STALL_TIMEOUT_MS */
};

/* NULL with err filled. The loop must outlive the client. Initialises the global state of libcurl
 * and OpenSSL (counted: http_client_free undoes it). The system's certificates are read for the
 * first connection that needs them. Not to be freed inside a callback; a transfer may be freed
 * after its client, and is over then. */
struct http_client *http_client_new(struct event_loop *loop,
				    const struct http_client_options *options, struct error *err);
void http_client_free(struct http_client *client);
static inline void http_client_freep(struct http_client **client)
{
	http_client_free(*client);
}
struct event_loop *http_client_loop(struct http_client *client);
/* What its requests came to, those with a retry whose policy names a store. */
void http_client_count(const struct http_client *client, struct http_counts *ret);

/* Whom to trust, and who we are. All strings are borrowed until the transfer ends. */
struct http_tls {
	const char *ca_pem; /* the only trust root; NULL = the system's (SSL_CERT_FILE, …) */
	size_t ca_pem_size;
	const char *server_name; /* expected in the certificate; NULL = the URL's host */
	const char *client_cert_pem, *client_key_pem; /* both or neither */
	size_t client_cert_pem_size, client_key_pem_size;
	bool is_insecure; /* accept any certificate (the user asked for it) */
};

/* Where an upload comes from: a block of memory, or a range of a file (read with pread, so the
 * descriptor's offset is not touched and a retry can start over). Neither set = no body. */
struct http_body {
	const void *data;
	uint64_t size;
	int fd; /* used when data is NULL and has_file */
	uint64_t offset;
	bool has_file;
};

struct http_response {
	int status;
	struct buffer headers; /* "name: value\n" lines of the final response */
	struct buffer trailers; /* the same, of what came behind the body (RFC 9110, 6.5) */
	struct buffer body; /* up to request.body_max bytes, if on_data was not given */
	int64_t content_length; /* as declared; -1 = unknown */
	uint64_t body_bytes; /* received */
	bool is_body_cut; /* more than body_max arrived; the rest was dropped, or not waited for */
};
void http_response_done(struct http_response *response);

/* The value of a response header (case-insensitive name) copied into buffer, or NULL. */
const char *http_response_header(const struct http_response *response, const char *name,
				 char *buffer, size_t size);
/* The same for a trailer. */
const char *http_response_trailer(const struct http_response *response, const char *name,
				  char *buffer, size_t size);

struct http_request {
	const char *method; /* GET, HEAD, PUT, POST, PATCH, DELETE */
	const char *url; /* fully percent-encoded; sent as it is (dots and slashes untouched) */
	const char *const *headers; /* "Name: value", NULL terminated; may be NULL */
	struct http_body body;
	struct http_tls tls;
	const char *proxy; /* proxy URL of this request; NULL = as the environment says */
	/* A unix socket in place of the URL's host: HTTP/2 without TLS (RFC 9113, 3.3), no proxy, and
	 * a connection of its own that is closed behind the answer. NULL = none. */
	const char *unix_path;
	/* The operation that this is an attempt of: the request waits at the gate of its endpoint
	 * (gate.h) and is counted. NULL = it starts at once. */
	struct retry *retry;
	/* Whether an answer with a status below 500 shows the endpoint well nevertheless; NULL = it does. */
	bool (*is_well)(const struct http_response *response);
	/* Cookies are kept, in memory, and shown to their servers by other requests that keep them. */
	bool has_cookies;
	bool may_take_long; /* the answer ends somebody's work: no stall timeout */
	int64_t timeout_ms; /* for all of it, from when it starts; 0 = none */
	size_t body_max; /* for response.body; 0 = 64 KiB */
	unsigned redirects_max; /* 0 = a 3xx is the answer */
	/* Receives a 2xx body as it comes (other bodies always go to response.body, so that error
	 * documents can be read). Takes all of it or returns a negative errno, which fails the
	 * transfer with `err` as it was filled. May pause the transfer (http_transfer_pause), start
	 * and free transfers, also its own, but not run the loop. */
	int (*on_data)(void *context, const char *data, size_t size, struct error *err);
	void *context;
};

/* Called exactly once, unless the transfer is freed before: error->code is 0 if a complete
 * response with whatever status arrived, else what the transport ran into (class TRANSIENT for
 * everything that may heal: no route, refused, reset, timed out, cut short; PERMANENT for
 * certificates, malformed URLs, local errors). The transfer may be freed inside. */
typedef void (*http_callback)(struct http_transfer *transfer, const struct http_response *response,
			      const struct error *error, void *context);

/* Starts a request; never calls back before it has returned. `request` (the struct) is copied,
 * what it points to must stay until the end. NULL with err filled. */
struct http_transfer *http_start(struct http_client *client, const struct http_request *request,
				 http_callback callback, void *context, struct error *err);
/* Ends it in whatever state; no further callback. NULL is fine. */
void http_transfer_free(struct http_transfer *transfer);
static inline void http_transfer_freep(struct http_transfer **transfer)
{
	http_transfer_free(*transfer);
}
/* The response as far as it is known: NULL until its headers are complete (they are when on_data is
 * called for the first time), owned by the transfer. */
const struct http_response *http_transfer_response(const struct http_transfer *transfer);
/* Stops and resumes the flow of response data (back-pressure). */
void http_transfer_pause(struct http_transfer *transfer);
void http_transfer_resume(struct http_transfer *transfer);
/* How much may be on its way from the server, at most: the size of the socket's receive buffer, which
 * does not grow until it is released. 0 = that cannot be said: there is no connection. */
size_t http_transfer_hold_window(struct http_transfer *transfer);
/* Lets it grow again. */
void http_transfer_release_window(struct http_transfer *transfer);
/* The server gets no leave to send more than it was given; what little it takes to go on, it gets. */
void http_transfer_shut_window(struct http_transfer *transfer);

/* Starts and waits on the loop. Returns 0 when a response came (look at response->status), or a
 * negative errno with err filled; -ECANCELED when the loop is cancelled meanwhile. */
int http_perform(struct http_client *client, const struct http_request *request,
		 struct http_response *response, struct error *err);
