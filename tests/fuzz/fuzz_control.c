/*
 * The control server as `wait` has it, on a real loop and a real socket, with three containers. The
 * input is what clients send. '|' and one more character is not sent, but means:
 *
 *	.  a write ends here, and the server does what there is to do
 *	~  a write ends here
 *	n  another client connects         0 to 9  another client goes on
 *	c  this client closes              h       it will send no more
 *	e  the first container ends        g       grace periods are over
 *	t  every connection's time is up   q       this process has asked too often
 *	w  once, more happens than a watcher who does not read may miss
 *
 * Required: no signal before its 202 unless TERMINATOR_DELAY_MS have passed, only signals 1 to 64,
 * never more than CONTROL_CONNECTIONS_MAX connections, none left when all clients have gone; and a
 * new client still gets the status as valid JSON.
 */
#include "executor/base/buffer.h"
#include "executor/base/clock.h"
#include "executor/json/json.h"
#include "executor/process/signals.h"
#include "signal/control_internal.h"
#include "tests/fuzz/fuzz.h"
#include "tests/fuzz/targets.h"

#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <stdio.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/un.h>

#define CONTAINERS 3
/* More than the server takes. */
#define CLIENTS (CONTROL_CONNECTIONS_MAX + 4)
#define FLOOD_EVENTS 800
/* Looks at the loop without anything new before it counts as idle. */
#define QUIET_LOOKS 3
/* Looks until a connection that its client has closed must be gone. */
#define LOOKS_MAX 10000
/* With the version of the request in the middle. */
#define ACCEPTED_START "HTTP/1."
#define ACCEPTED_END " 202 "
#define ACCEPTED_BYTES (sizeof("HTTP/1.1 202 ") - 1)

static const char *const names[CONTAINERS] = { "main", "second", "third" };

struct client {
	int fd; /* -1 = closed */
	struct buffer unsent;
	char tail[ACCEPTED_BYTES]; /* what was read last, in case a 202 is cut */
	size_t tail_size;
};

struct run {
	struct event_loop *loop;
	struct log log;
	struct terminator terminator;
	struct control *control;
	struct client clients[CLIENTS];
	size_t client_count, current;
	unsigned long accepted; /* answers 202 that clients have read */
	bool is_answer_lost; /* a client closed before it had read what there was */
	bool is_flooded;
	int64_t asked_ms[CONTAINERS]; /* a signal waits since; 0 = none does */
	struct buffer *answer; /* where the next answer goes, if anybody wants it */
};

/* --- clients ---------------------------------------------------------------------------- */

static void count_accepted(struct run *run, struct client *client, const char *data, size_t size)
{
	static const size_t start = sizeof(ACCEPTED_START) - 1, end = sizeof(ACCEPTED_END) - 1;
	char text[sizeof(client->tail) + 4096];
	size_t total = client->tail_size + size;

	memcpy(text, client->tail, client->tail_size);
	memcpy(text + client->tail_size, data, size);
	for (size_t i = 0; i + ACCEPTED_BYTES <= total; i++)
		run->accepted += memcmp(text + i, ACCEPTED_START, start) == 0 &&
				 memcmp(text + i + start + 1, ACCEPTED_END, end) == 0;
	client->tail_size = total < ACCEPTED_BYTES - 1 ? total : ACCEPTED_BYTES - 1;
	memcpy(client->tail, text + total - client->tail_size, client->tail_size);
}

static bool drain_one(struct run *run, struct client *client)
{
	char data[4096];
	bool is_news = false;
	ssize_t n;

	while (client->fd >= 0 && (n = recv(client->fd, data, sizeof(data), MSG_DONTWAIT)) > 0) {
		is_news = true;
		count_accepted(run, client, data, (size_t)n);
		if (run->answer)
			fuzz_require(buffer_append(run->answer, data, (size_t)n) == 0);
	}
	return is_news;
}

static bool drain(struct run *run)
{
	bool is_news = false;

	for (size_t i = 0; i < run->client_count; i++)
		is_news |= drain_one(run, &run->clients[i]);
	return is_news;
}

static void settle(struct run *run)
{
	unsigned quiet = 0;

	while (quiet < QUIET_LOOKS) {
		fuzz_require(event_loop_poll(run->loop) == 0);
		quiet = drain(run) ? 0 : quiet + 1;
		fuzz_require(run->control->local.connection_count <= CONTROL_CONNECTIONS_MAX);
	}
}

static void flush_client(struct client *client)
{
	/* What does not fit is lost, as it is with a client that gives up. */
	if (client->fd >= 0 && client->unsent.size > 0)
		(void)!send(client->fd, client->unsent.data, client->unsent.size,
			    MSG_NOSIGNAL | MSG_DONTWAIT);
	buffer_reset(&client->unsent);
}

static void open_client(struct run *run)
{
	struct sockaddr_un address = { .sun_family = AF_UNIX };
	struct client *client = &run->clients[run->client_count];

	if (run->client_count == CLIENTS)
		return;
	*client = (struct client){ .unsent = BUFFER_INIT(1 << 20) };
	client->fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
	fuzz_require(client->fd >= 0);
	snprintf(address.sun_path, sizeof(address.sun_path), "%s/" CONTROL_SOCKET_NAME,
		 fuzz_directory());
	/* The queue may be full: that client does not come. */
	if (connect(client->fd, (struct sockaddr *)&address, sizeof(address)) < 0) {
		fuzz_require(errno == EAGAIN);
		close(client->fd);
		return;
	}
	run->current = run->client_count++;
}

static void close_client(struct run *run, struct client *client)
{
	if (client->fd < 0)
		return;
	flush_client(client);
	/* Something may be on its way to the server, and its answer back. */
	run->is_answer_lost = true;
	close(client->fd);
	client->fd = -1;
}

static void close_all(struct run *run)
{
	for (size_t i = 0; i < run->client_count; i++) {
		close_client(run, &run->clients[i]);
		buffer_done(&run->clients[i].unsent);
	}
	run->client_count = run->current = 0;
	/* Some may not have been accepted yet: one in each look. */
	for (unsigned i = 0; i < CLIENTS || run->control->local.connection_count > 0; i++) {
		fuzz_require(i < LOOKS_MAX);
		fuzz_require(event_loop_poll(run->loop) == 0);
	}
	fuzz_require(run->control->local.connection_count == 0 && !run->control->local.connections);
}

/* --- the server's role ------------------------------------------------------------------ */

static void deliver(void *context, size_t container, int signo)
{
	struct run *run = context;
	int64_t asked_ms;

	fuzz_require(container < CONTAINERS);
	fuzz_require(signo >= 1 && signo <= SIGNALS_MAX);
	asked_ms = run->asked_ms[container];
	/* At the end of a grace period nobody asks again. */
	fuzz_require(asked_ms || signo == SIGKILL);
	drain(run);
	fuzz_require(run->accepted > 0 || run->is_answer_lost ||
		     clock_now_ms() - asked_ms >= TERMINATOR_DELAY_MS - 1);
}

static void on_change(void *context, size_t container)
{
	struct run *run = context;
	const struct termination *termination = &run->terminator.terminations[container];
	bool is_due = termination->phase == TERMINATION_ASKED || termination->passing;

	if (!is_due)
		run->asked_ms[container] = 0;
	else if (!run->asked_ms[container])
		run->asked_ms[container] = clock_now_ms();
	control_changed(run->control, container);
}

static const char *state(void *context, size_t container)
{
	const struct run *run = context;

	return run->terminator.terminations[container].phase == TERMINATION_ENDED ? "ended" :
										    "running";
}

/* Not while a request waits for its answer: that has a timer of its own. */
static void end_graces(struct run *run)
{
	for (size_t i = 0; i < CONTAINERS; i++)
		if (run->asked_ms[i])
			return;
	for (size_t i = 0; i < CONTAINERS; i++)
		if (run->terminator.terminations[i].kill_at_ms)
			run->terminator.terminations[i].kill_at_ms = 1;
	terminator_flush(&run->terminator);
}

static void end_time(struct run *run)
{
	for (struct control_connection *c = run->control->local.connections; c; c = c->next)
		if (c->deadline_ms)
			c->deadline_ms = 1;
	if (run->control->local.connections)
		run->control->local.tick.callback(&run->control->local.tick);
}

static void use_up_credit(struct run *run)
{
	for (size_t i = 0; i < CONTROL_PEERS_MAX; i++)
		run->control->local.peers.entries[i].requests.credit = 0;
}

static void flood(struct run *run)
{
	if (run->is_flooded)
		return;
	run->is_flooded = true;
	for (int i = 0; i < FLOOD_EVENTS; i++)
		control_changed(run->control, CONTAINERS - 1);
}

/* --- the script ------------------------------------------------------------------------- */

static void happen(struct run *run, char operation)
{
	struct client *client = &run->clients[run->current];

	switch (operation) {
	case 'n':
		open_client(run);
		break;
	case 'c':
		close_client(run, client);
		break;
	case 'h':
		if (client->fd >= 0)
			shutdown(client->fd, SHUT_WR);
		break;
	case 'e':
		terminator_ended(&run->terminator, 0);
		break;
	case 'g':
		end_graces(run);
		break;
	case 't':
		end_time(run);
		break;
	case 'q':
		use_up_credit(run);
		break;
	case 'w':
		flood(run);
		break;
	default:
		if (operation >= '0' && operation <= '9' && run->client_count > 0)
			run->current = (size_t)(operation - '0') % run->client_count;
	}
}

static void follow(struct run *run, struct fuzz_input input)
{
	open_client(run);
	while (input.size > 0) {
		struct fuzz_input part = fuzz_take_until(&input, '|');
		struct client *client = &run->clients[run->current];
		char operation;

		fuzz_require(buffer_append(&client->unsent, part.data, part.size) == 0);
		operation = (char)fuzz_take_byte(&input);
		if (operation == '|') {
			fuzz_require(buffer_append_string(&client->unsent, "|") == 0);
			continue;
		}
		flush_client(client);
		if (operation == '.')
			settle(run);
		else
			happen(run, operation);
	}
	settle(run);
}

static void ask_for_status(struct run *run)
{
	static const char request[] = "GET /v1/status HTTP/1.1\r\nHost: x\r\n\r\n";
	_cleanup_buffer_ struct buffer answer = BUFFER_INIT(1 << 20);
	_cleanup_json_ struct json_object *status = NULL;
	struct error err = ERROR_NONE;
	const char *body;

	memset(&run->control->local.peers, 0, sizeof(run->control->local.peers));
	open_client(run);
	fuzz_require(run->client_count == 1);
	fuzz_require(buffer_append_string(&run->clients[0].unsent, request) == 0);
	flush_client(&run->clients[0]);
	run->answer = &answer;
	for (unsigned i = 0; answer.size == 0; i++) {
		fuzz_require(i < LOOKS_MAX);
		settle(run);
	}
	run->answer = NULL;
	fuzz_require(strncmp(buffer_string(&answer), "HTTP/1.1 200 ", 13) == 0);
	body = strstr(buffer_string(&answer), "\r\n\r\n");
	fuzz_require(body);
	fuzz_require(json_parse(body + 4, strlen(body + 4), "status", &status, &err) == 0);
	fuzz_require(json_length(json_get(status, "containers")) == CONTAINERS);
}

static void start(struct run *run)
{
	const struct terminator_options options = {
		.names = names,
		.count = CONTAINERS,
		.log = &run->log,
		.deliver = deliver,
		.on_change = on_change,
		.context = run,
	};
	const struct control_model model = {
		.role = "wait",
		.terminator = &run->terminator,
		.grace_ms = 30000,
		.state = state,
		.context = run,
	};
	struct error err = ERROR_NONE;

	run->log = (struct log){ .fd = open("/dev/null", O_WRONLY | O_CLOEXEC) };
	run->loop = event_loop_new();
	fuzz_require(run->loop);
	fuzz_require(terminator_init(&run->terminator, run->loop, &options) == 0);
	run->control = control_new(run->loop, fuzz_directory(), &model, &run->log, &err);
	fuzz_require(run->control);
}

void fuzz_control(const char *data, size_t size)
{
	struct run run = { .current = 0 };
	int fd;

	fuzz_directory();
	fd = fuzz_next_fd();
	start(&run);
	follow(&run, (struct fuzz_input){ data, size });
	close_all(&run);
	ask_for_status(&run);
	close_all(&run);
	control_free(run.control);
	terminator_done(&run.terminator);
	event_loop_free(run.loop);
	close(run.log.fd);
	fuzz_require(fuzz_next_fd() == fd);
}
