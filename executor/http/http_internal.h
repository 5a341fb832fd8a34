/*
 * What the files of the HTTP engine share. Nobody outside executor/http includes it.
 *
 * http.c          the client, its sockets and timers, the life of a transfer
 * http_perform.c  one request from start to end; reading a response
 * http_flow.c     how much of a response may come
 * http_request.c  a struct http_request as libcurl's options
 * http_payload.c  libcurl's callbacks for headers and bodies
 * http_outcome.c  libcurl's result as a struct error
 * http_trust.c    the system's certificate authorities
 * http_proxy.c    proxies from the environment
 * http_gate.c     when requests start (gate.h), and their counts
 */
#pragma once

#include "executor/http/gate.h"
#include "executor/http/http.h"

#include <curl/curl.h>
#include <sys/queue.h>

/* An address with a port, "[2001:db8::1]:443", or the path of a unix socket. */
#define HTTP_ADDRESS_MAX 108

#define HTTP_BODY_BYTES_DEFAULT (64 * 1024)

/* What is read and dropped of a body beyond body_max, so that the connection can be used again.
 * Whoever sends more than that is cut off. */
#define HTTP_DRAIN_BYTES_MAX (256 * 1024)

struct http_socket {
	struct event_source source;
	struct http_client *client;
	LIST_ENTRY(http_socket) link;
};

LIST_HEAD(http_socket_list, http_socket);
TAILQ_HEAD(http_transfer_list, http_transfer);

/* Endpoints with a gate; requests to more than these are not held back. */
#define HTTP_GATES_MAX 64

struct http_gate {
	struct http_client *client;
	struct gate gate;
	char endpoint[HTTP_ENDPOINT_MAX];
	struct http_transfer_list waiting;
	unsigned waiting_count;
	struct event_timer timer;
	char last_failure[512];
	uint64_t slowed, failed; /* how often it came to that */
	double shown; /* records that may be shown */
	int64_t shown_ms;
	unsigned hidden; /* records since the last one that was shown */
};

struct http_client {
	struct event_loop *loop;
	CURLM *multi;
	CURLSH *cookies; /* NULL = nobody keeps them yet */
	unsigned cookie_count; /* received for it */
	struct event_timer curl_timer; /* libcurl's own deadlines */
	struct event_timer kick_timer; /* work that could not be done inside libcurl */
	struct event_timer stall_timer;
	struct http_socket_list sockets;
	struct http_transfer_list transfers; /* all of them, also those that are over */
	char *user_agent;
	int64_t connect_timeout_ms;
	int64_t stall_timeout_ms;
	void *trust_store; /* X509_STORE, made with the first connection that needs it */
	int socket_error; /* the loop refused a socket of libcurl's */
	unsigned depth; /* > 0: inside libcurl, most of which must not be entered again */
	bool is_global_ready;
	bool is_watching; /* stall_timer is armed */
	struct http_gate *gates[HTTP_GATES_MAX];
	unsigned gate_count;
	struct http_counts counts; /* of stores */
};

/* Everything that changes while a connection is alive, even if the peer is slow. */
struct http_progress {
	curl_off_t uploaded;
	curl_off_t downloaded;
	size_t header_bytes;
	size_t unsent_bytes; /* in the socket's send queue */
};

enum http_phase {
	HTTP_HELD, /* by the gate of its endpoint */
	HTTP_WAITING, /* not yet given to libcurl */
	HTTP_RUNNING,
	HTTP_FINISHED, /* result known, callback due */
	HTTP_CALLED, /* nothing left but to be freed */
};

struct http_transfer {
	TAILQ_ENTRY(http_transfer) link;
	struct http_client *client; /* NULL once the client is gone */
	struct http_request request;
	http_callback callback;
	void *context;
	enum http_phase phase;
	bool is_freed; /* by its owner, while inside libcurl */

	CURL *easy;
	int fd; /* its connection's while it runs; -1 = none */
	struct curl_slist *headers;
	struct curl_slist *connect_to;
	char curl_text[CURL_ERROR_SIZE];

	struct http_response response;
	struct error error; /* code != 0: ours, and more telling than libcurl's */
	bool has_headers; /* the final response's headers are complete */

	uint64_t body_position;
	bool is_paused; /* by the owner */
	bool is_held; /* libcurl holds back data until it is told to go on */
	bool has_tls_begun;
	bool is_connected; /* TLS included */
	int64_t moved_ms; /* when the last byte was seen moving */
	struct http_progress progress;
	char remote[HTTP_ADDRESS_MAX]; /* last address tried */
	int socket_errno; /* socket(2) failed */

	struct http_gate *gate; /* NULL: none, or it is out of it */
	struct gate_pass pass;
	bool has_passed;
	int64_t held_ms; /* since when */
	TAILQ_ENTRY(http_transfer) waiting;
};

/* http.c: around everything that may move transfers; callbacks are called by the second. */
void http_client_enter(struct http_client *client);
void http_client_leave(struct http_client *client);
/* Gives a transfer to libcurl; ends it, its error being known. Both inside the above. */
void http_transfer_begin(struct http_transfer *transfer);
void http_transfer_finish(struct http_transfer *transfer);

/* http_flow.c: for CURLMOPT_SOCKETFUNCTION. (CURLINFO_ACTIVESOCKET knows a connection only when its
 * transfer is over.) */
void http_flow_socket(CURL *easy, curl_socket_t fd, int what);

/* http_request.c: makes transfer->easy; 0 or a negative errno with err filled. */
int http_request_configure(struct http_transfer *transfer, struct error *err);

/* http_payload.c */
size_t http_payload_on_header(char *line, size_t size, size_t count, void *context);
size_t http_payload_on_body(char *data, size_t size, size_t count, void *context);
size_t http_payload_read(char *data, size_t size, size_t count, void *context);
int http_payload_seek(void *context, curl_off_t offset, int origin);

/* http_outcome.c: fills err (code 0 = a whole response) from libcurl's result and what is known. */
void http_outcome(struct http_transfer *transfer, CURLcode result, struct error *err);
/* Fills err for a transfer that did not move for too long. */
void http_outcome_stalled(struct http_transfer *transfer, struct error *err);
/* "<METHOD> <url without user, password, query and fragment>: " in front of err's message. */
void http_outcome_prefix(const struct http_request *request, struct error *err);

/* http_trust.c: CURLOPT_SSL_CTX_FUNCTION; context is the transfer. */
CURLcode http_trust_on_context(CURL *easy, void *ssl_context, void *context);
void http_trust_free(void *trust_store);

/* http_proxy.c: the proxy for a URL, "" = none; *ret_exceptions is for CURLOPT_NOPROXY. Both are
 * static or the environment's storage. */
const char *http_proxy_for(const char *url, const char **ret_exceptions);

/* http_gate.c: true = the transfer has to wait, and will be begun by its gate. */
bool http_gate_hold(struct http_transfer *transfer);
/* It has ended, or waits no longer; while libcurl's handle is there still. */
void http_gate_leave(struct http_transfer *transfer);
void http_gate_free(struct http_client *client);
