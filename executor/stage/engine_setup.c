#include "executor/stage/engine_setup.h"

#include "executor/base/cleanup.h"
#include "executor/stage/engine_message.h"

#include <errno.h>
#include <stddef.h>

static const struct {
	const char *name;
	size_t offset;
} places[] = {
	{ "root", offsetof(struct stage, root) },
	{ "inputs", offsetof(struct stage, inputs) },
	{ "main_root", offsetof(struct stage, main_root) },
	{ "script", offsetof(struct stage, script) },
	{ "manifest", offsetof(struct stage, manifest) },
	{ "scratch", offsetof(struct stage, scratch) },
	{ "secrets", offsetof(struct stage, store.secret_directory) },
	{ "containers", offsetof(struct stage, store.container_directory) },
};
#define PLACE_COUNT (sizeof(places) / sizeof(places[0]))

static const char **place_of(const struct stage *stage, size_t i)
{
	return (const char **)((char *)stage + places[i].offset);
}

struct json_object *engine_setup_print(const struct stage *stage)
{
	const struct engine_order order = { .kind = ENGINE_SETUP };
	_cleanup_json_ struct json_object *message = engine_order_print(&order);
	/* Without a ledger nobody cares about the numbers. */
	bool has_inputs = !stage->ledger || stage->is_initless;

	if (!message || json_set(message, "template", json_ref(stage->template->json)) < 0 ||
	    engine_set_number(message, "log_level", stage->log->level) < 0 ||
	    json_set(message, "is_log_json", json_new_bool(stage->log->is_json)) < 0 ||
	    json_set(message, "is_initless", json_new_bool(stage->is_initless)) < 0 ||
	    json_set(message, "has_inputs", json_new_bool(has_inputs)) < 0)
		return NULL;
	for (size_t i = 0; i < PLACE_COUNT; i++)
		if (*place_of(stage, i) &&
		    json_set_string(message, places[i].name, *place_of(stage, i)) < 0)
			return NULL;
	return TAKE_PTR(message);
}

int engine_setup_set_limits(struct json_object *setup, unsigned workers, unsigned halvings)
{
	int r = engine_set_number(setup, "workers",
				  workers < ENGINE_WORKERS_MAX ? workers : ENGINE_WORKERS_MAX);

	return r < 0 ? r : engine_set_number(setup, "halvings", halvings < 31 ? halvings : 31);
}

static int read_template(struct json_object *setup, struct template **template, struct error *err)
{
	_cleanup_buffer_ struct buffer text = BUFFER_INIT(TEMPLATE_BYTES_MAX);
	int r = json_print(json_get(setup, "template"), &text, err);

	return r < 0 ? r :
		       template_parse(buffer_string(&text), text.size, "the role's template",
				      template, err);
}

int engine_setup_read(struct json_object *setup, struct log *log, struct template **template,
		      struct stage *stage, struct engine_limits *limits, struct error *err)
{
	int64_t level, workers, halvings;
	int r;

	if (!engine_take_number(setup, "log_level", LOG_DEBUG, LOG_ERROR, &level) ||
	    !engine_take_number(setup, "workers", 1, ENGINE_WORKERS_MAX, &workers) ||
	    !engine_take_number(setup, "halvings", 0, 31, &halvings))
		return error_set(err, -EPROTO, "the first message is none");
	log->level = (enum log_level)level;
	log->is_json = json_get_bool(setup, "is_log_json", false);
	*limits = (struct engine_limits){ .workers = (unsigned)workers,
					  .halvings = (unsigned)halvings,
					  .has_inputs = json_get_bool(setup, "has_inputs", false) };
	r = read_template(setup, template, err);
	if (r < 0)
		return r;
	*stage = (struct stage){ .template = *template,
				 .log = log,
				 .is_initless = json_get_bool(setup, "is_initless", false) };
	stage->store.log = log;
	for (size_t i = 0; i < PLACE_COUNT; i++)
		*place_of(stage, i) = json_get_string(setup, places[i].name, NULL);
	return 0;
}
