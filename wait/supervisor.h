/*
 * The supervisor of a pod without init container (Argo 4.1): loads the inputs like `init` while the
 * main containers already wait for its word, then waits, saves and reports like `wait`.
 *
 * /var/run/argo/status is how it speaks to them: RUNNING, written anew every few seconds so that
 * its age shows that the supervisor lives, then READY, or FAILED and the reason.
 */
#pragma once

#include "executor/base/role.h"

int supervisor_main(const struct role *role);
