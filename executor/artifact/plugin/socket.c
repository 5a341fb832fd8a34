#include "executor/artifact/plugin/socket.h"

#include "executor/base/cleanup.h"
#include "executor/base/clock.h"
#include "executor/base/fd.h"
#include "executor/event/watch.h"

#include <errno.h>
#include <fcntl.h>
#include <stddef.h>
#include <stdio.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>

/* Between a name and listen(2) nothing happens that could be waited for. */
#define LISTEN_PAUSE_MS 20

/* The client's first bytes and an empty SETTINGS frame; every server answers with its own SETTINGS. */
static const char greeting_text[] = "PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n"
				    "\0\0\0\4\0\0\0\0\0";
#define GREETING_BYTES (sizeof(greeting_text) - 1)

#define FRAME_HEAD_BYTES 9
#define FRAME_TYPE_OFFSET 3
#define FRAME_SETTINGS 4

/* --- the name --------------------------------------------------------------------------- */

struct arrival {
	const struct plugin_socket *socket;
	struct event_watch watch;
	struct event_timer limit;
	int code; /* of stat(2); 0 = it is there */
	bool has_ended; /* the sidecar */
	bool is_done;
};

static bool has_sidecar_ended(const struct plugin_socket *self)
{
	char path[256];

	if (!self->sidecar_directory)
		return false;
	snprintf(path, sizeof(path), "%s/exitcode", self->sidecar_directory);
	return access(path, F_OK) == 0;
}

static int say_ended(const struct plugin_socket *self, struct error *err)
{
	_cleanup_buffer_ struct buffer code = BUFFER_INIT(16);

	if (file_read_beneath(self->sidecar_directory, "exitcode", BENEATH_REFUSE, &code, NULL) < 0)
		buffer_reset(&code);
	return error_set(err, -ECHILD, "plugin %s has ended (exit code %s)", self->plugin,
			 code.size > 0 ? buffer_string(&code) : "unknown");
}

static void look(struct event_watch *watch)
{
	struct arrival *self = (struct arrival *)((char *)watch - offsetof(struct arrival, watch));
	struct stat st;

	self->code = stat(self->socket->path, &st) < 0 ? -errno : 0;
	self->has_ended = has_sidecar_ended(self->socket);
	self->is_done = self->code != -ENOENT || self->has_ended;
}

static void on_limit(struct event_timer *timer)
{
	struct arrival *self = (struct arrival *)((char *)timer - offsetof(struct arrival, limit));

	self->is_done = true;
}

static int wait_for_name(struct arrival *self, struct error *err)
{
	const struct plugin_socket *socket = self->socket;
	int r = event_timer_init(&self->limit, socket->loop, on_limit);

	if (r == 0)
		r = event_watch_init(&self->watch, socket->loop, look);
	if (r == 0) {
		event_watch_add(&self->watch, socket->directory, EVENT_WATCH_NAMES);
		if (socket->sidecar_directory)
			event_watch_add(&self->watch, socket->sidecar_directory, EVENT_WATCH_NAMES);
		event_timer_set(&self->limit, socket->wait_ms);
		look(&self->watch);
		r = event_loop_wait(socket->loop, &self->is_done);
	}
	event_watch_done(&self->watch);
	event_timer_done(&self->limit);
	if (r == -ECANCELED)
		return event_loop_cancelled_error(err);
	return r < 0 ? error_errno(err, r, "watch %s", socket->directory) : 0;
}

static int await_name(const struct plugin_socket *socket, struct error *err)
{
	struct arrival self = { .socket = socket };
	int r = 0;

	look(&self.watch);
	if (!self.is_done) {
		log_info(socket->log, "Waiting for the plugin's socket",
			 log_string("pluginName", socket->plugin),
			 log_string("socketPath", socket->path));
		r = wait_for_name(&self, err);
	}
	if (r < 0)
		return r;
	if (self.has_ended)
		return say_ended(socket, err);
	if (self.code == -ENOENT)
		return error_set(err, -ETIMEDOUT,
				 "plugin %s expected unix socket at \"%s\" but it does not exist "
				 "after waiting for %lld seconds",
				 socket->plugin, socket->path, (long long)socket->wait_ms / 1000);
	return self.code < 0 ?
		       error_errno(err, self.code, "plugin %s cannot stat unix socket at \"%s\"",
				   socket->plugin, socket->path) :
		       0;
}

/* --- the server ------------------------------------------------------------------------- */

struct greeting {
	struct event_source source;
	struct event_timer limit;
	unsigned char head[FRAME_HEAD_BYTES];
	size_t size;
	bool is_late;
	bool is_done;
};

static void on_answer(struct event_source *source, uint32_t revents)
{
	struct greeting *self = (struct greeting *)source;
	ssize_t n = recv(source->fd, self->head + self->size, sizeof(self->head) - self->size, 0);

	(void)revents;
	if (n < 0 && (errno == EAGAIN || errno == EINTR))
		return;
	if (n > 0)
		self->size += (size_t)n;
	self->is_done = n <= 0 || self->size == sizeof(self->head);
}

static void on_late(struct event_timer *timer)
{
	struct greeting *self =
		(struct greeting *)((char *)timer - offsetof(struct greeting, limit));

	self->is_late = self->is_done = true;
}

/* A connection on which we have said hello, or a negative errno. */
static int greet(const char *path)
{
	_cleanup_close_ int fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
	struct sockaddr_un address = { .sun_family = AF_UNIX };

	if ((size_t)snprintf(address.sun_path, sizeof(address.sun_path), "%s", path) >=
	    sizeof(address.sun_path))
		return -ENAMETOOLONG;
	if (fd < 0 || connect(fd, (struct sockaddr *)&address, sizeof(address)) < 0)
		return -errno;
	if (send(fd, greeting_text, GREETING_BYTES, MSG_NOSIGNAL) != (ssize_t)GREETING_BYTES)
		return -ECONNRESET;
	return TAKE_FD(fd);
}

/* Waits for the answer's first frame: 1 if it is the right one, 0 if there was none, -EPROTO. */
static int hear(const struct plugin_socket *socket, struct greeting *self, int fd)
{
	int r;

	self->source = (struct event_source){ .callback = on_answer, .name = "plugin", .fd = fd };
	self->size = 0;
	self->is_done = self->is_late;
	r = event_add(socket->loop, &self->source, EPOLLIN);
	if (r == 0)
		r = event_loop_wait(socket->loop, &self->is_done);
	event_remove(&self->source);
	if (r < 0 || self->size < sizeof(self->head))
		return r;
	return self->head[FRAME_TYPE_OFFSET] == FRAME_SETTINGS ? 1 : -EPROTO;
}

/* One try: 1, 0 = not yet, or a negative errno. */
static int try(const struct plugin_socket *socket, struct greeting *self, const char **state)
{
	int fd = greet(socket->path), r;

	*state = fd < 0 ? "TRANSIENT_FAILURE" : "CONNECTING";
	if (fd == -ECONNREFUSED || fd == -EAGAIN || fd == -ECONNRESET || fd == -ENOENT)
		return 0;
	if (fd < 0)
		return fd;
	r = hear(socket, self, fd);
	close(fd);
	return r;
}

static int await_server(const struct plugin_socket *socket, struct greeting *self,
			struct error *err)
{
	const char *state = "IDLE";
	int r;

	for (;;) {
		r = try(socket, self, &state);
		if (r == 0 && self->is_late)
			return error_set(err, -ETIMEDOUT,
					 "timeout waiting for plugin %s connection to become "
					 "ready, last state: %s (socket=\"%s\")",
					 socket->plugin, state, socket->path);
		if (r == 0 && has_sidecar_ended(socket))
			return say_ended(socket, err);
		if (r == 0)
			r = event_loop_pause(socket->loop, LISTEN_PAUSE_MS);
		if (r != 0)
			break;
	}
	if (r == -ECANCELED)
		return event_loop_cancelled_error(err);
	if (r == -EPROTO)
		return error_set(err, r, "plugin %s does not speak HTTP/2 (socket=\"%s\")",
				 socket->plugin, socket->path);
	return r < 0 ? error_errno(err, r, "plugin %s: connect to %s", socket->plugin,
				   socket->path) :
		       0;
}

int plugin_socket_await(const struct plugin_socket *socket, struct error *err)
{
	struct greeting greeting = { .is_late = false };
	int r = await_name(socket, err);

	if (r == 0 && (r = event_timer_init(&greeting.limit, socket->loop, on_late)) < 0)
		error_errno(err, r, "timerfd");
	if (r == 0) {
		event_timer_set(&greeting.limit, socket->connect_timeout_ms);
		r = await_server(socket, &greeting, err);
		event_timer_done(&greeting.limit);
	}
	if (r < 0 && err->class == ERROR_NOT_FOUND)
		err->class = ERROR_PERMANENT;
	return r;
}
