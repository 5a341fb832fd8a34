/*
 * The wire between a role and its staging process: SOCK_SEQPACKET, a message is one JSON object and
 * may carry one descriptor. What is larger than a packet goes into a memfd, whose descriptor takes
 * the text's place. Neither side trusts the other: everything is checked on arrival, and a message
 * that is not exactly as it should be is -EPROTO, which ends the staging process.
 */
#pragma once

#include "executor/artifact/store.h"
#include "executor/base/error.h"
#include "executor/confine/confine.h"
#include "executor/http/counts.h"
#include "executor/json/json.h"
#include "executor/stage/ledger.h"

#include <stdbool.h>
#include <stdint.h>

/* Of text in a packet, and in a memfd (a template of 8 MiB is the largest part of any). */
#define ENGINE_PACKET_BYTES_MAX (32 * 1024)
#define ENGINE_MESSAGE_BYTES_MAX (16 * 1024 * 1024)

/* Sends one message; `fd` (-1 = none) stays the caller's. Blocks only if the socket does. 0 or a
 * negative errno. */
int engine_message_send(int socket_fd, struct json_object *message, int fd);

/* Takes the next message, without waiting unless `want_wait`. 1 = *ret is the caller's, and *ret_fd,
 * -1 if none came; 0 = nothing there yet; -EPIPE = the other side is gone; -EPROTO. */
int engine_message_receive(int socket_fd, bool want_wait, struct json_object **ret, int *ret_fd);

/* {"code", "class", "message"}, and back: 0 or -EPROTO. */
struct json_object *engine_message_error(const struct error *error);
int engine_message_read_error(struct json_object *object, struct error *ret);

/* --- role → child ----------------------------------------------------------------------- */

/* SWEEP: what earlier children have begun of a SAVE, which will not be made good, is aborted in the
 * store.
 * PLACE, before SETUP: a directory that will be handed over, as its descriptor; without one: there are
 * too many of them. */
enum engine_order_kind {
	ENGINE_SETUP,
	ENGINE_LOAD,
	ENGINE_SAVE,
	ENGINE_SWEEP,
	ENGINE_CANCEL,
	ENGINE_PLACE,
};

/* Strings and objects are lent by the message. */
struct engine_order {
	enum engine_order_kind kind;
	int64_t id; /* LOAD, SAVE, SWEEP */
	const char *plugin; /* LOAD: whose pass; NULL = all but plugins' */
	bool is_log; /* SAVE, SWEEP: of the template's containers, else of its outputs */
	size_t index; /* SAVE, SWEEP */
	int64_t lost_from_s; /* SAVE, SWEEP: see store.h */
	struct json_object *handed; /* SAVE: what the descriptor is (handed.h); NULL = none */
	bool done[LEDGER_ENTRIES_MAX]; /* LOAD: inputs that are in their places already */
};

struct json_object *engine_order_print(const struct engine_order *order);
int engine_order_read(struct json_object *message, struct engine_order *ret);

/* --- child → role ----------------------------------------------------------------------- */

/* HEARD answers CANCEL, at once. */
enum engine_event_kind {
	ENGINE_ENTRY,
	ENGINE_SETTLED,
	ENGINE_COUNTS,
	ENGINE_HEARD,
	ENGINE_CONFINED,
};

struct engine_event {
	enum engine_event_kind kind;
	/* ENTRY: what the ledger says of one entry, and its sums. */
	size_t index;
	enum ledger_state state;
	uint64_t bytes, retries;
	int64_t bytes_total;
	uint64_t sum_bytes[LEDGER_DIRECTION_COUNT], sum_retries[LEDGER_DIRECTION_COUNT];
	/* SETTLED */
	int64_t id;
	struct json_object *stored; /* lent; NULL = nothing to report */
	struct store_stored object; /* with `stored`: what the store has confirmed */
	struct error error; /* code 0 = none */
	/* COUNTS */
	struct http_counts counts;
	/* CONFINED: before it has read anything but its first message */
	struct confinement confinement;
};

struct json_object *engine_event_print(const struct engine_event *event);
/* On success *ret is released by engine_event_done(). */
int engine_event_read(struct json_object *message, struct engine_event *ret);
void engine_event_done(struct engine_event *event);
#define _cleanup_engine_event_ _cleanup_(engine_event_done)

/* --- numbers in messages ---------------------------------------------------------------- */

/* True if it is a whole number from min to max. */
bool engine_number(struct json_object *value, int64_t min, int64_t max, int64_t *ret);
bool engine_take_number(struct json_object *object, const char *key, int64_t min, int64_t max,
			int64_t *ret);
bool engine_take_unsigned(struct json_object *object, const char *key, uint64_t *ret);
int engine_set_number(struct json_object *object, const char *key, uint64_t value);
