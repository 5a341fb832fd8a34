/*
 * What goes between a role and its staging process. The input is one packet, received as such.
 * Required: a message is an object; an order or event that is accepted is within its ranges, and
 * printed and read again it is the same; no descriptor is left.
 */
#include "executor/stage/engine_message.h"
#include "tests/fuzz/fuzz.h"
#include "tests/fuzz/targets.h"

#include <errno.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

static void check_order(struct json_object *message)
{
	struct engine_order order, again;
	_cleanup_json_ struct json_object *printed = NULL;

	if (engine_order_read(message, &order) < 0)
		return;
	fuzz_require(order.id >= 0 && order.index <= INT32_MAX);
	printed = engine_order_print(&order);
	fuzz_require(printed && engine_order_read(printed, &again) == 0);
	fuzz_require(again.kind == order.kind && again.id == order.id);
	fuzz_require((order.kind != ENGINE_SAVE && order.kind != ENGINE_SWEEP) ||
		     (again.index == order.index && again.is_log == order.is_log &&
		      again.lost_from_s == order.lost_from_s));
	fuzz_require(!order.plugin == !again.plugin && !order.handed == !again.handed);
	fuzz_require(memcmp(order.done, again.done, sizeof(order.done)) == 0);
}

static void check_event(struct json_object *message)
{
	_cleanup_engine_event_ struct engine_event event = { .index = 0 }, again = { .index = 0 };
	_cleanup_json_ struct json_object *printed = NULL, *reprinted = NULL;

	if (engine_event_read(message, &event) < 0)
		return;
	fuzz_require(event.index < LEDGER_ENTRIES_MAX && event.state < LEDGER_STATE_COUNT);
	fuzz_require(event.error.code <= 0 && event.error.class < ERROR_CLASS_COUNT);
	fuzz_require(memchr(event.error.message, '\0', sizeof(event.error.message)));
	fuzz_require(event.counts.store_count <= HTTP_COUNTS_STORES_MAX);
	fuzz_require(event.counts.endpoint_count <= HTTP_COUNTS_ENDPOINTS_MAX);
	for (size_t i = 0; i < CONFINE_LAYER_COUNT; i++)
		fuzz_require(event.confinement.layers[i].state < CONFINE_STATE_COUNT &&
			     memchr(event.confinement.layers[i].reason, '\0', CONFINE_REASON_MAX));
	printed = engine_event_print(&event);
	fuzz_require(printed && engine_event_read(printed, &again) == 0);
	fuzz_require(again.kind == event.kind && again.id == event.id);
	fuzz_require(strcmp(again.error.message, event.error.message) == 0);
	reprinted = engine_event_print(&again);
	fuzz_require(json_equal(printed, reprinted));
}

void fuzz_engine(const char *data, size_t size)
{
	_cleanup_json_ struct json_object *message = NULL;
	int ends[2], fd = -1, r;

	if (size == 0 || size > 60000)
		return;
	fuzz_require(socketpair(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0, ends) == 0);
	fuzz_require(send(ends[0], data, size, MSG_NOSIGNAL) == (ssize_t)size);
	r = engine_message_receive(ends[1], false, &message, &fd);
	fuzz_require(fd == -1 && (r == 1 || r == -EPROTO) && (r == 1) == (message != NULL));
	if (r == 1) {
		check_order(message);
		check_event(message);
		fuzz_require(engine_message_send(ends[1], message, -1) == 0);
	}
	close(ends[0]);
	close(ends[1]);
}
