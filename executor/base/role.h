/* What every subcommand is given: where to log, its words, and how to reach the API. */
#pragma once

#include "executor/base/log.h"

struct kube_options;

/* Exit codes that the controller knows (docs/errors.md). */
enum {
	ROLE_OK = 0,
	ROLE_BAD_START = 1, /* wrong log flags, not started by a controller */
	ROLE_BAD_SETUP = 2, /* unreadable template, configuration of the cluster */
	ROLE_FAILED = 64, /* any error of the executor */
	ROLE_BEFORE_MAIN = 65, /* the user's command was never started */
	ROLE_TERMINATED = 143, /* 128 + SIGTERM: asked to stop before the work was done */
};

struct role {
	struct log log;
	int argc; /* positional words */
	char **argv; /* NULL terminated */
	const struct kube_options *kube; /* flags that tell how to reach the API server */
	const char *termination_log; /* /dev/termination-log */
	const char *container; /* signal: whom; NULL = all main containers */
	const char *plugin; /* artifact-plugin-init: which; NULL = not given */
	bool wants_watch; /* status: print every change until the pod ends */
};
