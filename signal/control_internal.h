/* What control.c (what is served), control_listener.c (sockets, connections) and control_http.c
 * (requests) share. */
#pragma once

#include "executor/base/buffer.h"
#include "signal/control_address.h"
#include "signal/control_answer.h"
#include "signal/control_peer.h"
#include "signal/control_secret.h"

#include <libwebsockets.h>

struct control_connection {
	struct control_listener *listener;
	struct control_connection *next;
	struct lws *wsi;
	struct control_peer_key key;
	char peer[CONTROL_ADDRESS_TEXT_MAX]; /* by TCP: who */
	int64_t deadline_ms; /* clock_now_ms(); 0 = none */
	/* The request at hand. */
	int64_t started_us;
	struct buffer body;
	struct buffer answer;
	const char *content_type;
	const char *allow; /* of a 405 */
	const char *challenge; /* of a 401 */
	int status; /* 0 = not answered yet */
	bool is_head;
	bool is_closing; /* after the answer */
	bool has_terminated; /* a signal waits for this answer */
	/* A watcher: how many items it was shown, then what of them changed since. */
	bool is_watching;
	size_t shown;
	struct buffer events; /* lines */
};

/* One listening socket, and who has come by it. The two share no budget, so that strangers on TCP
 * cost the clients of the unix socket nothing. */
struct control_listener {
	struct control *control;
	bool is_tcp; /* asks for the token */
	struct control_key_pair *pair; /* NULL: no TLS */
	struct event_source listening;
	struct event_source service; /* an epoll set of what libwebsockets looks at */
	struct event_timer tick; /* runs while somebody is connected */
	struct lws_context *context;
	struct lws_vhost *vhost;
	struct control_connection *connections;
	unsigned connection_count;
	struct control_peers peers;
};

struct control {
	struct event_loop *loop;
	const struct log *log;
	struct control_model model;
	struct control_statistics statistics;
	struct control_listener local;
	struct control_listener *remote; /* NULL unless it is asked for */
	struct control_token token;
	char path[108]; /* sun_path */
};

/* Listens with listener->listening.fd, which is closed by control_listener_stop(). 0 or a negative
 * errno. Descriptors are -1 before they are opened. */
int control_listener_start(struct control_listener *listener, struct control *control);
void control_listener_stop(struct control_listener *listener);
/* Item i (control_answer.h) is not as it was. */
void control_listener_changed(struct control_listener *listener, size_t item);

/* The callbacks of a connection; what happened is one of libwebsockets' reasons. */
int control_http(struct control_connection *connection, enum lws_callback_reasons reason, void *in,
		 size_t size);
