/*
 * Directories that wrappers have handed over, as places that a staging process may read. It gives up all
 * others before its first order (engine_confine.h), and for good; so it gets a descriptor of each of them
 * with its first messages. What is handed over later is for the next one.
 */
#pragma once

#include "executor/stage/engine.h"

#define ENGINE_PLACES_MAX LEDGER_ENTRIES_MAX

/* In the role. Tells a new child of all that there are, or that there are more than it can be told of;
 * 0 or a negative errno. */
int engine_places_send(struct engine *engine);

/* True if this child may not read what `request` has been handed. */
bool engine_places_lack(const struct engine *engine, const struct engine_request *request);

/* In the child. */
struct engine_places {
	int fds[ENGINE_PLACES_MAX];
	size_t count;
	bool are_too_many;
};

/* Receives up to and with the first message that is no place: 1, *ret and *ret_fd are the caller's.
 * Or as engine_message_receive() says. */
int engine_places_receive(int socket_fd, struct engine_places *places, struct json_object **ret,
			  int *ret_fd);
void engine_places_close(struct engine_places *places);
