#include "executor/stage/engine_confine.h"

#include "executor/base/cleanup.h"
#include "executor/stage/engine_message.h"

#include <errno.h>
#include <string.h>

int engine_confine(const struct stage *stage, int notice_fd, struct confinement *ret,
		   struct error *err)
{
	struct confine_options options = { .notice_fd = notice_fd };
	int r = confine_mode_from_environment(&options.mode, err);

	(void)stage;
	return r < 0 ? r : confine(CONFINE_STAGE, &options, ret, err);
}

static struct json_object *print_condition(const struct confine_condition *condition)
{
	_cleanup_json_ struct json_object *object = json_new_object();

	if (!object || engine_set_number(object, "state", condition->state) < 0 ||
	    json_set_string(object, "reason", condition->reason) < 0)
		return NULL;
	return TAKE_PTR(object);
}

int engine_confined_print(struct json_object *message, const struct confinement *confinement)
{
	_cleanup_json_ struct json_object *layers = json_new_array();
	int r = layers ? 0 : -ENOMEM;

	for (size_t i = 0; r == 0 && i < CONFINE_LAYER_COUNT; i++)
		r = json_append(layers, print_condition(&confinement->layers[i]));
	return r < 0 ? r : json_set(message, "layers", TAKE_PTR(layers));
}

static int read_condition(struct json_object *object, struct confine_condition *ret)
{
	size_t size = 0;
	const char *reason = json_string(json_get(object, "reason"), &size);
	int64_t state;

	if (!engine_take_number(object, "state", 0, CONFINE_STATE_COUNT - 1, &state) || !reason ||
	    size >= sizeof(ret->reason) || strlen(reason) != size)
		return -EPROTO;
	ret->state = (enum confine_state)state;
	memcpy(ret->reason, reason, size + 1);
	return 0;
}

int engine_confined_read(struct json_object *message, struct confinement *ret)
{
	struct json_object *layers = json_get(message, "layers");
	int r = 0;

	if (!json_is_array(layers) || json_length(layers) != CONFINE_LAYER_COUNT)
		return -EPROTO;
	for (size_t i = 0; r == 0 && i < CONFINE_LAYER_COUNT; i++)
		r = read_condition(json_at(layers, i), &ret->layers[i]);
	return r;
}
