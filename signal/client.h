/* The other end of the control socket (docs/control-api.md), for this program's own subcommands:
 * one request, one answer, blocking, with a limit on time and size. */
#pragma once

#include "executor/base/buffer.h"
#include "executor/base/error.h"

/* An answer that takes longer is an error. */
#define CLIENT_TIMEOUT_S 10
#define CLIENT_ANSWER_BYTES_MAX (1024 * 1024)

/* Sends `method path` with an optional JSON body (NULL: none) to <root>/control.sock, and appends
 * the body of the answer to `out`. Returns the HTTP status, or a negative errno. */
int client_request(const char *root, const char *method, const char *path, const char *body,
		   struct buffer *out, struct error *err);

/* Watches GET /v1/events and calls on_event with each JSON object (no newline) until the server
 * ends (0), on_event returns non-zero (that value), or something fails. */
int client_watch(const char *root, int (*on_event)(const char *text, size_t size),
		 struct error *err);
