#include "tests/fuzz/channel_packets.h"

#include "executor/process/channel_wire.h"
#include "executor/process/signals.h"

#include <fcntl.h>
#include <poll.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <unistd.h>

#define FILES 2
#define HEARD_UID 1000

static struct {
	int ends[2];
	struct stat st;
} pipes[FILES];

void packets_begin(void)
{
	for (unsigned i = 0; i < FILES; i++) {
		fuzz_require(pipe2(pipes[i].ends, O_CLOEXEC) == 0);
		fuzz_require(fstat(pipes[i].ends[1], &pipes[i].st) == 0);
	}
}

void packets_end(void)
{
	for (unsigned i = 0; i < FILES; i++) {
		struct pollfd reader = { .fd = pipes[i].ends[0] };

		close(pipes[i].ends[1]);
		fuzz_require(poll(&reader, 1, 0) == 1 && (reader.revents & POLLHUP));
		close(pipes[i].ends[0]);
	}
}

int packets_file(unsigned i)
{
	return pipes[i % FILES].ends[1];
}

bool packets_is_file(int fd, unsigned i)
{
	struct stat st;

	return fstat(fd, &st) == 0 && st.st_dev == pipes[i % FILES].st.st_dev &&
	       st.st_ino == pipes[i % FILES].st.st_ino && (fcntl(fd, F_GETFD) & FD_CLOEXEC);
}

bool packets_send(int fd, const void *data, size_t size, unsigned descriptors)
{
	union {
		char bytes[CMSG_SPACE(PACKETS_DESCRIPTORS_MAX * sizeof(int))];
		struct cmsghdr header;
	} control = { .header = { .cmsg_level = SOL_SOCKET, .cmsg_type = SCM_RIGHTS } };
	struct iovec part = { (void *)data, size };
	struct msghdr header = { .msg_iov = &part, .msg_iovlen = 1 };

	fuzz_require(descriptors <= PACKETS_DESCRIPTORS_MAX);
	for (unsigned i = 0; i < descriptors; i++) {
		int file = packets_file(i);

		memcpy(CMSG_DATA(&control.header) + i * sizeof(file), &file, sizeof(file));
	}
	control.header.cmsg_len = CMSG_LEN(descriptors * sizeof(int));
	if (descriptors > 0) {
		header.msg_control = control.bytes;
		header.msg_controllen = CMSG_SPACE(descriptors * sizeof(int));
	}
	return sendmsg(fd, &header, MSG_NOSIGNAL | MSG_DONTWAIT) >= 0;
}

struct sockaddr_un packets_address(void)
{
	struct sockaddr_un address = { .sun_family = AF_UNIX };

	snprintf(address.sun_path, sizeof(address.sun_path), "%s/" CHANNEL_SOCKET_NAME,
		 fuzz_directory());
	return address;
}

int packets_socket(void)
{
	int fd = socket(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);

	fuzz_require(fd >= 0);
	return fd;
}

void packets_look(struct event_loop *loop, unsigned times)
{
	for (unsigned i = 0; i < times; i++)
		fuzz_require(event_loop_poll(loop) == 0);
}

struct channel_message packets_hello(struct fuzz_input name)
{
	struct channel_message hello = { .magic = CHANNEL_MAGIC, .kind = CHANNEL_HELLO };

	memcpy(hello.text, name.data, name.size < CHANNEL_NAME_MAX ? name.size : CHANNEL_NAME_MAX);
	return hello;
}

struct channel_heard packets_heard(unsigned number, int pid)
{
	return (struct channel_heard){ .magic = CHANNEL_MAGIC,
				       .kind = CHANNEL_HEARD,
				       .number = (uint16_t)number,
				       .pid = pid,
				       .uid = HEARD_UID + number };
}

void packets_check_heard(int signo, int pid, unsigned uid)
{
	fuzz_require(signo >= 1 && signo <= SIGNALS_MAX && pid >= 0);
	fuzz_require(uid == HEARD_UID + (unsigned)signo);
}

/* --- asks ------------------------------------------------------------------------------- */

static bool is_name(const char *name)
{
	return *name && !strchr(name, '/') && strcmp(name, ".") != 0 && strcmp(name, "..") != 0;
}

/* False when there is no room for more. */
static bool add_names(struct channel_ask *ask, int *size, struct fuzz_input text)
{
	int r = 0;

	while (text.size > 0 && r >= 0) {
		struct fuzz_input part = fuzz_take_until(&text, ':');
		char *name = fuzz_text(part.data, part.size);

		r = is_name(name) ? channel_ask_add(ask, *size, name) : *size;
		fuzz_require(r >= 0 || ask->number == CHANNEL_PARTS_MAX ||
			     (size_t)*size + strlen(name) + 1 > sizeof(*ask));
		*size = r < 0 ? *size : r;
		free(name);
	}
	return r >= 0;
}

size_t packets_make_ask(struct channel_ask *ask, struct fuzz_input text, unsigned rounds)
{
	struct fuzz_input part = fuzz_take_until(&text, ':');
	char *directory = fuzz_text(part.data, part.size);
	int size = channel_ask_init(ask, *directory == '/' ? "" : directory);

	fuzz_require((size < 0) == (strlen(directory) + 1 > CHANNEL_PATH_MAX));
	free(directory);
	ask->number = size < 0 ? 0 : ask->number;
	while (size > 0 && rounds-- > 0 && add_names(ask, &size, text))
		;
	fuzz_require(size <= (int)sizeof(*ask) && ask->number <= CHANNEL_PARTS_MAX);
	return size < 0 ? 0 : (size_t)size;
}

size_t packets_make_any_ask(struct packets_ask *ask, unsigned number, struct fuzz_input text,
			    unsigned rounds)
{
	char *p = ask->ask.names, *end = (char *)(ask + 1);

	ask->ask.magic = CHANNEL_MAGIC;
	ask->ask.kind = CHANNEL_ASK;
	ask->ask.number = (uint16_t)number;
	while (rounds-- > 0)
		for (size_t i = 0; i < text.size && p < end; i++)
			*p++ = text.data[i] == ':' ? '\0' : text.data[i];
	return (size_t)(p - (char *)ask);
}

void packets_check_ask(const struct channel_ask *ask)
{
	const char *end = (const char *)(ask + 1), *name = ask->names;

	fuzz_require(ask->number >= 1 && ask->number <= CHANNEL_PARTS_MAX);
	fuzz_require(*name != '/');
	for (unsigned i = 0; i < ask->number; i++) {
		name += strnlen(name, (size_t)(end - name)) + 1;
		fuzz_require(name < end && is_name(name));
	}
	fuzz_require(name + strnlen(name, (size_t)(end - name)) < end);
}

/* --- what arrives ----------------------------------------------------------------------- */

/* Of the two kinds that carry some: one with a descriptor for each that was opened, in their order. */
static void check_descriptors(const union channel_packet *packet,
			      const struct channel_descriptors *descriptors)
{
	unsigned opened = packet->message.kind == CHANNEL_OUTPUT && packet->message.number == 0;

	if (packet->message.kind == CHANNEL_PARTS)
		for (unsigned i = 0; i < packet->parts.number; i++)
			opened += packet->parts.codes[i] == 0;
	fuzz_require(descriptors->count == opened);
	for (unsigned i = 0; i < descriptors->count; i++)
		fuzz_require(packets_is_file(descriptors->fds[i], i));
}

void packets_drain(int fd, void (*check)(const struct channel_message *message, void *context),
		   void *context)
{
	struct channel_descriptors descriptors;
	union channel_packet packet;
	char byte;

	while (recv(fd, &byte, sizeof(byte), MSG_PEEK | MSG_DONTWAIT) == sizeof(byte)) {
		fuzz_require(channel_receive(fd, &packet, &descriptors) == 1);
		check_descriptors(&packet, &descriptors);
		channel_descriptors_close(&descriptors);
		if (packet.message.kind == CHANNEL_ASK)
			packets_check_ask(&packet.ask);
		if (packet.message.kind == CHANNEL_HEARD)
			packets_check_heard(packet.heard.number, packet.heard.pid,
					    packet.heard.uid);
		check(&packet.message, context);
	}
}
