/* The sockets of the control server, and libwebsockets on our loop; control_http.c has the rest. */
#include "signal/control.h"

#include "executor/base/cleanup.h"
#include "executor/base/clock.h"
#include "signal/control_internal.h"

#include <errno.h>
#include <poll.h>
#include <signal.h>
#include <stddef.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>

/* libwebsockets reserves room for so many descriptors: connections, its own pipe, a spare. */
#define DESCRIPTORS_MAX (CONTROL_CONNECTIONS_MAX + 8)

#define TICK_MS 1000

static const char busy[] = "HTTP/1.1 503 Service Unavailable\r\nconnection: close\r\n"
			   "content-type: application/json\r\ncontent-length: 50\r\n\r\n"
			   "{\"status\":503,\"error\":\"too many open connections\"}";

bool control_peer_may_ask(struct control *control, uid_t uid, pid_t pid)
{
	struct control_peer *peer = &control->peers[0];
	int64_t now_ms = clock_now_ms();

	for (size_t i = 0; i < CONTROL_PEERS_MAX; i++) {
		struct control_peer *other = &control->peers[i];

		if (other->seen_ms && other->uid == uid && other->pid == pid) {
			peer = other;
			break;
		}
		if (other->seen_ms < peer->seen_ms)
			peer = other;
	}
	if (!peer->seen_ms || peer->uid != uid || peer->pid != pid)
		*peer = (struct control_peer){ .uid = uid,
					       .pid = pid,
					       .seen_ms = now_ms,
					       .credit = CONTROL_REQUESTS_AT_ONCE * 1000 };
	peer->credit += (now_ms - peer->seen_ms) * CONTROL_REQUESTS_PER_S;
	if (peer->credit > CONTROL_REQUESTS_AT_ONCE * 1000)
		peer->credit = CONTROL_REQUESTS_AT_ONCE * 1000;
	peer->seen_ms = now_ms;
	if (peer->credit < 1000)
		return false;
	peer->credit -= 1000;
	return true;
}

/* --- connections ------------------------------------------------------------------------ */

static void forget(struct control *control, struct control_connection *connection)
{
	struct control_connection **link = &control->connections;

	while (*link && *link != connection)
		link = &(*link)->next;
	if (!*link)
		return;
	*link = connection->next;
	control->connection_count--;
	buffer_done(&connection->body);
	buffer_done(&connection->answer);
	buffer_done(&connection->events);
	free(connection);
}

/* What libwebsockets wants to know about, in an epoll set of its own inside ours. */
static int watch(struct control *control, enum lws_callback_reasons reason,
		 const struct lws_pollargs *args)
{
	struct epoll_event event = { .events = (uint32_t)args->events };
	int operation = reason == LWS_CALLBACK_ADD_POLL_FD ? EPOLL_CTL_ADD :
			reason == LWS_CALLBACK_DEL_POLL_FD ? EPOLL_CTL_DEL :
							     EPOLL_CTL_MOD;

	return epoll_ctl(control->service.fd, operation, args->fd, &event) < 0 &&
			       operation == EPOLL_CTL_ADD ?
		       -1 :
		       0;
}

static int callback(struct lws *wsi, enum lws_callback_reasons reason, void *user, void *in,
		    size_t size)
{
	struct control *control = lws_context_user(lws_get_context(wsi));
	struct control_connection *connection;

	(void)user;
	switch (reason) {
	case LWS_CALLBACK_ADD_POLL_FD:
	case LWS_CALLBACK_DEL_POLL_FD:
	case LWS_CALLBACK_CHANGE_MODE_POLL_FD:
		return watch(control, reason, in);
	case LWS_CALLBACK_HTTP:
	case LWS_CALLBACK_HTTP_BODY:
	case LWS_CALLBACK_HTTP_BODY_COMPLETION:
	case LWS_CALLBACK_HTTP_WRITEABLE:
	case LWS_CALLBACK_FILTER_PROTOCOL_CONNECTION:
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
			forget(control, connection);
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

static void service(struct control *control)
{
	/* Negative: look once, do not wait. */
	lws_service(control->context, -1);
	if (control->connection_count == 0)
		event_timer_clear(&control->tick);
	else
		event_timer_set(&control->tick,
				lws_service_adjust_timeout(control->context, TICK_MS, 0));
}

static void on_service(struct event_source *source, uint32_t revents)
{
	(void)revents;
	service((struct control *)((char *)source - offsetof(struct control, service)));
}

static void on_tick(struct event_timer *timer)
{
	struct control *control =
		(struct control *)((char *)timer - offsetof(struct control, tick));
	int64_t now_ms = clock_now_ms();

	for (struct control_connection *c = control->connections; c; c = c->next) {
		if (!c->deadline_ms || now_ms < c->deadline_ms)
			continue;
		c->deadline_ms = 0;
		lws_set_timeout(c->wsi, PENDING_TIMEOUT_USER_REASON_BASE, LWS_TO_KILL_ASYNC);
	}
	service(control);
}

static int start_service(struct control *control)
{
	struct lws_context_creation_info info = {
		.port = CONTEXT_PORT_NO_LISTEN_SERVER,
		.protocols = protocols,
		.gid = (gid_t)-1,
		.uid = (uid_t)-1,
		.user = control,
		.server_string = "argoexec",
		.fd_limit_per_thread = DESCRIPTORS_MAX,
		.max_http_header_pool = CONTROL_CONNECTIONS_MAX,
		/* Ours (CONTROL_STEP_MS, CONTROL_KEEP_ALIVE_MS) are shorter. */
		.timeout_secs = 60,
		.keepalive_timeout = 60,
		.options = LWS_SERVER_OPTION_EXPLICIT_VHOSTS,
	};
	int r;

	if (control->vhost)
		return 0;
	lws_set_log_level(0, NULL);
	control->service.fd = epoll_create1(EPOLL_CLOEXEC);
	if (control->service.fd < 0)
		return -errno;
	r = event_add(control->loop, &control->service, EPOLLIN);
	if (r < 0)
		return r;
	control->context = lws_create_context(&info);
	if (!control->context)
		return -ENOMEM;
	control->vhost = lws_create_vhost(control->context, &info);
	return control->vhost ? 0 : -ENOMEM;
}

static void stop_service(struct control *control)
{
	if (control->context)
		lws_context_destroy(TAKE_PTR(control->context));
	control->vhost = NULL;
	event_remove(&control->service);
	if (control->service.fd >= 0)
		close(TAKE_FD(control->service.fd));
}

/* libwebsockets closes the descriptor if it fails. */
static void adopt(struct control *control, int fd, const struct ucred *credentials)
{
	struct control_connection *connection = calloc(1, sizeof(*connection));
	lws_adopt_desc_t adoption = {
		.vh = control->vhost,
		.type = LWS_ADOPT_HTTP | LWS_ADOPT_SOCKET,
		.fd.sockfd = fd,
		.opaque = connection,
	};

	if (!connection) {
		close(fd);
		return;
	}
	*connection = (struct control_connection){
		.control = control,
		.next = control->connections,
		.uid = credentials->uid,
		.pid = credentials->pid,
		.deadline_ms = clock_now_ms() + CONTROL_STEP_MS,
	};
	control->connections = connection;
	control->connection_count++;
	connection->wsi = lws_adopt_descriptor_vhost_via_info(&adoption);
	if (!connection->wsi)
		forget(control, connection);
}

static void on_connection(struct event_source *source, uint32_t revents)
{
	struct control *control =
		(struct control *)((char *)source - offsetof(struct control, listener));
	struct ucred credentials = { .uid = (uid_t)-1 };
	socklen_t size = sizeof(credentials);
	int fd = accept4(source->fd, NULL, NULL, SOCK_CLOEXEC | SOCK_NONBLOCK);

	(void)revents;
	if (fd < 0)
		return;
	getsockopt(fd, SOL_SOCKET, SO_PEERCRED, &credentials, &size);
	if (control->connection_count >= CONTROL_CONNECTIONS_MAX || start_service(control) < 0) {
		/* Best effort; it fits into the socket's buffer. */
		(void)!send(fd, busy, sizeof(busy) - 1, MSG_NOSIGNAL | MSG_DONTWAIT);
		control->statistics.refused++;
		close(fd);
		if (!control->vhost)
			stop_service(control);
		return;
	}
	adopt(control, fd, &credentials);
	if (control->connection_count == 1)
		event_timer_set(&control->tick, TICK_MS);
}

/* --- watchers --------------------------------------------------------------------------- */

void control_changed(struct control *control, size_t i)
{
	_cleanup_buffer_ struct buffer line = BUFFER_INIT(CONTROL_EVENTS_BYTES_MAX);

	if (!control || !control->connections)
		return;
	if (control_write_event(&line, &control->model, i) < 0 ||
	    buffer_append_string(&line, "\n") < 0)
		return;
	for (struct control_connection *c = control->connections; c; c = c->next) {
		if (!c->is_watching)
			continue;
		/* Who does not read is not waited for. */
		if (buffer_append(&c->events, line.data, line.size) < 0)
			lws_set_timeout(c->wsi, PENDING_TIMEOUT_USER_REASON_BASE,
					LWS_TO_KILL_ASYNC);
		else
			lws_callback_on_writable(c->wsi);
	}
}

/* --- life ------------------------------------------------------------------------------- */

static int listen_at(struct control *control, const char *root)
{
	struct sockaddr_un address = { .sun_family = AF_UNIX };

	if ((size_t)snprintf(address.sun_path, sizeof(address.sun_path), "%s/" CONTROL_SOCKET_NAME,
			     root) >= sizeof(address.sun_path))
		return -ENAMETOOLONG;
	control->listener.fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
	if (control->listener.fd < 0)
		return -errno;
	/* Containers of the pod may run under any user; connecting needs write permission. bind(2)
	 * gives the file the socket's own mode (less the umask), so that no chmod by name is needed,
	 * which user code could lead elsewhere. */
	if (fchmod(control->listener.fd, 0666) < 0)
		return -errno;
	/* A socket file outlives its process: bind needs the name free. */
	unlink(address.sun_path);
	if (bind(control->listener.fd, (struct sockaddr *)&address, sizeof(address)) < 0)
		return -errno;
	memcpy(control->path, address.sun_path, sizeof(control->path));
	if (listen(control->listener.fd, CONTROL_CONNECTIONS_MAX) < 0)
		return -errno;
	return event_add(control->loop, &control->listener, EPOLLIN);
}

struct control *control_new(struct event_loop *loop, const char *root,
			    const struct control_model *model, const struct log *log,
			    struct error *err)
{
	struct control *control = calloc(1, sizeof(*control));
	int r;

	if (!control) {
		error_set(err, -ENOMEM, "out of memory");
		return NULL;
	}
	control->loop = loop;
	control->log = log;
	control->model = *model;
	control->statistics.started_ms = clock_now_ms();
	control->listener =
		(struct event_source){ .callback = on_connection, .name = "control", .fd = -1 };
	control->service = (struct event_source){ .callback = on_service,
						  .name = "control service",
						  .fd = -1 };
	r = event_timer_init(&control->tick, loop, on_tick);
	if (r == 0)
		r = listen_at(control, root);
	if (r < 0) {
		error_errno(err, r, "listen on %s/" CONTROL_SOCKET_NAME, root);
		control_free(control);
		return NULL;
	}
	return control;
}

void control_free(struct control *control)
{
	if (!control)
		return;
	stop_service(control);
	while (control->connections)
		forget(control, control->connections);
	event_remove(&control->listener);
	if (control->listener.fd >= 0)
		close(control->listener.fd);
	event_timer_done(&control->tick);
	if (control->path[0])
		unlink(control->path);
	free(control);
}
