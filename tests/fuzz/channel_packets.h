/*
 * Packets of the wrapper channel for fuzz_channel.c, of both ends, in order and not, and the
 * descriptors that go along with them: ends of two pipes in turn, so that it can be seen in which
 * order they arrive, and afterwards that none is open any more.
 */
#pragma once

#include "executor/process/channel.h"
#include "tests/fuzz/fuzz.h"

#include <stdbool.h>
#include <stddef.h>
#include <sys/un.h>

/* The kernel passes no more at once. */
#define PACKETS_DESCRIPTORS_MAX 253

/* An ask that may be longer than any that is accepted. */
struct packets_ask {
	struct channel_ask ask;
	char more[64];
};

/* The pipes; end requires that nobody else holds them. */
void packets_begin(void);
void packets_end(void);

/* Where `wait` listens, and a socket for it that never blocks. */
struct sockaddr_un packets_address(void);
int packets_socket(void);

/* Turns of a loop in which a packet is certainly taken up. */
#define PACKETS_LOOKS 3
void packets_look(struct event_loop *loop, unsigned times);

/* Not owned. The one with that number among the descriptors of a packet. */
int packets_file(unsigned i);
bool packets_is_file(int fd, unsigned i);

/* With that many descriptors. False if there was no room for it, or nobody to get it. */
bool packets_send(int fd, const void *data, size_t size, unsigned descriptors);

/* In order, but for the name, which is the input's; a longer one has no NUL. */
struct channel_message packets_hello(struct fuzz_input name);

/* Its uid says which signal it tells of. */
struct channel_heard packets_heard(unsigned number, int pid);
void packets_check_heard(int signo, int pid, unsigned uid);

/* `text` is a directory, and names in it, each behind a ':'. As channel_ask_add() makes it, the names
 * up to `rounds` times; what no caller would ask for is left out. The size; ask->number may be 0. */
size_t packets_make_ask(struct channel_ask *ask, struct fuzz_input text, unsigned rounds);
/* Any bytes instead of names, up to `rounds` times; ':' is NUL. The size. */
size_t packets_make_any_ask(struct packets_ask *ask, unsigned number, struct fuzz_input text,
			    unsigned rounds);
/* A directory, and names that stand in it. */
void packets_check_ask(const struct channel_ask *ask);

/* Everything that has arrived: well-formed, and then shown to `check`. */
void packets_drain(int fd, void (*check)(const struct channel_message *message, void *context),
		   void *context);
