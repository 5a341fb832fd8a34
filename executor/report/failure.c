#include "executor/report/failure.h"

#include "executor/report/termination.h"

static void say(const struct role *role, const struct error *err,
		int (*write)(const char *path, const char *message, struct error *err))
{
	struct error write_error = ERROR_NONE;

	log_text(&role->log, "Error: %s\n%s\n", err->message, err->message);
	if (write(role->termination_log, err->message, &write_error) < 0)
		log_debug(&role->log, "No termination message", log_error_field(&write_error));
}

void failure_report(const struct role *role, const struct error *err)
{
	say(role, err, termination_write);
}

void failure_report_behind(const struct role *role, int code, const struct error *err)
{
	struct error both;

	error_set(&both, err->code, "exit status %d; %s", code, err->message);
	say(role, code != 0 ? &both : err, termination_add);
}
