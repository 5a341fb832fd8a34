#include "executor/process/channel.h"

#include "executor/base/cleanup.h"
#include "executor/base/text.h"

#include "executor/process/signals.h"

#include <errno.h>
#include <stdio.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>

#define TEMPORARY_NAME "wait.tmp"

struct peer {
	struct event_source source;
	struct channel_server *server;
	struct peer *next;
	char container[CHANNEL_NAME_MAX]; /* "" until hello */
	pid_t pid; /* as the kernel saw it at connect; 0 = another PID namespace */
};

struct channel_server {
	struct event_source listener;
	struct channel_server_options options;
	struct peer *peers;
	unsigned peer_count;
	char path[sizeof(((struct sockaddr_un *)0)->sun_path)];
};

static int socket_address(const char *root, const char *name, struct sockaddr_un *ret)
{
	*ret = (struct sockaddr_un){ .sun_family = AF_UNIX };
	if ((size_t)snprintf(ret->sun_path, sizeof(ret->sun_path), "%s/%s", root, name) >=
	    sizeof(ret->sun_path))
		return -ENAMETOOLONG;
	return 0;
}

/* One whole, well-formed message: 1, or 0 when there is none now, or negative: drop the peer. */
static int receive(int fd, struct channel_message *message)
{
	ssize_t n = recv(fd, message, sizeof(*message), MSG_DONTWAIT | MSG_TRUNC);

	if (n < 0)
		return errno == EAGAIN || errno == EINTR ? 0 : -errno;
	if (n != sizeof(*message) || message->magic != CHANNEL_MAGIC ||
	    memchr(message->text, '\0', sizeof(message->text)) == NULL)
		return -EPROTO;
	return 1;
}

/* --- wrapper ---------------------------------------------------------------------------- */

static void lose(struct channel_client *client)
{
	channel_client_done(client);
	client->on_lost(client);
}

static void on_client_readable(struct event_source *source, uint32_t revents)
{
	struct channel_client *client = (struct channel_client *)source;
	struct channel_message message;
	int r;

	(void)revents;
	while ((r = receive(source->fd, &message)) > 0) {
		if (message.kind != CHANNEL_SIGNAL || message.number < 1 ||
		    message.number > SIGNALS_MAX) {
			r = -EPROTO;
			break;
		}
		client->on_signal(client, message.number);
		if (!source->loop)
			return;
	}
	if (r < 0)
		lose(client);
}

int channel_client_connect(struct channel_client *client, struct event_loop *loop, const char *root,
			   const char *container)
{
	struct channel_message hello = { .magic = CHANNEL_MAGIC, .kind = CHANNEL_HELLO };
	_cleanup_close_ int fd = -1;
	struct sockaddr_un address;
	int r = socket_address(root, CHANNEL_SOCKET_NAME, &address);

	if (r < 0)
		return r;
	snprintf(hello.text, sizeof(hello.text), "%s", container);
	fd = socket(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
	if (fd < 0 || connect(fd, (struct sockaddr *)&address, sizeof(address)) < 0 ||
	    send(fd, &hello, sizeof(hello), MSG_NOSIGNAL | MSG_DONTWAIT) < 0)
		return -errno;
	client->source = (struct event_source){ .callback = on_client_readable,
						.name = "channel",
						.fd = fd };
	r = event_add(loop, &client->source, EPOLLIN);
	if (r < 0) {
		client->source.fd = -1;
		return r;
	}
	TAKE_FD(fd);
	return 0;
}

bool channel_client_is_connected(const struct channel_client *client)
{
	return client->source.loop != NULL;
}

void channel_client_done(struct channel_client *client)
{
	if (!client->source.loop)
		return;
	event_remove(&client->source);
	close(TAKE_FD(client->source.fd));
}

/* --- wait ------------------------------------------------------------------------------- */

static void drop_peer(struct peer *peer)
{
	struct channel_server *server = peer->server;
	struct peer **link = &server->peers;
	char container[CHANNEL_NAME_MAX];

	while (*link != peer)
		link = &(*link)->next;
	*link = peer->next;
	server->peer_count--;
	memcpy(container, peer->container, sizeof(container));
	event_remove(&peer->source);
	close(peer->source.fd);
	free(peer);
	if (container[0] && !channel_server_has(server, container))
		server->options.on_gone(server->options.context, container);
}

static void on_peer_readable(struct event_source *source, uint32_t revents)
{
	struct peer *peer = (struct peer *)source;
	struct channel_message message;
	int r = receive(source->fd, &message);

	(void)revents;
	if (r == 0)
		return;
	if (r < 0 || message.kind != CHANNEL_HELLO || peer->container[0] ||
	    !text_is_dns_label(message.text)) {
		drop_peer(peer);
		return;
	}
	memcpy(peer->container, message.text, sizeof(peer->container));
	peer->server->options.on_hello(peer->server->options.context, peer->container, peer->pid);
}

/* No descriptor or no memory for another connection, which would wake the loop for ever. Closed,
 * those who wait in the queue, and all who come later, know that they have to use the files. */
static void stop_listening(struct channel_server *server)
{
	event_remove(&server->listener);
	close(TAKE_FD(server->listener.fd));
	unlink(server->path);
	server->path[0] = '\0';
}

static void on_connection(struct event_source *source, uint32_t revents)
{
	struct channel_server *server = (struct channel_server *)source;
	struct ucred credentials = { 0 };
	socklen_t size = sizeof(credentials);
	struct peer *peer;
	int fd = accept4(source->fd, NULL, NULL, SOCK_CLOEXEC | SOCK_NONBLOCK);

	(void)revents;
	if (fd < 0) {
		if (errno != EAGAIN && errno != EINTR && errno != ECONNABORTED)
			stop_listening(server);
		return;
	}
	peer = server->peer_count < CHANNEL_PEERS_MAX ? calloc(1, sizeof(*peer)) : NULL;
	if (!peer) {
		close(fd);
		return;
	}
	if (getsockopt(fd, SOL_SOCKET, SO_PEERCRED, &credentials, &size) == 0)
		peer->pid = credentials.pid;
	peer->server = server;
	peer->source =
		(struct event_source){ .callback = on_peer_readable, .name = "wrapper", .fd = fd };
	if (event_add(source->loop, &peer->source, EPOLLIN) < 0) {
		close(fd);
		free(peer);
		return;
	}
	peer->next = server->peers;
	server->peers = peer;
	server->peer_count++;
}

/* Under a temporary name first: a wrapper tries as soon as it sees the name, and only then. */
static int listen_at(struct channel_server *server, struct event_loop *loop)
{
	struct sockaddr_un address, temporary;
	int r = socket_address(server->options.root, CHANNEL_SOCKET_NAME, &address);

	if (r == 0)
		r = socket_address(server->options.root, TEMPORARY_NAME, &temporary);
	if (r < 0)
		return r;
	server->listener.fd = socket(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
	if (server->listener.fd < 0)
		return -errno;
	/* A socket file outlives its process: bind needs the name free. */
	unlink(temporary.sun_path);
	if (bind(server->listener.fd, (struct sockaddr *)&temporary, sizeof(temporary)) < 0)
		return -errno;
	memcpy(server->path, temporary.sun_path, sizeof(server->path));
	/* Wrappers may run under any user; connecting needs write permission. */
	if (chmod(temporary.sun_path, 0666) < 0 ||
	    listen(server->listener.fd, CHANNEL_PEERS_MAX) < 0 ||
	    rename(temporary.sun_path, address.sun_path) < 0)
		return -errno;
	memcpy(server->path, address.sun_path, sizeof(server->path));
	return event_add(loop, &server->listener, EPOLLIN);
}

struct channel_server *channel_server_new(struct event_loop *loop,
					  const struct channel_server_options *options,
					  struct error *err)
{
	struct channel_server *server = calloc(1, sizeof(*server));
	int r;

	if (!server) {
		error_set(err, -ENOMEM, "out of memory");
		return NULL;
	}
	server->options = *options;
	server->listener = (struct event_source){ .callback = on_connection,
						  .name = "channel server",
						  .fd = -1 };
	r = listen_at(server, loop);
	if (r < 0) {
		error_errno(err, r, "listen on %s/" CHANNEL_SOCKET_NAME, options->root);
		channel_server_free(server);
		return NULL;
	}
	return server;
}

void channel_server_free(struct channel_server *server)
{
	if (!server)
		return;
	while (server->peers) {
		struct peer *peer = server->peers;

		server->peers = peer->next;
		event_remove(&peer->source);
		close(peer->source.fd);
		free(peer);
	}
	event_remove(&server->listener);
	if (server->listener.fd >= 0)
		close(server->listener.fd);
	if (server->path[0])
		unlink(server->path);
	free(server);
}

bool channel_server_has(const struct channel_server *server, const char *container)
{
	for (const struct peer *peer = server->peers; peer; peer = peer->next)
		if (strcmp(peer->container, container) == 0)
			return true;
	return false;
}

unsigned channel_server_signal(struct channel_server *server, const char *container, int signo)
{
	struct channel_message message = { .magic = CHANNEL_MAGIC,
					   .kind = CHANNEL_SIGNAL,
					   .number = (uint16_t)signo };
	unsigned count = 0;

	for (struct peer *peer = server->peers; peer; peer = peer->next)
		if (strcmp(peer->container, container) == 0 &&
		    send(peer->source.fd, &message, sizeof(message), MSG_NOSIGNAL | MSG_DONTWAIT) ==
			    sizeof(message))
			count++;
	return count;
}
