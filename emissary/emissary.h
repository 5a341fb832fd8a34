/*
 * The wrapper in front of the user's process: `argoexec emissary -- NAME [ARG…]`. It runs the
 * command as if it were not there (environment, standard streams, signals, exit status), tells
 * `wait` what became of it, and leaves the outputs where `wait` finds them.
 */
#pragma once

#include "executor/base/role.h"

/* Returns the process's exit status. The file ctr/<name>/exitcode has been written by then. */
int emissary_main(const struct role *role);
