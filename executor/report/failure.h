/* How a subcommand says that it failed: to the reader of the log and to the controller. */
#pragma once

#include "executor/base/error.h"
#include "executor/base/role.h"

/* Writes "Error: <message>" and the message alone to stderr (two lines, as Argo's users know
 * them), and the message to the termination log. Never fails. */
void failure_report(const struct role *role, const struct error *err);

/* The same of what went wrong behind a command that ended with `code`: a status that is not 0 is more
 * important and said first, and what the command has left in the termination log before all. */
void failure_report_behind(const struct role *role, int code, const struct error *err);
