#include "tests/fuzz/channel_wrapper.h"

#include "executor/process/signals.h"
#include "tests/fuzz/channel_packets.h"

#include <errno.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <unistd.h>

struct wrapper {
	struct channel_client client; /* first */
	bool is_leaving; /* at the next packet */
	bool is_prompt; /* parts are given at once */
	unsigned lost, heard, asked;
};

static void leave_or_stay(struct wrapper *wrapper)
{
	fuzz_require(wrapper->lost == 0);
	wrapper->heard++;
	if (wrapper->is_leaving)
		channel_client_done(&wrapper->client);
}

static void on_signal(struct channel_client *client, int signo)
{
	fuzz_require(signo >= 1 && signo <= SIGNALS_MAX);
	leave_or_stay((struct wrapper *)client);
}

static void on_answer(struct channel_client *client, enum channel_verdict verdict)
{
	fuzz_require(verdict >= CHANNEL_TAKEN && verdict <= CHANNEL_BUSY);
	leave_or_stay((struct wrapper *)client);
}

/* Every `missing`th of what it was asked for last is absent; 0 = none. */
static void answer(struct wrapper *wrapper, unsigned missing)
{
	int codes[CHANNEL_PARTS_MAX], fds[CHANNEL_PARTS_MAX], r;
	bool is_connected = channel_client_is_connected(&wrapper->client);
	unsigned opened = 0;

	if (wrapper->asked == 0)
		return;
	for (unsigned i = 0; i < wrapper->asked; i++) {
		codes[i] = missing && i % missing == 0 ? ENOENT : 0;
		fds[i] = codes[i] ? -1 : packets_file(opened++);
	}
	r = channel_client_answer(&wrapper->client, codes, fds, wrapper->asked);
	fuzz_require(r <= 0 && (r == -ENOTCONN || is_connected));
	wrapper->asked = 0;
}

static void on_ask(struct channel_client *client, const struct channel_ask *ask)
{
	struct wrapper *wrapper = (struct wrapper *)client;

	packets_check_ask(ask);
	wrapper->asked = ask->number;
	if (wrapper->is_prompt)
		answer(wrapper, 0);
	leave_or_stay(wrapper);
}

static void on_lost(struct channel_client *client)
{
	struct wrapper *wrapper = (struct wrapper *)client;

	fuzz_require(!channel_client_is_connected(client));
	fuzz_require(wrapper->lost++ == 0);
}

/* Of what a wrapper says there are no other kinds. */
static void check_said(const struct channel_message *message, void *context)
{
	(void)context;
	fuzz_require(message->kind == CHANNEL_OUTPUT || message->kind == CHANNEL_PARTS ||
		     message->kind == CHANNEL_HEARD);
}

static void offer(struct wrapper *wrapper, struct fuzz_input rest)
{
	char path[CHANNEL_PATH_MAX] = "/";

	if (rest.size >= CHANNEL_PATH_MAX - 1)
		return;
	memcpy(path + 1, rest.data, rest.size);
	channel_client_offer(&wrapper->client, path, packets_file(0), 0);
}

static void tell_of_signal(struct wrapper *wrapper, unsigned byte, pid_t pid)
{
	struct channel_heard heard = packets_heard(byte % SIGNALS_MAX + 1, pid);

	channel_client_tell(&wrapper->client, heard.number, heard.pid, heard.uid);
}

/* What a server may send, and what none does. */
static void send_one(int peer, unsigned char kind, struct fuzz_input *input, unsigned descriptors)
{
	struct channel_message message = { .magic = CHANNEL_MAGIC };
	struct packets_ask any;
	struct fuzz_input part;
	unsigned number, rounds;

	switch (kind) {
	case 'p':
		part = fuzz_take(input, fuzz_take_byte(input));
		packets_send(peer, part.data, part.size, descriptors);
		break;
	case 's':
	case 'a':
		message.kind = kind == 's' ? CHANNEL_SIGNAL : CHANNEL_ANSWER;
		message.number = fuzz_take_byte(input);
		packets_send(peer, &message, sizeof(message), descriptors);
		break;
	case 'q': /* how often, and names */
		rounds = fuzz_take_byte(input);
		part = fuzz_take_until(input, '\n');
		packets_send(peer, &any, packets_make_ask(&any.ask, part, rounds), descriptors);
		break;
	case 'Q': /* the number, how often, and what stands there for names */
		number = fuzz_take_byte(input);
		rounds = fuzz_take_byte(input);
		part = fuzz_take_until(input, '\n');
		packets_send(peer, &any, packets_make_any_ask(&any, number, part, rounds),
			     descriptors);
		break;
	}
}

static void wrap_one(struct wrapper *wrapper, int peer, struct fuzz_input *input,
		     unsigned *descriptors)
{
	struct event_loop *loop = wrapper->client.source.loop;
	unsigned before = wrapper->heard;
	unsigned char kind = fuzz_take_byte(input);

	switch (kind) {
	case 'f':
		*descriptors = fuzz_take_byte(input) % PACKETS_DESCRIPTORS_MAX;
		break;
	case 'o':
		offer(wrapper, fuzz_take_until(input, '\n'));
		break;
	case 'r':
		answer(wrapper, fuzz_take_byte(input));
		break;
	case 'i':
		wrapper->is_prompt = !wrapper->is_prompt;
		break;
	case 'e': /* number and pid */
		kind = fuzz_take_byte(input);
		tell_of_signal(wrapper, kind, fuzz_take_byte(input));
		break;
	case 'd':
		packets_drain(peer, check_said, NULL);
		break;
	case 'l':
		wrapper->is_leaving = true;
		break;
	case '.':
		if (loop)
			packets_look(loop, PACKETS_LOOKS);
		fuzz_require(!wrapper->is_leaving || wrapper->heard <= before + 1);
		break;
	default:
		send_one(peer, kind, input, *descriptors);
		*descriptors = 0;
		break;
	}
}

void channel_wrapper_run(struct fuzz_input input)
{
	struct wrapper wrapper = { .client = { .on_signal = on_signal,
					       .on_lost = on_lost,
					       .on_answer = on_answer,
					       .on_ask = on_ask } };
	struct sockaddr_un address = packets_address();
	struct event_loop *loop = event_loop_new();
	struct channel_message hello;
	int listener = packets_socket(), peer;
	unsigned descriptors = 0;

	unlink(address.sun_path);
	fuzz_require(bind(listener, (struct sockaddr *)&address, sizeof(address)) == 0);
	fuzz_require(listen(listener, 1) == 0);
	fuzz_require(channel_client_connect(&wrapper.client, loop, fuzz_directory(), "main") == 0);
	peer = accept4(listener, NULL, NULL, SOCK_CLOEXEC | SOCK_NONBLOCK);
	fuzz_require(peer >= 0);
	fuzz_require(recv(peer, &hello, sizeof(hello), 0) == sizeof(hello));
	fuzz_require(hello.magic == CHANNEL_MAGIC && hello.kind == CHANNEL_HELLO);
	while (input.size > 0)
		wrap_one(&wrapper, peer, &input, &descriptors);
	packets_drain(peer, check_said, NULL);
	close(peer);
	packets_look(loop, PACKETS_LOOKS);
	/* Whoever did not leave has noticed. */
	fuzz_require(!channel_client_is_connected(&wrapper.client));
	channel_client_done(&wrapper.client);
	close(listener);
	unlink(address.sun_path);
	event_loop_free(loop);
}
