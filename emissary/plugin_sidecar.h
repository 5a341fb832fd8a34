/*
 * The wrapper of an artifact plugin that serves the pod from a container of its own (Argo 4.0).
 * SIGTERM is ignored, on purpose: a kubelet or controller sends it to the whole pod, and outputs are
 * still to be uploaded then. The plugin ends by itself, by a signal in ctr/<name>/signal, which the
 * container beside main writes when it is done, by any other signal, or when that container has died.
 * ctr/<name>/exitcode tells how; the wrapper's own exit status is 0.
 */
#pragma once

#include "executor/base/role.h"

int plugin_sidecar_main(const struct role *role);
