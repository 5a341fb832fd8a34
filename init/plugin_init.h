/*
 * An init container that runs an artifact plugin (Argo 4.0): starts it, lets it load those of the
 * inputs that lie in its store, and ends it. SIGTERM ends both at once, as in `init`; a plugin that
 * ends before its inputs are loaded is an error, however it ends.
 */
#pragma once

#include "executor/base/role.h"

int plugin_init_main(const struct role *role);
