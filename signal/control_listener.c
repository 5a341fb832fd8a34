/* Connections to the control server, and libwebsockets on our loop; control_http.c has the rest. */
#include "executor/base/cleanup.h"
#include "executor/base/clock.h"
#include "signal/control_internal.h"

#include <errno.h>
#include <netinet/tcp.h>
#include <stddef.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/socket.h>

/* libwebsockets reserves room for so many descriptors: connections, its own pipe, a spare. */
#define DESCRIPTORS_MAX (CONTROL_CONNECTIONS_MAX + 8)

/* Who has connected and waits to be let in or refused, which takes some 20 us each. A kernel that has
 * no room for one more drops it, and a client by TCP tries again after a second only. */
#define BACKLOG 512

#define TICK_MS 1000

/* A peer by TCP that vanished without a word holds its place so long: seconds of silence, between
 * probes, and their number. */
#define ALIVE_AFTER_S 60
#define ALIVE_INTERVAL_S 10
#define ALIVE_PROBES 3

static const char busy[] = "HTTP/1.1 503 Service Unavailable\r\nconnection: close\r\n"
			   "content-type: application/json\r\ncontent-length: 50\r\n\r\n"
			   "{\"status\":503,\"error\":\"too many open connections\"}";

/* --- connections ------------------------------------------------------------------------ */

static void forget(struct control_listener *listener, const struct control_connection *which)
{
	struct control_connection **link = &listener->connections;
	struct control_connection *connection;

	while (*link && *link != which)
		link = &(*link)->next;
	connection = *link;
	if (!connection)
		return;
	*link = connection->next;
	listener->connection_count--;
	buffer_done(&connection->body);
	buffer_done(&connection->answer);
	buffer_done(&connection->events);
	free(connection);
}

/* What libwebsockets wants to know about, in an epoll set of its own inside ours. */
static int watch(struct control_listener *listener, enum lws_callback_reasons reason,
		 const struct lws_pollargs *args)
{
	struct epoll_event event = { .events = (uint32_t)args->events };
	int operation = reason == LWS_CALLBACK_ADD_POLL_FD ? EPOLL_CTL_ADD :
			reason == LWS_CALLBACK_DEL_POLL_FD ? EPOLL_CTL_DEL :
							     EPOLL_CTL_MOD;

	return epoll_ctl(listener->service.fd, operation, args->fd, &event) < 0 &&
			       operation == EPOLL_CTL_ADD ?
		       -1 :
		       0;
}

static int callback(struct lws *wsi, enum lws_callback_reasons reason, void *user, void *in,
		    size_t size)
{
	struct control_listener *listener = lws_context_user(lws_get_context(wsi));
	struct control_connection *connection;

	switch (reason) {
	case LWS_CALLBACK_ADD_POLL_FD:
	case LWS_CALLBACK_DEL_POLL_FD:
	case LWS_CALLBACK_CHANGE_MODE_POLL_FD:
		return watch(listener, reason, in);
	case LWS_CALLBACK_OPENSSL_LOAD_EXTRA_SERVER_VERIFY_CERTS:
		return control_key_pair_use(listener->pair, user);
	case LWS_CALLBACK_HTTP:
	case LWS_CALLBACK_HTTP_BODY:
	case LWS_CALLBACK_HTTP_BODY_COMPLETION:
	case LWS_CALLBACK_HTTP_WRITEABLE:
	case LWS_CALLBACK_HTTP_CONFIRM_UPGRADE:
	case LWS_CALLBACK_ESTABLISHED:
	case LWS_CALLBACK_SERVER_WRITEABLE:
		connection = lws_get_opaque_user_data(wsi);
		if (!connection)
			return -1;
		connection->wsi = wsi;
		return control_http(connection, reason, in, size);
	case LWS_CALLBACK_WSI_DESTROY:
		connection = lws_get_opaque_user_data(wsi);
		if (connection)
			forget(listener, connection);
		return 0;
	default:
		return 0;
	}
}

static const struct lws_protocols protocols[] = {
	{ "argoexec", callback, 0, 1024, 0, NULL, 0 },
	{ NULL, NULL, 0, 0, 0, NULL, 0 },
};

/* --- the service ------------------------------------------------------------------------ */

static void serve(struct control_listener *listener)
{
	/* Negative: look once, do not wait. */
	lws_service(listener->context, -1);
	if (listener->connection_count == 0)
		event_timer_clear(&listener->tick);
	else
		event_timer_set(&listener->tick,
				lws_service_adjust_timeout(listener->context, TICK_MS, 0));
}

static void on_service(struct event_source *source, uint32_t revents)
{
	(void)revents;
	serve((struct control_listener *)((char *)source -
					  offsetof(struct control_listener, service)));
}

static void on_tick(struct event_timer *timer)
{
	struct control_listener *listener =
		(struct control_listener *)((char *)timer -
					    offsetof(struct control_listener, tick));
	int64_t now_ms = clock_now_ms();

	for (struct control_connection *c = listener->connections; c; c = c->next) {
		if (!c->deadline_ms || now_ms < c->deadline_ms)
			continue;
		c->deadline_ms = 0;
		lws_set_timeout(c->wsi, PENDING_TIMEOUT_USER_REASON_BASE, LWS_TO_KILL_ASYNC);
	}
	serve(listener);
}

static int start_service(struct control_listener *listener)
{
	struct lws_context_creation_info info = {
		.port = CONTEXT_PORT_NO_LISTEN_SERVER,
		.protocols = protocols,
		.gid = (gid_t)-1,
		.uid = (uid_t)-1,
		.user = listener,
		.server_string = "argoexec",
		.alpn = "http/1.1",
		.fd_limit_per_thread = DESCRIPTORS_MAX,
		.max_http_header_pool = CONTROL_CONNECTIONS_MAX,
		/* Ours (CONTROL_STEP_MS, CONTROL_KEEP_ALIVE_MS) are shorter. */
		.timeout_secs = 60,
		.keepalive_timeout = 60,
		.options = LWS_SERVER_OPTION_EXPLICIT_VHOSTS,
	};
	int r;

	if (listener->vhost)
		return 0;
	/* The certificate is ours to give (control_key_pair_use()). */
	if (listener->pair)
		info.options |= LWS_SERVER_OPTION_DO_SSL_GLOBAL_INIT |
				LWS_SERVER_OPTION_CREATE_VHOST_SSL_CTX;
	lws_set_log_level(0, NULL);
	listener->service.fd = epoll_create1(EPOLL_CLOEXEC);
	if (listener->service.fd < 0)
		return -errno;
	r = event_add(listener->control->loop, &listener->service, EPOLLIN);
	if (r < 0)
		return r;
	listener->context = lws_create_context(&info);
	if (!listener->context)
		return -ENOMEM;
	listener->vhost = lws_create_vhost(listener->context, &info);
	return listener->vhost ? 0 : -ENOMEM;
}

static void stop_service(struct control_listener *listener)
{
	if (listener->context)
		lws_context_destroy(TAKE_PTR(listener->context));
	listener->vhost = NULL;
	event_remove(&listener->service);
	if (listener->service.fd >= 0)
		close(TAKE_FD(listener->service.fd));
}

/* libwebsockets closes the descriptor if it fails. */
static void adopt(struct control_listener *listener, int fd, const struct control_peer_key *key,
		  const char *peer)
{
	struct control_connection *connection = calloc(1, sizeof(*connection));
	lws_adopt_desc_t adoption = {
		.vh = listener->vhost,
		.type = LWS_ADOPT_HTTP | LWS_ADOPT_SOCKET |
			(listener->pair ? LWS_ADOPT_ALLOW_SSL : 0),
		.fd.sockfd = fd,
		.opaque = connection,
	};
	struct lws *wsi;

	if (!connection) {
		close(fd);
		return;
	}
	connection->listener = listener;
	connection->next = listener->connections;
	connection->key = *key;
	snprintf(connection->peer, sizeof(connection->peer), "%s", peer);
	connection->deadline_ms = clock_now_ms() + CONTROL_STEP_MS;
	listener->connections = connection;
	listener->connection_count++;
	wsi = lws_adopt_descriptor_vhost_via_info(&adoption);
	/* Without one the connection is gone, or was never known: it must not be touched. */
	if (wsi)
		connection->wsi = wsi;
	else
		forget(listener, connection);
}

/* Whether one more may come in from there. */
static bool has_room(struct control_listener *listener, const struct control_peer_key *key)
{
	int64_t now_ms = clock_now_ms();
	unsigned count = 0;

	if (listener->connection_count >= CONTROL_CONNECTIONS_MAX)
		return false;
	if (!listener->is_tcp)
		return true;
	for (struct control_connection *c = listener->connections; c; c = c->next)
		count += memcmp(&c->key, key, sizeof(*key)) == 0;
	return count < CONTROL_ADDRESS_CONNECTIONS_MAX &&
	       control_bucket_take(&control_peer_find(&listener->peers, key, now_ms)->connections,
				   CONTROL_ADDRESS_CONNECTIONS_PER_S,
				   CONTROL_ADDRESS_CONNECTIONS_AT_ONCE, now_ms);
}

static void identify(const struct control_listener *listener, int fd,
		     const struct sockaddr_storage *address, struct control_peer_key *ret,
		     char peer[CONTROL_ADDRESS_TEXT_MAX])
{
	struct ucred credentials = { .uid = (uid_t)-1 };
	socklen_t size = sizeof(credentials);

	peer[0] = '\0';
	*ret = control_peer_key_of(address);
	if (listener->is_tcp) {
		control_address_format(address, peer);
		credentials.pid = 0;
	} else {
		getsockopt(fd, SOL_SOCKET, SO_PEERCRED, &credentials, &size);
	}
	ret->uid = credentials.uid;
	ret->pid = credentials.pid;
}

/* Answers are written in two pieces, and the second one shall not wait for an acknowledgement. */
static void tune(int fd)
{
	const int on = 1, after = ALIVE_AFTER_S, interval = ALIVE_INTERVAL_S, probes = ALIVE_PROBES;

	setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &on, sizeof(on));
	setsockopt(fd, SOL_SOCKET, SO_KEEPALIVE, &on, sizeof(on));
	setsockopt(fd, IPPROTO_TCP, TCP_KEEPIDLE, &after, sizeof(after));
	setsockopt(fd, IPPROTO_TCP, TCP_KEEPINTVL, &interval, sizeof(interval));
	setsockopt(fd, IPPROTO_TCP, TCP_KEEPCNT, &probes, sizeof(probes));
}

/* One at a time: whatever else has happened has its turn before the next one. */
static void on_connection(struct event_source *source, uint32_t revents)
{
	struct control_listener *listener =
		(struct control_listener *)((char *)source -
					    offsetof(struct control_listener, listening));
	struct sockaddr_storage address = { .ss_family = AF_UNSPEC };
	socklen_t size = sizeof(address);
	char peer[CONTROL_ADDRESS_TEXT_MAX];
	struct control_peer_key key;
	int fd = accept4(source->fd, (struct sockaddr *)&address, &size,
			 SOCK_CLOEXEC | SOCK_NONBLOCK);

	(void)revents;
	if (fd < 0)
		return;
	identify(listener, fd, &address, &key, peer);
	if (!has_room(listener, &key) || start_service(listener) < 0) {
		/* Best effort; it fits into the socket's buffer. */
		if (!listener->pair)
			(void)!send(fd, busy, sizeof(busy) - 1, MSG_NOSIGNAL | MSG_DONTWAIT);
		listener->control->statistics.refused++;
		close(fd);
		if (!listener->vhost)
			stop_service(listener);
		return;
	}
	if (listener->is_tcp)
		tune(fd);
	adopt(listener, fd, &key, peer);
	if (listener->connection_count == 1)
		event_timer_set(&listener->tick, TICK_MS);
}

/* --- watchers --------------------------------------------------------------------------- */

void control_listener_changed(struct control_listener *listener, size_t item)
{
	_cleanup_buffer_ struct buffer line = BUFFER_INIT(CONTROL_EVENTS_BYTES_MAX);

	for (struct control_connection *c = listener->connections; c; c = c->next) {
		/* What was not shown yet will be shown as it is then. */
		if (!c->is_watching || item >= c->shown)
			continue;
		if (line.size == 0 &&
		    (control_write_event(&line, &listener->control->model, item) < 0 ||
		     buffer_append_string(&line, "\n") < 0))
			return;
		/* Who does not read is not waited for. */
		if (buffer_append(&c->events, line.data, line.size) < 0)
			lws_set_timeout(c->wsi, PENDING_TIMEOUT_USER_REASON_BASE,
					LWS_TO_KILL_ASYNC);
		else
			lws_callback_on_writable(c->wsi);
	}
}

/* --- life ------------------------------------------------------------------------------- */

int control_listener_start(struct control_listener *listener, struct control *control)
{
	int r;

	listener->control = control;
	listener->listening.callback = on_connection;
	listener->listening.name = "control";
	listener->service.callback = on_service;
	listener->service.name = "control service";
	r = event_timer_init(&listener->tick, control->loop, on_tick);
	if (r < 0)
		return r;
	if (listen(listener->listening.fd, BACKLOG) < 0)
		return -errno;
	return event_add(control->loop, &listener->listening, EPOLLIN);
}

void control_listener_stop(struct control_listener *listener)
{
	stop_service(listener);
	while (listener->connections)
		forget(listener, listener->connections);
	event_remove(&listener->listening);
	if (listener->listening.fd >= 0)
		close(TAKE_FD(listener->listening.fd));
	event_timer_done(&listener->tick);
}
