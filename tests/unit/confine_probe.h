/* A child that gives up what a kind of process does, and then tries something. */
#pragma once

#include "executor/confine/confine.h"

struct confine_probe {
	enum confine_kind kind;
	struct confine_options options;
	long (*body)(void); /* what it returns is the exit status */
};

struct confine_ending {
	int status; /* of waitpid(2) */
	bool is_told;
	char call[CONFINE_CALL_NAME_MAX];
};

/* A failure to become confined. */
#define NOT_CONFINED 99

struct confine_ending confine_probe_run(const struct confine_probe *probe);
