#include "executor/stage/stage.h"

#include "executor/archive/hooks.h"
#include "executor/base/path.h"
#include "executor/template/location.h"

#include <errno.h>
#include <string.h>

/* An optional input that was not supplied is no mount: its path is main's own. */
static bool is_unsupplied(const struct template_artifact *input)
{
	return input->is_optional && !location_is_complete(input->json) &&
	       !location_key(input->json);
}

bool stage_is_in_base(const struct stage *stage, const char *path)
{
	const struct template *template = stage->template;

	if (template_find_mount(template, path))
		return false;
	if (stage->is_initless)
		return true;
	for (size_t i = 0; i < template->input_count; i++) {
		const struct template_artifact *input = &template->inputs[i];

		if (strcmp(path, input->path) == 0)
			return is_unsupplied(input);
		if (path_is_at_or_below(path, input->path))
			return false;
	}
	return true;
}

int stage_open_store(const struct stage *stage, struct json_object *artifact, const char *name,
		     struct store **ret, struct error *err)
{
	const char *type = location_type(artifact);
	const struct store_operations *operations = type ? store_find(type) : NULL;

	if (!operations)
		return error_set(err, -ENOTSUP,
				 "Unsupported artifact driver for %s: this executor has no store "
				 "of type %s",
				 name, type ? type : "\"\"");
	return operations->open(&stage->store, location_get(artifact), ret, err);
}

void stage_close_store(struct store **store)
{
	if (*store)
		(*store)->operations->close(*store);
}

static void warn(void *context, const char *message)
{
	const struct stage *stage = context;

	log_warn(stage->log, message, log_string("operation", "archive"));
}

static bool is_cancelled(void *context)
{
	const struct stage *stage = context;

	return event_loop_poll(stage->store.loop) == -ECANCELED;
}

struct hooks stage_hooks(const struct stage *stage)
{
	return (struct hooks){ .warn = warn,
			       .is_cancelled = is_cancelled,
			       .context = (void *)stage };
}
