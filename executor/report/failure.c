#include "executor/report/failure.h"

#include "executor/report/termination.h"

void failure_report(const struct role *role, const struct error *err)
{
	struct error write_error = ERROR_NONE;

	log_text(&role->log, "Error: %s\n%s\n", err->message, err->message);
	if (termination_write(role->termination_log, err->message, &write_error) < 0)
		log_debug(&role->log, "No termination message", log_error_field(&write_error));
}
