/* What control.c (sockets, connections) and control_http.c (requests) share. */
#pragma once

#include "executor/base/buffer.h"
#include "signal/control_answer.h"

#include <libwebsockets.h>

/* Processes whose rate is remembered; the one that was silent longest makes room. */
#define CONTROL_PEERS_MAX 64

struct control_peer {
	uid_t uid;
	pid_t pid;
	int64_t seen_ms;
	int64_t credit; /* thousandths of a request */
};

struct control_connection {
	struct control *control;
	struct control_connection *next;
	struct lws *wsi;
	uid_t uid;
	pid_t pid;
	int64_t deadline_ms; /* clock_now_ms(); 0 = none */
	/* The request at hand. */
	int64_t started_us;
	struct buffer body;
	struct buffer answer;
	const char *content_type;
	const char *allow; /* of a 405 */
	int status; /* 0 = not answered yet */
	bool is_head;
	bool is_closing; /* after the answer */
	bool has_terminated; /* a signal waits for this answer */
	/* A watcher: lines not sent yet. */
	bool is_watching;
	struct buffer events;
};

struct control {
	struct event_loop *loop;
	const struct log *log;
	struct control_model model;
	struct control_statistics statistics;
	struct event_source listener;
	struct event_source service; /* an epoll set of what libwebsockets looks at */
	struct event_timer tick; /* runs while somebody is connected */
	struct lws_context *context;
	struct lws_vhost *vhost;
	struct control_connection *connections;
	unsigned connection_count;
	struct control_peer peers[CONTROL_PEERS_MAX];
	char path[108]; /* sun_path */
};

/* The callbacks of a connection; what happened is one of libwebsockets' reasons. */
int control_http(struct control_connection *connection, enum lws_callback_reasons reason, void *in,
		 size_t size);
/* Takes one request off the peer's credit; false: it asks too often. */
bool control_peer_may_ask(struct control *control, uid_t uid, pid_t pid);
