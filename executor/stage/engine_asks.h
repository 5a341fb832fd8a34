/*
 * What the staging process asks its role for: files with credentials, which it never opens itself.
 * The role reads those that are there for that, whatever is asked: below the directory of the pod's
 * secrets, the service accounts' tokens for clouds (the one for the API server only where a variable
 * names it), what an environment variable of the stores names, what their tools keep at home, and what
 * those files name in their turn (a profile's token).
 */
#pragma once

#include "executor/base/error.h"
#include "executor/json/json.h"

#include <stdbool.h>

/* Largest file that may be asked for: Kubernetes holds no larger secret. */
#define ENGINE_ASKED_BYTES_MAX (1024 * 1024)

/* True if the role reads it. `secrets` is STAGE_SECRETS. */
bool engine_may_ask(const char *secrets, const char *path);

/* Answers one question that has come: 0, or a negative errno that ends the staging process. */
int engine_answer(int asks_fd, struct json_object *question, const char *secrets);

/* In the child, for store_context.read_file: asks, and waits for the answer. */
int engine_ask(int asks_fd, const char *path, struct buffer *out, struct error *err);
