#include "executor/process/channel.h"

#include "executor/base/cleanup.h"
#include "executor/base/text.h"
#include "executor/process/channel_wire.h"
#include "executor/process/signals.h"

#include <errno.h>
#include <stddef.h>
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
	struct ucred credentials; /* as the kernel saw them at connect; pid 0 = another namespace */
	uint64_t id;
	bool is_offering; /* a verdict is owed */
	unsigned asked; /* parts that it was asked for */
};

struct channel_server {
	struct event_source listener;
	struct channel_server_options options;
	struct peer *peers;
	unsigned peer_count;
	uint64_t last_id;
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

static int send_message(int fd, enum channel_kind kind, unsigned number)
{
	struct channel_message message = { .magic = CHANNEL_MAGIC,
					   .kind = (uint16_t)kind,
					   .number = (uint16_t)number };

	return channel_send(fd, &message, sizeof(message), NULL, 0);
}

/* --- wrapper ---------------------------------------------------------------------------- */

static void lose(struct channel_client *client)
{
	channel_client_done(client);
	client->on_lost(client);
}

/* 0, or -EPROTO for what `wait` does not say. */
static int hear(struct channel_client *client, const union channel_packet *packet)
{
	const struct channel_message *message = &packet->message;

	if (message->kind == CHANNEL_SIGNAL && message->number >= 1 &&
	    message->number <= SIGNALS_MAX)
		client->on_signal(client, message->number);
	else if (message->kind == CHANNEL_ANSWER && message->number >= CHANNEL_TAKEN &&
		 message->number <= CHANNEL_BUSY && client->on_answer)
		client->on_answer(client, message->number);
	else if (message->kind == CHANNEL_ASK && client->on_ask)
		client->on_ask(client, &packet->ask);
	else
		return -EPROTO;
	return 0;
}

static void on_client_readable(struct event_source *source, uint32_t revents)
{
	struct channel_client *client = (struct channel_client *)source;
	struct channel_descriptors descriptors;
	union channel_packet packet;
	int r;

	(void)revents;
	while ((r = channel_receive(source->fd, &packet, &descriptors)) > 0) {
		channel_descriptors_close(&descriptors);
		r = hear(client, &packet);
		if (r < 0)
			break;
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

int channel_client_offer(struct channel_client *client, const char *path, int fd, int code)
{
	struct channel_output output = { .magic = CHANNEL_MAGIC,
					 .kind = CHANNEL_OUTPUT,
					 .number = (uint16_t)code };
	size_t size = offsetof(struct channel_output, path) + strlen(path) + 1;

	if (!channel_client_is_connected(client))
		return -ENOTCONN;
	if (size > sizeof(output))
		return -ENAMETOOLONG;
	snprintf(output.path, sizeof(output.path), "%s", path);
	return channel_send(client->source.fd, &output, size, &fd, code == 0);
}

int channel_client_answer(struct channel_client *client, const int *codes, const int *fds,
			  unsigned count)
{
	struct channel_parts parts = { .magic = CHANNEL_MAGIC,
				       .kind = CHANNEL_PARTS,
				       .number = (uint16_t)count };
	struct channel_descriptors opened = { .count = 0 };

	if (!channel_client_is_connected(client))
		return -ENOTCONN;
	for (unsigned i = 0; i < count; i++) {
		parts.codes[i] = (uint16_t)codes[i];
		if (codes[i] == 0)
			opened.fds[opened.count++] = fds[i];
	}
	return channel_send(client->source.fd, &parts,
			    offsetof(struct channel_parts, codes) + count * sizeof(*parts.codes),
			    opened.fds, opened.count);
}

void channel_client_tell(struct channel_client *client, int signo, pid_t pid, uid_t uid)
{
	struct channel_heard heard = { .magic = CHANNEL_MAGIC,
				       .kind = CHANNEL_HEARD,
				       .number = (uint16_t)signo,
				       .pid = pid,
				       .uid = uid };

	if (channel_client_is_connected(client))
		(void)channel_send(client->source.fd, &heard, sizeof(heard), NULL, 0);
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
	const struct channel_server_options *options = &server->options;
	struct peer **link = &server->peers;
	uint64_t offering = peer->is_offering ? peer->id : 0;
	char container[CHANNEL_NAME_MAX];

	while (*link != peer)
		link = &(*link)->next;
	*link = peer->next;
	server->peer_count--;
	memcpy(container, peer->container, sizeof(container));
	event_remove(&peer->source);
	close(peer->source.fd);
	free(peer);
	if (offering && options->on_left)
		options->on_left(options->context, offering);
	if (container[0] && !channel_server_has(server, container))
		options->on_gone(options->context, container);
}

static int greet(struct peer *peer, const struct channel_message *message)
{
	const struct channel_server_options *options = &peer->server->options;

	if (peer->container[0] || !text_is_dns_label(message->text))
		return -EPROTO;
	memcpy(peer->container, message->text, sizeof(peer->container));
	options->on_hello(options->context, peer->container, peer->credentials.pid);
	return 0;
}

/* Groups are asked for when they are needed: hardly any peer offers anything. */
static size_t groups_of(int fd, gid_t groups[CHANNEL_GROUPS_MAX])
{
	socklen_t size = CHANNEL_GROUPS_MAX * sizeof(*groups);

	return getsockopt(fd, SOL_SOCKET, SO_PEERGROUPS, groups, &size) < 0 ?
		       0 :
		       size / sizeof(*groups);
}

static int consider(struct peer *peer, const struct channel_output *output,
		    struct channel_descriptors *descriptors)
{
	const struct channel_server_options *options = &peer->server->options;
	gid_t groups[CHANNEL_GROUPS_MAX];
	struct channel_offer offer = {
		.peer = peer->id,
		.container = peer->container,
		.path = output->path,
		.fd = descriptors->count > 0 ? descriptors->fds[--descriptors->count] : -1,
		.code = output->number,
		.uid = peer->credentials.uid,
		.gid = peer->credentials.gid,
		.groups = groups,
		.group_count = groups_of(peer->source.fd, groups),
	};
	enum channel_verdict verdict = CHANNEL_REFUSED;

	if (peer->container[0] && !peer->is_offering && options->on_offer)
		verdict = options->on_offer(options->context, &offer);
	if (offer.fd >= 0)
		close(offer.fd);
	if (!peer->container[0] || peer->is_offering)
		return -EPROTO;
	peer->is_offering = verdict == CHANNEL_BUSY;
	/* Somebody who has room for a packet, and for its answer no more, is none of ours. */
	return send_message(peer->source.fd, CHANNEL_ANSWER, verdict);
}

static int pass_heard(struct peer *peer, const struct channel_heard *heard)
{
	const struct channel_server_options *options = &peer->server->options;

	if (!peer->container[0])
		return -EPROTO;
	if (options->on_heard)
		options->on_heard(options->context, peer->container, heard->number, heard->pid,
				  heard->uid);
	return 0;
}

/* What is left of the descriptors is closed by the caller. */
static int pass_parts(struct peer *peer, const struct channel_parts *parts,
		      struct channel_descriptors *descriptors)
{
	const struct channel_server_options *options = &peer->server->options;
	int fds[CHANNEL_PARTS_MAX], codes[CHANNEL_PARTS_MAX];
	unsigned count = peer->asked, next = 0;

	if (count == 0 || parts->number != count)
		return -EPROTO;
	peer->asked = 0;
	for (unsigned i = 0; i < count; i++) {
		codes[i] = parts->codes[i];
		fds[i] = codes[i] == 0 ? descriptors->fds[next++] : -1;
	}
	descriptors->count = 0;
	options->on_parts(options->context, peer->id, codes, fds, count);
	for (unsigned i = 0; i < count; i++)
		if (fds[i] >= 0)
			close(fds[i]);
	return 0;
}

static void on_peer_readable(struct event_source *source, uint32_t revents)
{
	struct peer *peer = (struct peer *)source;
	struct channel_descriptors descriptors;
	union channel_packet packet;
	int r = channel_receive(source->fd, &packet, &descriptors);

	(void)revents;
	if (r == 0)
		return;
	if (r > 0 && packet.message.kind == CHANNEL_HELLO)
		r = greet(peer, &packet.message);
	else if (r > 0 && packet.message.kind == CHANNEL_OUTPUT)
		r = consider(peer, &packet.output, &descriptors);
	else if (r > 0 && packet.message.kind == CHANNEL_PARTS)
		r = pass_parts(peer, &packet.parts, &descriptors);
	else if (r > 0 && packet.message.kind == CHANNEL_HEARD)
		r = pass_heard(peer, &packet.heard);
	else
		r = -EPROTO;
	channel_descriptors_close(&descriptors);
	if (r < 0)
		drop_peer(peer);
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
	socklen_t size = sizeof(struct ucred);
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
	if (getsockopt(fd, SOL_SOCKET, SO_PEERCRED, &peer->credentials, &size) < 0)
		peer->credentials = (struct ucred){ .uid = (uid_t)-1, .gid = (gid_t)-1 };
	peer->id = ++server->last_id;
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
	unsigned count = 0;

	for (struct peer *peer = server->peers; peer; peer = peer->next)
		if (strcmp(peer->container, container) == 0 &&
		    send_message(peer->source.fd, CHANNEL_SIGNAL, (unsigned)signo) == 0)
			count++;
	return count;
}

static struct peer *find_peer(struct channel_server *server, uint64_t id)
{
	struct peer *peer = server->peers;

	while (peer && peer->id != id)
		peer = peer->next;
	return peer;
}

int channel_server_answer(struct channel_server *server, uint64_t id, enum channel_verdict verdict)
{
	struct peer *peer = find_peer(server, id);

	if (!peer)
		return -ENOTCONN;
	peer->is_offering = verdict == CHANNEL_BUSY;
	peer->asked = peer->is_offering ? peer->asked : 0;
	return send_message(peer->source.fd, CHANNEL_ANSWER, verdict) == 0 ? 0 : -ENOTCONN;
}

int channel_server_ask(struct channel_server *server, uint64_t id, const struct channel_ask *ask,
		       size_t size)
{
	struct peer *peer = find_peer(server, id);

	if (!peer || !peer->is_offering || peer->asked > 0 || !server->options.on_parts)
		return -ENOTCONN;
	peer->asked = ask->number;
	return channel_send(peer->source.fd, ask, size, NULL, 0) == 0 ? 0 : -ENOTCONN;
}

int channel_ask_init(struct channel_ask *ask, const char *directory)
{
	size_t size = strlen(directory) + 1;

	if (size > CHANNEL_PATH_MAX)
		return -ENAMETOOLONG;
	ask->magic = CHANNEL_MAGIC;
	ask->kind = CHANNEL_ASK;
	ask->number = 0;
	memcpy(ask->names, directory, size);
	return (int)(offsetof(struct channel_ask, names) + size);
}

int channel_ask_add(struct channel_ask *ask, int size, const char *name)
{
	size_t length = strlen(name) + 1;

	if (ask->number == CHANNEL_PARTS_MAX || (size_t)size + length > sizeof(*ask))
		return -ENOBUFS;
	memcpy((char *)ask + size, name, length);
	ask->number++;
	return size + (int)length;
}
