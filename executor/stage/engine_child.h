/* The staging process from inside; engine.h has its role's side of it. */
#pragma once

#include "executor/base/role.h"

/* `argoexec stage`: serves the role that has the other ends of its standard input and output, until
 * that is gone. Returns only where there is none. */
int engine_child_main(const struct role *role);
