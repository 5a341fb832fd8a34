#include "executor/process/channel_wire.h"

#include "executor/base/cleanup.h"
#include "executor/process/signals.h"

#include <errno.h>
#include <stddef.h>
#include <string.h>
#include <sys/socket.h>

_Static_assert(sizeof(struct channel_ask) >= sizeof(struct channel_output), "the longest packet");

/* Room for as many descriptors as a packet may carry. */
union control {
	char bytes[CMSG_SPACE(CHANNEL_PARTS_MAX * sizeof(int))];
	struct cmsghdr header;
};

void channel_descriptors_close(struct channel_descriptors *descriptors)
{
	while (descriptors->count > 0)
		close(descriptors->fds[--descriptors->count]);
}

/* The descriptors that came along. False if there were more than anybody sends; those that there was no
 * room for have been closed by the kernel. */
static bool take_descriptors(struct msghdr *header, struct channel_descriptors *ret)
{
	bool is_odd = header->msg_flags & MSG_CTRUNC;

	for (struct cmsghdr *part = CMSG_FIRSTHDR(header); part; part = CMSG_NXTHDR(header, part)) {
		size_t count = (part->cmsg_len - CMSG_LEN(0)) / sizeof(int);

		if (part->cmsg_level != SOL_SOCKET || part->cmsg_type != SCM_RIGHTS)
			continue;
		for (size_t i = 0; i < count; i++) {
			int fd;

			memcpy(&fd, CMSG_DATA(part) + i * sizeof(int), sizeof(fd));
			if (ret->count < CHANNEL_PARTS_MAX) {
				ret->fds[ret->count++] = fd;
			} else {
				close(fd);
				is_odd = true;
			}
		}
	}
	return !is_odd;
}

static bool is_message(const union channel_packet *packet, size_t size)
{
	const struct channel_message *message = &packet->message;

	return size == sizeof(*message) &&
	       memchr(message->text, '\0', sizeof(message->text)) != NULL;
}

/* Exactly as long as its path. */
static bool is_output(const union channel_packet *packet, size_t size, unsigned fds)
{
	const struct channel_output *output = &packet->output;
	const size_t head = offsetof(struct channel_output, path);

	return size > head && size <= sizeof(*output) && output->path[0] == '/' &&
	       memchr(output->path, '\0', size - head) == packet->bytes + size - 1 &&
	       fds == (output->number == 0);
}

static bool is_part_name(const char *name)
{
	return *name && !strchr(name, '/') && strcmp(name, ".") != 0 && strcmp(name, "..") != 0;
}

/* Exactly as long as its names. */
static bool is_ask(const union channel_packet *packet, size_t size)
{
	const struct channel_ask *ask = &packet->ask;
	const size_t head = offsetof(struct channel_ask, names);
	const char *end = packet->bytes + size, *name = ask->names;

	if (size <= head || size > sizeof(*ask) || end[-1] || *name == '/' || ask->number == 0 ||
	    ask->number > CHANNEL_PARTS_MAX)
		return false;
	for (unsigned i = 0; i < ask->number; i++) {
		name += strlen(name) + 1;
		if (name >= end || !is_part_name(name))
			return false;
	}
	return name + strlen(name) + 1 == end;
}

static bool is_parts(const union channel_packet *packet, size_t size, unsigned fds)
{
	const struct channel_parts *parts = &packet->parts;
	unsigned opened = 0;

	if (parts->number == 0 || parts->number > CHANNEL_PARTS_MAX ||
	    size != offsetof(struct channel_parts, codes) + parts->number * sizeof(*parts->codes))
		return false;
	for (unsigned i = 0; i < parts->number; i++)
		opened += parts->codes[i] == 0;
	return opened == fds;
}

static bool is_heard(const union channel_packet *packet, size_t size)
{
	return size == sizeof(packet->heard) && packet->heard.number >= 1 &&
	       packet->heard.number <= SIGNALS_MAX && packet->heard.pid >= 0;
}

static bool is_well_formed(const union channel_packet *packet, size_t size, unsigned fds)
{
	if (size < offsetof(struct channel_message, text) || packet->message.magic != CHANNEL_MAGIC)
		return false;
	switch (packet->message.kind) {
	case CHANNEL_OUTPUT:
		return is_output(packet, size, fds);
	case CHANNEL_ASK:
		return is_ask(packet, size) && fds == 0;
	case CHANNEL_PARTS:
		return is_parts(packet, size, fds);
	case CHANNEL_HEARD:
		return is_heard(packet, size) && fds == 0;
	default:
		return is_message(packet, size) && fds == 0;
	}
}

int channel_receive(int fd, union channel_packet *packet, struct channel_descriptors *ret)
{
	union control control;
	struct iovec data = { packet->bytes, sizeof(packet->bytes) };
	struct msghdr header = { .msg_iov = &data,
				 .msg_iovlen = 1,
				 .msg_control = control.bytes,
				 .msg_controllen = sizeof(control.bytes) };
	ssize_t n = recvmsg(fd, &header, MSG_DONTWAIT | MSG_CMSG_CLOEXEC);

	ret->count = 0;
	if (n < 0)
		return errno == EAGAIN || errno == EINTR ? 0 : -errno;
	if (take_descriptors(&header, ret) && !(header.msg_flags & MSG_TRUNC) &&
	    is_well_formed(packet, (size_t)n, ret->count))
		return 1;
	channel_descriptors_close(ret);
	return -EPROTO;
}

int channel_send(int fd, const void *packet, size_t size, const int *fds, unsigned count)
{
	struct iovec data = { (void *)packet, size };
	union control control = { .header = { .cmsg_level = SOL_SOCKET,
					      .cmsg_type = SCM_RIGHTS,
					      .cmsg_len = CMSG_LEN(count * sizeof(int)) } };
	struct msghdr header = { .msg_iov = &data, .msg_iovlen = 1 };

	if (count > 0) {
		memcpy(CMSG_DATA(&control.header), fds, count * sizeof(int));
		header.msg_control = control.bytes;
		header.msg_controllen = CMSG_SPACE(count * sizeof(int));
	}
	return sendmsg(fd, &header, MSG_NOSIGNAL | MSG_DONTWAIT) < 0 ? -errno : 0;
}
