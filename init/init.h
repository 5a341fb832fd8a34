/*
 * The init container of a pod: puts the executor's binary and the template where the other
 * containers find them, and loads the inputs. SIGTERM ends it at once, whatever it is waiting for:
 * nothing half-loaded stays, and it ends 143, so that nobody takes the step for done.
 */
#pragma once

#include "executor/base/role.h"

int init_main(const struct role *role);
