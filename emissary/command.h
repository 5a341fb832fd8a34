/* The command line that the wrapper is to run. */
#pragma once

#include "executor/base/error.h"
#include "executor/base/role.h"

struct command {
	char **argv; /* NULL terminated; argv[0] is the resolved path */
	int argc;
};

/*
 * From the words after `--` and, if ARGO_CONTAINER_ARGS_FILE names one, the JSON array in that
 * file (the controller offloads large argument lists). Arguments that are too long for execve(2)
 * (131,072 bytes) are then written to /tmp/argo_arg_<i>.txt and passed as @/tmp/argo_arg_<i>.txt.
 */
int command_build(const struct role *role, struct command *command, struct error *err);

/* Replaces argv[0] by the program that it names (search in PATH). */
int command_resolve(struct command *command, struct error *err);

void command_done(struct command *command);
