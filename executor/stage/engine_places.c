#include "executor/stage/engine_places.h"

#include "executor/base/cleanup.h"

#include <errno.h>
#include <sys/stat.h>

/* Files are open already, and are read through what was handed over. */
static bool is_place(const struct handed_item *item)
{
	struct stat st;

	return item->fd >= 0 && fstat(item->fd, &st) == 0 && S_ISDIR(st.st_mode);
}

int engine_places_send(struct engine *engine)
{
	const struct engine_order order = { .kind = ENGINE_PLACE };
	_cleanup_json_ struct json_object *message = engine_order_print(&order);
	size_t count = 0;
	int r = message ? 0 : -ENOMEM;

	engine->placed = engine->handed ? engine->handed->last : 0;
	for (const struct handed_item *item = engine->handed ? engine->handed->items : NULL;
	     r == 0 && item && count <= ENGINE_PLACES_MAX; item = item->next) {
		if (!is_place(item))
			continue;
		r = engine_message_send(engine->process.orders_fd, message,
					count < ENGINE_PLACES_MAX ? item->fd : -1);
		count++;
	}
	return r;
}

bool engine_places_lack(const struct engine *engine, const struct engine_request *request)
{
	return engine->process.pid != 0 && request->handed &&
	       request->handed->number > engine->placed && is_place(request->handed) &&
	       !(engine->is_confined &&
		 engine->confinement.layers[CONFINE_FILES].state != CONFINE_IN_FORCE);
}

int engine_places_receive(int socket_fd, struct engine_places *places, struct json_object **ret,
			  int *ret_fd)
{
	for (;;) {
		_cleanup_json_ struct json_object *message = NULL;
		_cleanup_close_ int fd = -1;
		struct engine_order order;
		int r = engine_message_receive(socket_fd, true, &message, &fd);

		if (r < 0)
			return r;
		if (engine_order_read(message, &order) < 0 || order.kind != ENGINE_PLACE) {
			*ret = TAKE_PTR(message);
			*ret_fd = TAKE_FD(fd);
			return 1;
		}
		places->are_too_many = fd < 0;
		if (fd >= 0 && places->count == ENGINE_PLACES_MAX)
			return -EPROTO;
		if (fd >= 0)
			places->fds[places->count++] = TAKE_FD(fd);
	}
}

void engine_places_close(struct engine_places *places)
{
	while (places->count > 0)
		close(places->fds[--places->count]);
}
