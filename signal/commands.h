/*
 * `argoexec signal [--container C] SIGNAL` and `argoexec status [--watch]`: the control socket for
 * people and scripts inside the pod. Both print JSON as it comes (docs/control-api.md).
 */
#pragma once

#include "executor/base/role.h"

/* SIGNAL is a number or a name (TERM, SIGTERM). As with any request, SIGKILL follows
 * a signal that ends processes when the pod's grace period is over. */
int signal_main(const struct role *role);
int status_main(const struct role *role);
