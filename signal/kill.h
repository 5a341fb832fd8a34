/*
 * `argoexec kill SIGNAL PID`: what the controller executes in a container to stop it. It is the
 * hot path of every stop request, so it is kill(2) and next to nothing else: no loop, no template.
 */
#pragma once

#include "executor/base/role.h"

int kill_main(const struct role *role);
