/*
 * The wrapper channel. The first byte chooses the end under test.
 *
 * Even: `wait`'s server, and strangers who connect, send packets with and without descriptors, and
 * leave. Required: names are DNS labels, a container is gone only if it had come and its last wrapper
 * has left, a signal goes to those alone who have said hello, an output is offered by those alone, by
 * an absolute path, with a descriptor or a reason, and one at a time; parts come from whoever was
 * asked for them, once, as many as that, each with its descriptor or a reason; whoever leaves while a
 * verdict is owed is told of, once; signals that were heard are signals.
 * Odd: a wrapper, and a server that sends it packets. Required: signals 1 to 64 only, answers of
 * their kinds only, asks for names in a directory only, what it says is well-formed, the connection is
 * lost at most once, and is closed then.
 * Both: no descriptor that was sent is open at the end.
 */
#include "executor/base/text.h"
#include "executor/process/channel.h"
#include "executor/process/signals.h"
#include "tests/fuzz/channel_packets.h"
#include "tests/fuzz/channel_wrapper.h"
#include "tests/fuzz/targets.h"

#include <errno.h>
#include <stdio.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <unistd.h>

#define STRANGERS (CHANNEL_PEERS_MAX + 4)
#define ASKED_FOR "d:a:b"

/* --- the server ------------------------------------------------------------------------- */

struct serving {
	struct event_loop *loop;
	struct channel_server *server;
	int strangers[STRANGERS];
	size_t count, current, packets;
	unsigned descriptors; /* to go along with the next packet */
	uint64_t owed; /* a peer to whom the verdict is owed; 0 = nobody */
	unsigned asked; /* parts that it was asked for */
	bool is_busy; /* the next verdict has to wait */
	enum { WAIT, ASK, PAY } then; /* when parts have come */
	bool is_raw; /* packets have been sent as they are */
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
	serving->owed = serving->asked = 0;
}

/* Asked for parts while others are to come, nobody is. Whoever cannot be asked gets its verdict. */
static void ask_for(struct serving *serving, struct fuzz_input text, unsigned rounds)
{
	struct channel_ask ask;
	size_t size = packets_make_ask(&ask, text, rounds);
	bool is_possible = serving->owed && serving->asked == 0;
	int r;

	if (size == 0 || ask.number == 0)
		return;
	r = channel_server_ask(serving->server, serving->owed, &ask, size);
	fuzz_require(r == 0 || r == -ENOTCONN);
	fuzz_require(r < 0 || is_possible);
	if (r == 0)
		serving->asked = ask.number;
	else if (is_possible)
		pay(serving);
}

static void on_parts(void *context, uint64_t peer, const int *codes, int *fds, unsigned count)
{
	struct serving *serving = context;
	unsigned opened = 0;

	fuzz_require(peer == serving->owed && count > 0 && count == serving->asked);
	serving->asked = 0;
	for (unsigned i = 0; i < count; i++) {
		fuzz_require((fds[i] >= 0) == (codes[i] == 0) && codes[i] <= UINT16_MAX);
		fuzz_require(codes[i] || packets_is_file(fds[i], opened++));
		if (fds[i] >= 0 && i % 2)
			close(TAKE_FD(fds[i]));
	}
	if (serving->then == ASK)
		ask_for(serving, (struct fuzz_input){ ASKED_FOR, strlen(ASKED_FOR) }, 1);
	else if (serving->then == PAY)
		pay(serving);
}

static void on_left(void *context, uint64_t peer)
{
	struct serving *serving = context;

	fuzz_require(peer && peer == serving->owed);
	fuzz_require(channel_server_answer(serving->server, peer, CHANNEL_TAKEN) == -ENOTCONN);
	serving->owed = serving->asked = 0;
}

static void on_heard(void *context, const char *container, int signo, pid_t pid, uid_t uid)
{
	struct serving *serving = context;

	fuzz_require(find(serving, container));
	fuzz_require(signo >= 1 && signo <= SIGNALS_MAX && pid >= 0);
	if (!serving->is_raw)
		packets_check_heard(signo, pid, uid);
}

static void come(struct serving *serving)
{
	struct sockaddr_un address = packets_address();
	int fd;

	if (serving->count == STRANGERS)
		return;
	fd = packets_socket();
	if (connect(fd, (struct sockaddr *)&address, sizeof(address)) < 0) {
		fuzz_require(errno == EAGAIN);
		close(fd);
		return;
	}
	serving->current = serving->count;
	serving->strangers[serving->count++] = fd;
}

static void tell(struct serving *serving, const void *data, size_t size, unsigned descriptors)
{
	if (serving->count > 0 && serving->strangers[serving->current] >= 0)
		serving->packets += packets_send(serving->strangers[serving->current], data, size,
						 descriptors + serving->descriptors);
	serving->descriptors = 0;
}

static void offer_output(struct serving *serving, struct fuzz_input path, unsigned how)
{
	struct channel_output output = { .magic = CHANNEL_MAGIC,
					 .kind = CHANNEL_OUTPUT,
					 .number = how & 4 ? ENOENT : 0 };

	if (path.size >= sizeof(output.path))
		path.size = sizeof(output.path) - 1;
	memcpy(output.path, path.data, path.size);
	tell(serving, &output, offsetof(struct channel_output, path) + path.size + 1, how % 4 % 3);
}

/* So many parts; of them the first ones, as many as there are codes, have these, the others are open. */
static void give_parts(struct serving *serving, unsigned number, unsigned descriptors,
		       struct fuzz_input codes)
{
	struct {
		struct channel_parts parts;
		uint16_t more[UINT8_MAX - CHANNEL_PARTS_MAX];
	} packet = {
		{ .magic = CHANNEL_MAGIC, .kind = CHANNEL_PARTS, .number = (uint16_t)number }
	};
	size_t codes_at = offsetof(struct channel_parts, codes);

	for (size_t i = 0; i < codes.size && i < number; i++) {
		uint16_t code = (unsigned char)codes.data[i];

		memcpy((char *)&packet + codes_at + i * sizeof(code), &code, sizeof(code));
	}
	tell(serving, &packet, codes_at + number * sizeof(uint16_t), descriptors);
}

static void leave(struct serving *serving)
{
	if (serving->count == 0 || serving->strangers[serving->current] < 0)
		return;
	close(serving->strangers[serving->current]);
	serving->strangers[serving->current] = -1;
}

/* What strangers are told, and how many have been sent that signal. */
struct told {
	int signo;
	unsigned signals;
};

static void check_told(const struct channel_message *message, void *context)
{
	struct told *told = context;

	if (message->kind == CHANNEL_SIGNAL) {
		fuzz_require(message->number == told->signo);
		told->signals++;
	} else if (message->kind == CHANNEL_ANSWER) {
		fuzz_require(message->number >= CHANNEL_TAKEN && message->number <= CHANNEL_BUSY);
	} else {
		fuzz_require(message->kind == CHANNEL_ASK);
	}
}

/* Every wrapper that is reached gets that signal and no other. */
static void signal_all(struct serving *serving, const char *name, int signo)
{
	unsigned sent = channel_server_signal(serving->server, name, signo);
	const struct present *present = find(serving, name);
	struct told told = { .signo = signo };

	fuzz_require(sent <= (present ? present->wrappers : 0));
	for (size_t i = 0; i < serving->count; i++)
		if (serving->strangers[i] >= 0)
			packets_drain(serving->strangers[i], check_told, &told);
	fuzz_require(told.signals <= sent);
}

/* How many, the descriptors, and codes. */
static void send_parts(struct serving *serving, struct fuzz_input *input)
{
	unsigned number = fuzz_take_byte(input), descriptors = fuzz_take_byte(input) % 140;

	give_parts(serving, number, descriptors, fuzz_take(input, fuzz_take_byte(input)));
}

/* The number, and the pid. */
static void send_heard(struct serving *serving, struct fuzz_input *input)
{
	unsigned number = fuzz_take_byte(input);
	struct channel_heard heard = packets_heard(number, (signed char)fuzz_take_byte(input));

	tell(serving, &heard, sizeof(heard), 0);
}

/* What the current stranger sends. */
static void send_one(struct serving *serving, unsigned char kind, struct fuzz_input *input)
{
	struct channel_message hello;
	struct fuzz_input part;

	switch (kind) {
	case 'p': /* a packet as it is */
		part = fuzz_take(input, fuzz_take_byte(input));
		serving->is_raw = true;
		tell(serving, part.data, part.size, 0);
		break;
	case 'h':
		hello = packets_hello(fuzz_take_until(input, '\n'));
		tell(serving, &hello, sizeof(hello), 0);
		break;
	case 'o': /* how, and the path */
		part = fuzz_take(input, 1);
		if (part.size == 1)
			offer_output(serving, fuzz_take_until(input, '\n'),
				     (unsigned char)part.data[0]);
		break;
	case 'r':
		send_parts(serving, input);
		break;
	case 'e':
		send_heard(serving, input);
		break;
	}
}

/* What the server is to do. */
static void act(struct serving *serving, unsigned char kind, struct fuzz_input *input)
{
	unsigned rounds;

	switch (kind) {
	case 'q': /* how often, and names */
		rounds = fuzz_take_byte(input);
		ask_for(serving, fuzz_take_until(input, '\n'), rounds);
		break;
	case 't':
		serving->then = fuzz_take_byte(input) % (PAY + 1);
		break;
	case 'l': /* a sign of life */
		if (serving->owed)
			channel_server_answer(serving->server, serving->owed, CHANNEL_BUSY);
		break;
	case 'b':
		serving->is_busy = !serving->is_busy;
		break;
	case 'v':
		pay(serving);
		break;
	case 's':
		signal_all(serving, "main", fuzz_take_byte(input) % SIGNALS_MAX + 1);
		break;
	default:
		send_one(serving, kind, input);
		break;
	}
}

static void serve_one(struct serving *serving, struct fuzz_input *input)
{
	unsigned char kind = fuzz_take_byte(input);

	switch (kind) {
	case 'n':
		come(serving);
		break;
	case 'c':
		leave(serving);
		break;
	case '#':
		if (serving->count > 0)
			serving->current = fuzz_take_byte(input) % serving->count;
		break;
	case 'f':
		serving->descriptors = fuzz_take_byte(input) % 100;
		break;
	case '.':
		packets_look(serving->loop, PACKETS_LOOKS);
		break;
	default:
		act(serving, kind, input);
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
		.on_parts = on_parts,
		.on_left = on_left,
		.on_heard = on_heard,
		.context = &serving,
	};
	struct error err = ERROR_NONE;

	serving.server = channel_server_new(serving.loop, &options, &err);
	fuzz_require(serving.server);
	come(&serving);
	while (input.size > 0)
		serve_one(&serving, &input);
	packets_look(serving.loop, PACKETS_LOOKS);
	for (serving.current = 0; serving.current < serving.count; serving.current++)
		leave(&serving);
	/* One packet of each in each look, and some may not have been accepted yet: one in each look. */
	packets_look(serving.loop, STRANGERS + PACKETS_LOOKS + (unsigned)serving.packets);
	fuzz_require(serving.owed == 0);
	for (size_t i = 0; i < STRANGERS; i++)
		fuzz_require(serving.present[i].wrappers == 0);
	channel_server_free(serving.server);
	event_loop_free(serving.loop);
}

void fuzz_channel(const char *data, size_t size)
{
	struct fuzz_input input = { data, size };
	bool is_wrapper = fuzz_take_byte(&input) % 2;
	int fd;

	fuzz_directory();
	fd = fuzz_next_fd();
	packets_begin();
	if (is_wrapper)
		channel_wrapper_run(input);
	else
		serve(input);
	packets_end();
	fuzz_require(fuzz_next_fd() == fd);
}
