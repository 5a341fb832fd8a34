/*
 * The termination message: what a kubelet shows of a container that has ended, and what the
 * workflow controller puts into the node's message. Of all errors of a role the first one is it.
 * https://kubernetes.io/docs/tasks/debug/debug-application/determine-reason-pod-failure/
 */
#pragma once

#include "executor/base/error.h"

#include <stdbool.h>
#include <stddef.h>

#define TERMINATION_LOG_PATH "/dev/termination-log"
/* A kubelet reads that much of the file. */
#define TERMINATION_MESSAGE_MAX 4096

/* Replaces the contents of the file at `path`, which a kubelet has made (it is not created: outside
 * of a pod there is none). Longer text is cut at a UTF-8 character. Failing is no reason to end
 * otherwise than planned. */
int termination_write(const char *path, const char *message, struct error *err);

/* The same behind what the file holds already, which a user's command has written: "<that>; <message>".
 * Of that goes what there is no room for. */
int termination_add(const char *path, const char *message, struct error *err);

/* Errors kept by a role; the first is what the run ends with, the rest are counted. Every one of
 * them is logged where it happens. */
struct error_list {
	struct error first; /* .code = 0: none */
	unsigned count;
};

/* Returns true if it is the first. An error with code 0 is ignored. */
bool error_list_add(struct error_list *list, const struct error *err);

/* Writes the first error's message to `path`; nothing if there is none. */
int error_list_terminate(const struct error_list *list, const char *path, struct error *err);
