/* Packets of the wrapper channel (channel.h), and the descriptors that travel with them. */
#pragma once

#include "executor/process/channel.h"

/* Room for every message, and for one byte too many. */
union channel_packet {
	struct channel_message message;
	struct channel_output output;
	struct channel_ask ask;
	struct channel_parts parts;
	struct channel_heard heard;
	char bytes[sizeof(struct channel_ask) + 1];
};

struct channel_descriptors {
	int fds[CHANNEL_PARTS_MAX];
	unsigned count;
};

void channel_descriptors_close(struct channel_descriptors *descriptors);

/* One whole, well-formed packet, and exactly the descriptors that belong to it, which are the caller's
 * then: 1, or 0 when there is none now, or a negative errno: nothing more is to be expected from there. */
int channel_receive(int fd, union channel_packet *packet, struct channel_descriptors *ret);

/* At once or not at all. 0 or a negative errno. */
int channel_send(int fd, const void *packet, size_t size, const int *fds, unsigned count);
