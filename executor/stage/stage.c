#include "executor/stage/stage.h"

#include "executor/archive/hooks.h"
#include "executor/base/path.h"
#include "executor/template/location.h"

#include <errno.h>
#include <stdio.h>
#include <string.h>

/* --- what is told of it ----------------------------------------------------------------- */

const char *stage_log_name(const char *container, char buffer[STAGE_LOG_NAME_MAX])
{
	snprintf(buffer, STAGE_LOG_NAME_MAX, "%s-logs", container);
	return buffer;
}

static void plan(struct ledger *ledger, enum ledger_direction direction,
		 const struct template_artifact *artifacts, size_t count)
{
	for (size_t i = 0; i < count; i++)
		ledger_plan(ledger, direction, artifacts[i].name);
}

int stage_plan(struct ledger *ledger, const struct template *template, bool with_inputs)
{
	size_t inputs = with_inputs ? template->input_count : 0;
	size_t logs = template_archives_logs(template) ? template->container_count : 0;
	char name[STAGE_LOG_NAME_MAX];
	int r = ledger_init(ledger, inputs + template->output_count + logs);

	if (r < 0)
		return r;
	plan(ledger, LEDGER_INPUT, template->inputs, inputs);
	plan(ledger, LEDGER_OUTPUT, template->outputs, template->output_count);
	for (size_t i = 0; i < logs; i++)
		ledger_plan(ledger, LEDGER_OUTPUT, stage_log_name(template->containers[i], name));
	return 0;
}

static void on_stored(void *context, uint64_t bytes)
{
	ledger_move(context, bytes);
}

static void on_retry(void *context)
{
	ledger_retry(context);
}

/* --- places and stores ------------------------------------------------------------------ */

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
		     struct ledger_entry *entry, struct store **ret, struct error *err)
{
	const char *type = location_type(artifact);
	const struct store_operations *operations = type ? store_find(type) : NULL;
	struct store_context context = stage->store;

	if (!operations)
		return error_set(err, -ENOTSUP,
				 "Unsupported artifact driver for %s: this executor has no store "
				 "of type %s",
				 name, type ? type : "\"\"");
	context.observer = (struct store_observer){ .stored = on_stored,
						    .retried = on_retry,
						    .context = entry };
	context.artifact = artifact;
	return operations->open(&context, location_get(artifact), ret, err);
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

	return event_loop_give_turn(stage->store.loop) == -ECANCELED;
}

struct hooks stage_hooks(const struct stage *stage)
{
	return (struct hooks){ .warn = warn,
			       .is_cancelled = is_cancelled,
			       .context = (void *)stage };
}
