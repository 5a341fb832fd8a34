/*
 * relay: a TCP relay in front of one HTTP/1.1 server of this machine, which makes a distance, a thin
 * pipe, or a bad one of loopback, and counts. One thread; 1 GiB takes it about half a second.
 *
 *	relay PORT PAGE		to 127.0.0.1:PORT; prints the port it listens on, runs until killed
 *
 * PAGE is a file of 512 bytes, 64-bit numbers of this machine: what enum page says. Settings may be
 * written at any time. Bytes that come after bytes of the other direction begin a request, or the
 * body that a "100 Continue" has asked for; a client that pipelines is not understood.
 */
#include <errno.h>
#include <fcntl.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/mman.h>
#include <sys/socket.h>
#include <time.h>
#include <unistd.h>

#define BUFFER_BYTES (256u << 10)
/* Steps of a limited rate: small ones, so that the pipe is thin and not closed now and then. */
#define PACED_BYTES (64u << 10)
#define EVENTS_MAX 64
#define SECOND 1000000000u

/* Kept in step with tests/servers/relay.py. */
enum page {
	/* Counted: */
	LINKS,
	OPEN_LINKS,
	REQUESTS,
	ANSWERS, /* of the server */
	UP_BYTES,
	DOWN_BYTES,
	REFUSED, /* requests that were answered here */
	CUTS,
	STALLS,
	GETS,
	HEADS,
	PUTS,
	POSTS,
	DELETES,
	/* Set; 0 is off: */
	DELAY_US = 32, /* each request, before it goes to the server */
	BYTES_A_SECOND, /* each connection, each direction */
	CUT_BYTES, /* RST for both ends after as many bytes of a connection in one direction */
	STALL_BYTES, /* nothing any more after as many bytes of a connection in one direction */
	REFUSE_STATUS, /* an answer of our own, to so many of 100 requests */
	REFUSE_PERCENT,
	PAGE_FIELDS = 64,
};

struct flow {
	int from, to;
	char *data;
	size_t start, end;
	uint64_t ready_at; /* 0: now */
	uint64_t paid_until, moved;
	bool has_ended;
};

struct link {
	struct link *next, **place;
	struct flow up, down;
	const struct flow *last; /* that moved bytes */
	uint64_t swallow; /* bytes of a refused request that are still to come */
	bool is_refusing, is_stalled, is_dead;
};

static volatile uint64_t *page;
static struct link *links;
static uint64_t refusal;

static uint64_t now(void)
{
	struct timespec time;

	clock_gettime(CLOCK_MONOTONIC, &time);
	return (uint64_t)time.tv_sec * SECOND + (uint64_t)time.tv_nsec;
}

static void die(const char *what)
{
	fprintf(stderr, "relay: %s: %s\n", what, strerror(errno));
	exit(1);
}

/* Closes both ends, and leaves the memory to the end of the round: events may still name it. */
static void end_link(struct link *link, bool is_reset)
{
	struct linger linger = { .l_onoff = 1, .l_linger = 0 };

	if (link->is_dead)
		return;
	link->is_dead = true;
	page[OPEN_LINKS]--;
	if (is_reset) {
		setsockopt(link->up.from, SOL_SOCKET, SO_LINGER, &linger, sizeof(linger));
		setsockopt(link->up.to, SOL_SOCKET, SO_LINGER, &linger, sizeof(linger));
	}
	close(link->up.from);
	close(link->up.to);
}

static void free_dead(void)
{
	struct link *next;

	for (struct link *link = links; link; link = next) {
		next = link->next;
		if (!link->is_dead)
			continue;
		*link->place = next;
		if (next)
			next->place = link->place;
		free(link->up.data);
		free(link->down.data);
		free(link);
	}
}

/* Which count a start line belongs to; 0 if these bytes are none. */
static enum page verb_of(const char *data, size_t size)
{
	static const struct {
		char text[8];
		enum page count;
	} verbs[] = { { "GET /", GETS },
		      { "HEAD /", HEADS },
		      { "PUT /", PUTS },
		      { "POST /", POSTS },
		      { "DELETE ", DELETES } };

	for (size_t i = 0; i < sizeof(verbs) / sizeof(verbs[0]); i++) {
		size_t length = strlen(verbs[i].text);

		if (size >= length && memcmp(data, verbs[i].text, length) == 0)
			return verbs[i].count;
	}
	return LINKS;
}

/* Answers in the server's place, once the request is here as a whole. */
static void refuse(struct link *link)
{
	static const char body[] = "<Error><Code>%s</Code><Message>relay</Message></Error>";
	bool is_slow_down = page[REFUSE_STATUS] == 503;
	char text[256], answer[512];
	int size;

	size = snprintf(text, sizeof(text), body, is_slow_down ? "SlowDown" : "InternalError");
	size = snprintf(answer, sizeof(answer),
			"HTTP/1.1 %d Refused\r\nContent-Type: application/xml\r\n"
			"Content-Length: %d\r\n\r\n%s",
			(int)page[REFUSE_STATUS], size, text);
	link->is_refusing = false;
	link->last = &link->down;
	page[REFUSED]++;
	if (send(link->up.from, answer, (size_t)size, MSG_NOSIGNAL) != size)
		end_link(link, true);
}

/* Whether this request, whose first bytes are these, is refused: then it is swallowed. */
static bool is_refused(struct link *link, char *data, size_t size)
{
	char *end = memmem(data, size, "\r\n\r\n", 4), *length;
	uint64_t body;

	if (page[REFUSE_STATUS] == 0 || !end)
		return false;
	refusal += page[REFUSE_PERCENT];
	if (refusal < 100)
		return false;
	refusal -= 100;
	*end = '\0';
	length = strcasestr(data, "\r\ncontent-length:");
	body = length && !strcasestr(data, "\r\nexpect:") ? strtoull(length + 17, NULL, 10) : 0;
	size -= (size_t)(end + 4 - data);
	link->swallow = body > size ? body - size : 0;
	link->is_refusing = true;
	return true;
}

/* Bytes have come after those of the other direction. */
static void turn(struct link *link, struct flow *flow)
{
	enum page verb = verb_of(flow->data, flow->end);

	link->last = flow;
	if (flow == &link->down) {
		page[ANSWERS]++;
		return;
	}
	if (verb != LINKS) {
		page[REQUESTS]++;
		page[verb]++;
	}
	if (page[DELAY_US])
		flow->ready_at = now() + page[DELAY_US] * 1000;
	if (verb != LINKS && is_refused(link, flow->data, flow->end))
		flow->end = 0;
}

/* Reads; returns false if there is nothing to do for now. */
static bool fill(struct link *link, struct flow *flow)
{
	size_t room = page[BYTES_A_SECOND] ? PACED_BYTES : BUFFER_BYTES;
	ssize_t n = read(flow->from, flow->data, room);

	if (n < 0) {
		if (errno != EAGAIN)
			end_link(link, true);
		return false;
	}
	if (n == 0) {
		flow->has_ended = true;
		shutdown(flow->to, SHUT_WR);
		if (link->is_stalled || (link->up.has_ended && link->down.has_ended))
			end_link(link, false);
		return false;
	}
	flow->start = 0;
	flow->end = (size_t)n;
	if (flow == &link->up && link->is_refusing) {
		link->swallow -= flow->end < link->swallow ? flow->end : link->swallow;
		flow->end = 0;
	} else if (link->last != flow) {
		turn(link, flow);
	}
	if (link->is_refusing && link->swallow == 0)
		refuse(link);
	return !link->is_dead;
}

/* Writes what is there; returns false if the other side takes no more, or shall get no more. */
static bool drain(struct link *link, struct flow *flow)
{
	size_t size = flow->end - flow->start;
	uint64_t cut = page[CUT_BYTES], stall = page[STALL_BYTES], rate = page[BYTES_A_SECOND];
	ssize_t n;

	if (stall && flow->moved >= stall && !link->is_stalled) {
		link->is_stalled = true;
		page[STALLS]++;
	}
	if (link->is_stalled)
		return false;
	if (cut && flow->moved + size > cut)
		size = flow->moved < cut ? cut - flow->moved : 0;
	n = send(flow->to, flow->data + flow->start, size, MSG_NOSIGNAL);
	if (n < 0) {
		if (errno != EAGAIN)
			end_link(link, true);
		return false;
	}
	flow->start += (size_t)n;
	flow->moved += (uint64_t)n;
	page[flow == &link->up ? UP_BYTES : DOWN_BYTES] += (uint64_t)n;
	if (cut && flow->moved >= cut) {
		page[CUTS]++;
		end_link(link, true);
		return false;
	}
	if (rate) {
		uint64_t time = now();
		bool is_behind = flow->paid_until > time - SECOND / 100;

		flow->paid_until =
			(is_behind ? flow->paid_until : time) + (uint64_t)n * SECOND / rate;
		flow->ready_at = flow->paid_until;
	}
	return true;
}

static void move(struct link *link, struct flow *flow)
{
	while (!link->is_dead && !flow->has_ended) {
		if (flow->ready_at && flow->ready_at > now())
			return;
		if (flow->start == flow->end && !fill(link, flow))
			return;
		if (flow->ready_at && flow->ready_at > now())
			return;
		if (flow->start < flow->end && !drain(link, flow))
			return;
	}
}

static int to_server(uint16_t port)
{
	struct sockaddr_in address = { .sin_family = AF_INET,
				       .sin_port = htons(port),
				       .sin_addr.s_addr = htonl(INADDR_LOOPBACK) };
	int one = 1, fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);

	if (fd < 0 || connect(fd, (struct sockaddr *)&address, sizeof(address)) < 0)
		die("connect");
	setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &one, sizeof(one));
	fcntl(fd, F_SETFL, O_NONBLOCK);
	return fd;
}

static void watch(int epoll, int fd, struct link *link)
{
	struct epoll_event event = { .events = EPOLLIN | EPOLLOUT | EPOLLRDHUP | EPOLLET,
				     .data.ptr = link };

	if (epoll_ctl(epoll, EPOLL_CTL_ADD, fd, &event) < 0)
		die("epoll_ctl");
}

static void accept_link(int epoll, int listener, uint16_t port)
{
	int one = 1, client = accept4(listener, NULL, NULL, SOCK_CLOEXEC | SOCK_NONBLOCK);
	struct link *link = calloc(1, sizeof(*link));

	if (client < 0 || !link)
		die("accept");
	setsockopt(client, IPPROTO_TCP, TCP_NODELAY, &one, sizeof(one));
	link->up = (struct flow){ .from = client, .to = to_server(port) };
	link->down = (struct flow){ .from = link->up.to, .to = client };
	link->up.data = malloc(BUFFER_BYTES + 1);
	link->down.data = malloc(BUFFER_BYTES + 1);
	if (!link->up.data || !link->down.data)
		die("malloc");
	link->next = links;
	link->place = &links;
	if (links)
		links->place = &link->next;
	links = link;
	page[LINKS]++;
	page[OPEN_LINKS]++;
	watch(epoll, client, link);
	watch(epoll, link->up.to, link);
}

/* Moves what has become due; returns the time of what is due next, 0 if nothing is. */
static uint64_t move_due(void)
{
	uint64_t time = now(), next = 0;

	for (struct link *link = links; link; link = link->next) {
		struct flow *flows[] = { &link->up, &link->down };

		for (int i = 0; i < 2 && !link->is_dead; i++) {
			if (flows[i]->ready_at && flows[i]->ready_at <= time)
				flows[i]->ready_at = 0, move(link, flows[i]);
			if (!link->is_dead && flows[i]->ready_at &&
			    (next == 0 || flows[i]->ready_at < next))
				next = flows[i]->ready_at;
		}
	}
	return next;
}

static void serve(int epoll, int listener, uint16_t port)
{
	struct epoll_event events[EVENTS_MAX];

	for (;;) {
		uint64_t next = move_due(), time = now();
		uint64_t left = next > time ? next - time : 0;
		struct timespec timeout = { .tv_sec = (time_t)(left / SECOND),
					    .tv_nsec = (long)(left % SECOND) };
		int n;

		free_dead();
		n = epoll_pwait2(epoll, events, EVENTS_MAX, next ? &timeout : NULL, NULL);
		for (int i = 0; i < n; i++) {
			struct link *link = events[i].data.ptr;

			if (!link) {
				accept_link(epoll, listener, port);
				continue;
			}
			move(link, &link->up);
			move(link, &link->down);
		}
	}
}

int main(int argc, char **argv)
{
	struct sockaddr_in address = { .sin_family = AF_INET,
				       .sin_addr.s_addr = htonl(INADDR_LOOPBACK) };
	struct epoll_event event = { .events = EPOLLIN };
	socklen_t size = sizeof(address);
	int listener = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
	int epoll = epoll_create1(EPOLL_CLOEXEC);
	int fd = argc == 3 ? open(argv[2], O_RDWR | O_CLOEXEC) : -1;

	if (fd < 0 || ftruncate(fd, PAGE_FIELDS * sizeof(*page)) < 0)
		die(argc == 3 ? argv[2] : "usage: relay PORT PAGE");
	page = mmap(NULL, PAGE_FIELDS * sizeof(*page), PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0);
	if ((const volatile void *)page == MAP_FAILED)
		die("mmap");
	if (listener < 0 || bind(listener, (struct sockaddr *)&address, sizeof(address)) < 0 ||
	    listen(listener, SOMAXCONN) < 0 ||
	    getsockname(listener, (struct sockaddr *)&address, &size) < 0 || epoll < 0 ||
	    epoll_ctl(epoll, EPOLL_CTL_ADD, listener, &event) < 0)
		die("listen");
	printf("%d\n", ntohs(address.sin_port));
	fflush(stdout);
	serve(epoll, listener, (uint16_t)strtoul(argv[1], NULL, 10));
}
