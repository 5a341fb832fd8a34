/*
 * One call of a gRPC service on a unix socket (gRPC over HTTP/2, github.com/grpc/grpc, PROTOCOL-HTTP2):
 * a message there, a message back, no compression, no limit on its time.
 */
#pragma once

#include "executor/base/buffer.h"
#include "executor/base/error.h"
#include "executor/http/http.h"

/* Largest answer; gRPC's own default. */
#define GRPC_MESSAGE_BYTES_MAX (4 * 1024 * 1024)

/*
 * Calls `method` ("/package.Service/Method") as an attempt of `retry`, which NULL is none of. 0 with the answer's message appended to `reply`, or a
 * negative errno with err filled: the transport's (executor/http), or what the server said, "rpc
 * error: code = NotFound desc = …", of class NOT_FOUND (5), TRANSIENT (14, UNAVAILABLE) or
 * PERMANENT (all others, and answers that are no gRPC).
 */
int grpc_call(struct http_client *http, const char *socket_path, const char *method,
	      const struct buffer *request, struct retry *retry, struct buffer *reply,
	      struct error *err);

/* The message in the body of an answer, for grpc_call(): one frame, nothing before or behind it.
 * -EBADMSG with err filled; *ret is lent by `body`. */
int grpc_unframe(const struct buffer *body, const char **ret, size_t *ret_size, struct error *err);

/* Undoes percent-encoding in place; what is not well encoded stays as it is. */
void grpc_decode_message(char *text);
