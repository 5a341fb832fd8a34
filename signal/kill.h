/*
 * `argoexec kill SIGNAL PID`: what the controller executes in a container to stop it. It is the
 * hot path of every stop request, so it is kill(2) and next to nothing else: no loop, no template.
 * Where PID 1 is not the container's role but the pod's pause process, the role is signalled
 * (executor/process/record.h); on any doubt, and for every other process, it is kill(2) as asked.
 */
#pragma once

#include "executor/base/role.h"

int kill_main(const struct role *role);
