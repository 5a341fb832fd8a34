#include "wait/supervisor.h"

#include "executor/base/fd.h"
#include "executor/process/files.h"
#include "executor/stage/load.h"
#include "wait/auxiliary.h"

#include <errno.h>
#include <stddef.h>
#include <stdio.h>

/* A wrapper takes a supervisor for dead after 30 s without a sign (Argo 4.1). */
#define HEARTBEAT_MS 5000

#define INPUT_PLUGINS "ARGO_INPUT_ARTIFACT_PLUGIN_NAMES"

#define STATUS FILES_VAR_RUN_ARGO "/" FILES_STATUS_NAME

struct supervisor {
	struct auxiliary auxiliary;
	struct event_timer heartbeat;
};

static int write_status(const char *word, const char *message, struct error *err)
{
	char text[ERROR_MESSAGE_MAX + 16];
	int size = snprintf(text, sizeof(text), "%s\n%s", word, message);

	return file_replace(STATUS, text, (size_t)size, 0644, err);
}

static void beat(struct event_timer *timer)
{
	struct supervisor *self =
		(struct supervisor *)((char *)timer - offsetof(struct supervisor, heartbeat));
	struct error err = ERROR_NONE;

	if (write_status(FILES_STATUS_RUNNING, "", &err) < 0)
		log_warn(self->auxiliary.log, "No heartbeat", log_error_field(&err));
	event_timer_set(timer, HEARTBEAT_MS);
}

#define PASSES_MAX 64

/* Pass 0 is ours, each plugin has one of its own, as `init` containers have in other pods. */
static int load_side_by_side(struct supervisor *self, struct error *err)
{
	const char *cursor = environment_get(INPUT_PLUGINS);
	char plugins[PASSES_MAX][ENVIRONMENT_NAME_MAX];
	const char *passes[PASSES_MAX] = { NULL };
	size_t count = 1, failed = 0;
	int r;

	while (count < PASSES_MAX && environment_next_name(&cursor, plugins[count])) {
		passes[count] = plugins[count];
		count++;
	}
	if (count == PASSES_MAX && environment_next_name(&cursor, plugins[0]))
		return error_set(err, -E2BIG, INPUT_PLUGINS ": more than %d names", PASSES_MAX - 1);
	r = engine_load(&self->auxiliary.engine, passes, count, &failed, err);
	if (r < 0 && passes[failed])
		return error_prefix(err, r, "failed to load input artifacts from plugin \"%s\"",
				    passes[failed]);
	return r < 0 ? error_prefix(err, r, "failed to load non-plugin input artifacts") : 0;
}

static int load(struct supervisor *self, struct error *err)
{
	struct stage stage = auxiliary_stage(&self->auxiliary);
	int r = write_status(FILES_STATUS_RUNNING, "", err);

	if (r == 0) {
		r = event_timer_init(&self->heartbeat, self->auxiliary.loop, beat);
		if (r < 0)
			return error_errno(err, r, "timerfd");
		event_timer_set(&self->heartbeat, HEARTBEAT_MS);
		r = template_install(self->auxiliary.template, FILES_VAR_RUN_ARGO, err);
	}
	if (r == 0)
		r = load_files(&stage, err);
	if (r == 0)
		r = load_side_by_side(self, err);
	/* A stop that came while nothing was waited for still counts. */
	if (r == 0 && event_loop_poll(self->auxiliary.loop) == -ECANCELED)
		r = event_loop_cancelled_error(err);
	return r;
}

/* Loads, and tells the main containers. True if they may run. */
static bool prepare_main(struct supervisor *self)
{
	struct auxiliary *auxiliary = &self->auxiliary;
	struct error err = ERROR_NONE;
	int r;

	auxiliary->is_before_main = true;
	r = load(self, &err);
	auxiliary->is_before_main = false;
	event_timer_done(&self->heartbeat);
	if (r == 0)
		r = write_status(FILES_STATUS_READY, "", &err);
	if (r == 0)
		return true;
	if (event_loop_is_cancelled(auxiliary->loop)) {
		error_set(&err, -ECANCELED, "%s before the inputs were loaded",
			  auxiliary->standing.code ? auxiliary->standing.message : "stopped");
		event_loop_resume(auxiliary->loop);
	}
	auxiliary_note(auxiliary, "Failed before main", &err);
	if (write_status(FILES_STATUS_FAILED, err.message, &err) < 0)
		auxiliary_note(auxiliary, "Failed to tell the main containers", &err);
	return false;
}

int supervisor_main(const struct role *role)
{
	struct supervisor self = { .heartbeat = { .callback = NULL } };
	int code = auxiliary_set_up(&self.auxiliary, role, "supervisor");

	if (code == ROLE_OK)
		code = auxiliary_run(&self.auxiliary, prepare_main(&self));
	auxiliary_release(&self.auxiliary);
	return code;
}
