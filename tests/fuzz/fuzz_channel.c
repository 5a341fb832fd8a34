/*
 * The wrapper channel. The first byte chooses the end under test.
 *
 * Even: `wait`'s server, and strangers who connect, send packets with and without descriptors, and
 * leave. Required: names are DNS labels, a container is gone only if it had come and its last wrapper
 * has left, a signal goes to those alone who have said hello, an output is offered by those alone, by
 * an absolute path, with a descriptor or a reason, and one at a time.
 * Odd: a wrapper, and a server that sends it packets. Required: signals 1 to 64 only, answers of
 * their kinds only, the connection is lost at most once, and is closed then.
 */
#include "executor/base/text.h"
#include "executor/process/channel.h"
#include "executor/process/signals.h"
#include "tests/fuzz/fuzz.h"
#include "tests/fuzz/targets.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <unistd.h>

#define STRANGERS (CHANNEL_PEERS_MAX + 4)
#define LOOKS 3

static struct sockaddr_un address_in_directory(void)
{
	struct sockaddr_un address = { .sun_family = AF_UNIX };

	snprintf(address.sun_path, sizeof(address.sun_path), "%s/" CHANNEL_SOCKET_NAME,
		 fuzz_directory());
	return address;
}

static int new_socket(void)
{
	int fd = socket(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);

	fuzz_require(fd >= 0);
	return fd;
}

static int new_file(void)
{
	int fd = open("/dev/null", O_RDONLY | O_CLOEXEC);

	fuzz_require(fd >= 0);
	return fd;
}

static void look(struct event_loop *loop, unsigned times)
{
	for (unsigned i = 0; i < times; i++)
		fuzz_require(event_loop_poll(loop) == 0);
}

/* A message in order, but for the name, which is the input's; a longer one has no NUL. */
static struct channel_message hello_from(struct fuzz_input name)
{
	struct channel_message hello = { .magic = CHANNEL_MAGIC, .kind = CHANNEL_HELLO };

	memcpy(hello.text, name.data, name.size < CHANNEL_NAME_MAX ? name.size : CHANNEL_NAME_MAX);
	return hello;
}

/* --- the server ------------------------------------------------------------------------- */

struct serving {
	struct event_loop *loop;
	struct channel_server *server;
	int strangers[STRANGERS];
	size_t count, current;
	uint64_t owed; /* a peer to whom the verdict is owed; 0 = nobody */
	bool is_busy; /* the next verdict has to wait */
	struct present {
		char name[CHANNEL_NAME_MAX];
		unsigned wrappers;
	} present[STRANGERS];
};

static struct present *find(struct serving *serving, const char *name)
{
	for (size_t i = 0; i < STRANGERS; i++)
		if (serving->present[i].wrappers && strcmp(serving->present[i].name, name) == 0)
			return &serving->present[i];
	return NULL;
}

static void on_hello(void *context, const char *container, pid_t peer)
{
	struct serving *serving = context;
	struct present *present = find(serving, container);

	fuzz_require(text_is_dns_label(container));
	fuzz_require(peer == getpid());
	for (size_t i = 0; !present && i < STRANGERS; i++)
		if (!serving->present[i].wrappers)
			present = &serving->present[i];
	fuzz_require(present);
	snprintf(present->name, sizeof(present->name), "%s", container);
	present->wrappers++;
	fuzz_require(channel_server_has(serving->server, container));
}

static void on_gone(void *context, const char *container)
{
	struct serving *serving = context;
	struct present *present = find(serving, container);

	fuzz_require(present);
	fuzz_require(!channel_server_has(serving->server, container));
	present->wrappers = 0;
}

static enum channel_verdict on_offer(void *context, struct channel_offer *offer)
{
	struct serving *serving = context;

	fuzz_require(find(serving, offer->container));
	fuzz_require(offer->path[0] == '/' && strlen(offer->path) < CHANNEL_PATH_MAX);
	fuzz_require((offer->fd >= 0) == (offer->code == 0));
	fuzz_require(offer->peer != serving->owed);
	fuzz_require(offer->uid == getuid() && offer->gid == getgid());
	if (!serving->is_busy || serving->owed)
		return offer->code ? CHANNEL_TAKEN : CHANNEL_REFUSED;
	serving->owed = offer->peer;
	return CHANNEL_BUSY;
}

static void pay(struct serving *serving)
{
	if (serving->owed)
		channel_server_answer(serving->server, serving->owed, CHANNEL_TAKEN);
	serving->owed = 0;
}

static void come(struct serving *serving)
{
	struct sockaddr_un address = address_in_directory();
	int fd;

	if (serving->count == STRANGERS)
		return;
	fd = new_socket();
	if (connect(fd, (struct sockaddr *)&address, sizeof(address)) < 0) {
		fuzz_require(errno == EAGAIN);
		close(fd);
		return;
	}
	serving->current = serving->count;
	serving->strangers[serving->count++] = fd;
}

static void tell(struct serving *serving, const void *data, size_t size)
{
	if (serving->count > 0 && serving->strangers[serving->current] >= 0)
		(void)!send(serving->strangers[serving->current], data, size,
			    MSG_NOSIGNAL | MSG_DONTWAIT);
}

/* Up to two descriptors along with it. */
static void tell_with(struct serving *serving, const void *data, size_t size, unsigned descriptors)
{
	int fds[2];
	union {
		char bytes[CMSG_SPACE(sizeof(fds))];
		struct cmsghdr header;
	} control = { .header = { .cmsg_level = SOL_SOCKET, .cmsg_type = SCM_RIGHTS } };
	struct iovec part = { (void *)data, size };
	struct msghdr header = { .msg_iov = &part, .msg_iovlen = 1 };

	if (serving->count == 0 || serving->strangers[serving->current] < 0)
		return;
	fds[0] = fds[1] = new_file();
	control.header.cmsg_len = CMSG_LEN(descriptors * sizeof(int));
	memcpy(CMSG_DATA(&control.header), fds, descriptors * sizeof(int));
	if (descriptors > 0) {
		header.msg_control = control.bytes;
		header.msg_controllen = CMSG_SPACE(descriptors * sizeof(int));
	}
	(void)!sendmsg(serving->strangers[serving->current], &header, MSG_NOSIGNAL | MSG_DONTWAIT);
	close(fds[0]);
}

static void offer_output(struct serving *serving, struct fuzz_input path, unsigned how)
{
	struct channel_output output = { .magic = CHANNEL_MAGIC,
					 .kind = CHANNEL_OUTPUT,
					 .number = how & 4 ? ENOENT : 0 };

	if (path.size >= sizeof(output.path))
		path.size = sizeof(output.path) - 1;
	memcpy(output.path, path.data, path.size);
	tell_with(serving, &output, offsetof(struct channel_output, path) + path.size + 1,
		  how % 4 % 3);
}

static void leave(struct serving *serving)
{
	if (serving->count == 0 || serving->strangers[serving->current] < 0)
		return;
	close(serving->strangers[serving->current]);
	serving->strangers[serving->current] = -1;
}

/* Every wrapper that is reached gets that signal and nothing else. */
static void signal_all(struct serving *serving, const char *name, int signo)
{
	unsigned sent = channel_server_signal(serving->server, name, signo), got = 0;
	const struct present *present = find(serving, name);
	struct channel_message message;
	ssize_t r;

	fuzz_require(sent <= (present ? present->wrappers : 0));
	for (size_t i = 0; i < serving->count; i++) {
		int fd = serving->strangers[i];

		do
			r = fd < 0 ? -1 : recv(fd, &message, sizeof(message), MSG_DONTWAIT);
		while (r > 0 && message.kind == CHANNEL_ANSWER);
		if (r <= 0)
			continue;
		fuzz_require(message.magic == CHANNEL_MAGIC && message.kind == CHANNEL_SIGNAL);
		fuzz_require(message.number == signo);
		got++;
	}
	fuzz_require(got <= sent);
}

static void serve_one(struct serving *serving, struct fuzz_input *input)
{
	struct fuzz_input part;
	struct channel_message hello;

	switch (fuzz_take_byte(input)) {
	case 'n':
		come(serving);
		break;
	case 'p': /* a packet as it is */
		part = fuzz_take(input, fuzz_take_byte(input));
		tell(serving, part.data, part.size);
		break;
	case 'h':
		hello = hello_from(fuzz_take_until(input, '\n'));
		tell(serving, &hello, sizeof(hello));
		break;
	case 'o': /* how, and the path */
		part = fuzz_take(input, 1);
		if (part.size == 1)
			offer_output(serving, fuzz_take_until(input, '\n'),
				     (unsigned char)part.data[0]);
		break;
	case 'b':
		serving->is_busy = !serving->is_busy;
		break;
	case 'v':
		pay(serving);
		break;
	case 'c':
		leave(serving);
		break;
	case 's':
		signal_all(serving, "main", fuzz_take_byte(input) % SIGNALS_MAX + 1);
		break;
	case '#':
		if (serving->count > 0)
			serving->current = fuzz_take_byte(input) % serving->count;
		break;
	case '.':
		look(serving->loop, LOOKS);
		break;
	}
}

static void serve(struct fuzz_input input)
{
	struct serving serving = { .loop = event_loop_new() };
	const struct channel_server_options options = {
		.root = fuzz_directory(),
		.on_hello = on_hello,
		.on_gone = on_gone,
		.on_offer = on_offer,
		.context = &serving,
	};
	struct error err = ERROR_NONE;

	serving.server = channel_server_new(serving.loop, &options, &err);
	fuzz_require(serving.server);
	come(&serving);
	while (input.size > 0)
		serve_one(&serving, &input);
	look(serving.loop, LOOKS);
	for (serving.current = 0; serving.current < serving.count; serving.current++)
		leave(&serving);
	/* Some may not have been accepted yet: one in each look. */
	look(serving.loop, STRANGERS + LOOKS);
	for (size_t i = 0; i < STRANGERS; i++)
		fuzz_require(serving.present[i].wrappers == 0);
	channel_server_free(serving.server);
	event_loop_free(serving.loop);
}

/* --- the wrapper ------------------------------------------------------------------------ */

struct wrapper {
	struct channel_client client; /* first */
	bool is_leaving; /* at the next signal */
	unsigned lost, signals, answers;
};

static void on_signal(struct channel_client *client, int signo)
{
	struct wrapper *wrapper = (struct wrapper *)client;

	fuzz_require(signo >= 1 && signo <= SIGNALS_MAX);
	fuzz_require(wrapper->lost == 0);
	wrapper->signals++;
	if (wrapper->is_leaving)
		channel_client_done(client);
}

static void on_answer(struct channel_client *client, enum channel_verdict verdict)
{
	struct wrapper *wrapper = (struct wrapper *)client;

	fuzz_require(verdict >= CHANNEL_TAKEN && verdict <= CHANNEL_BUSY);
	fuzz_require(wrapper->lost == 0);
	wrapper->answers++;
}

/* A directory, and names that stand in it. */
static void on_ask(struct channel_client *client, const struct channel_ask *ask)
{
	struct wrapper *wrapper = (struct wrapper *)client;
	const char *end = (const char *)(ask + 1), *name = ask->names;

	fuzz_require(ask->number >= 1 && ask->number <= CHANNEL_PARTS_MAX);
	fuzz_require(*name != '/' && wrapper->lost == 0);
	for (unsigned i = 0; i < ask->number; i++) {
		name += strnlen(name, (size_t)(end - name)) + 1;
		fuzz_require(name < end && *name && !strchr(name, '/'));
		fuzz_require(strcmp(name, ".") != 0 && strcmp(name, "..") != 0);
	}
	wrapper->answers++;
}

static void on_lost(struct channel_client *client)
{
	struct wrapper *wrapper = (struct wrapper *)client;

	fuzz_require(!channel_client_is_connected(client));
	fuzz_require(wrapper->lost++ == 0);
}

static void wrap_one(struct wrapper *wrapper, int peer, struct fuzz_input *input)
{
	struct event_loop *loop = wrapper->client.source.loop;
	struct channel_message message = { .magic = CHANNEL_MAGIC, .kind = CHANNEL_SIGNAL };
	struct fuzz_input part;
	unsigned before = wrapper->signals;
	int fd;

	switch (fuzz_take_byte(input)) {
	case 'p':
		part = fuzz_take(input, fuzz_take_byte(input));
		(void)!send(peer, part.data, part.size, MSG_NOSIGNAL | MSG_DONTWAIT);
		break;
	case 's':
		message.number = fuzz_take_byte(input);
		(void)!send(peer, &message, sizeof(message), MSG_NOSIGNAL | MSG_DONTWAIT);
		break;
	case 'a':
		message.kind = CHANNEL_ANSWER;
		message.number = fuzz_take_byte(input);
		(void)!send(peer, &message, sizeof(message), MSG_NOSIGNAL | MSG_DONTWAIT);
		break;
	case 'o':
		part = fuzz_take_until(input, '\n');
		if (part.size < CHANNEL_PATH_MAX) {
			char path[CHANNEL_PATH_MAX] = "";

			memcpy(path, part.data, part.size);
			fd = new_file();
			channel_client_offer(&wrapper->client, path, fd, 0);
			close(fd);
		}
		break;
	case 'l':
		wrapper->is_leaving = true;
		break;
	case '.':
		if (loop)
			look(loop, LOOKS);
		fuzz_require(!wrapper->is_leaving || wrapper->signals <= before + 1);
		break;
	}
}

static void wrap(struct fuzz_input input)
{
	struct wrapper wrapper = { .client = { .on_signal = on_signal,
					       .on_lost = on_lost,
					       .on_answer = on_answer,
					       .on_ask = on_ask } };
	struct sockaddr_un address = address_in_directory();
	struct event_loop *loop = event_loop_new();
	struct channel_message hello;
	int listener = new_socket(), peer;

	unlink(address.sun_path);
	fuzz_require(bind(listener, (struct sockaddr *)&address, sizeof(address)) == 0);
	fuzz_require(listen(listener, 1) == 0);
	fuzz_require(channel_client_connect(&wrapper.client, loop, fuzz_directory(), "main") == 0);
	peer = accept4(listener, NULL, NULL, SOCK_CLOEXEC | SOCK_NONBLOCK);
	fuzz_require(peer >= 0);
	fuzz_require(recv(peer, &hello, sizeof(hello), 0) == sizeof(hello));
	fuzz_require(hello.magic == CHANNEL_MAGIC && hello.kind == CHANNEL_HELLO);
	while (input.size > 0)
		wrap_one(&wrapper, peer, &input);
	close(peer);
	look(loop, LOOKS);
	/* Whoever did not leave has noticed. */
	fuzz_require(!channel_client_is_connected(&wrapper.client));
	channel_client_done(&wrapper.client);
	close(listener);
	unlink(address.sun_path);
	event_loop_free(loop);
}

void fuzz_channel(const char *data, size_t size)
{
	struct fuzz_input input = { data, size };
	bool is_wrapper = fuzz_take_byte(&input) % 2;
	int fd;

	fuzz_directory();
	fd = fuzz_next_fd();
	if (is_wrapper)
		wrap(input);
	else
		serve(input);
	fuzz_require(fuzz_next_fd() == fd);
}
