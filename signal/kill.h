/*
 * `argoexec kill SIGNAL PID`: what the controller executes in a container to stop it. It is the
 * hot path of every stop request, so it does nothing but kill(2): no files, no environment, no
 * loop.
 */
#pragma once

#include "executor/base/role.h"

int kill_main(const struct role *role);
