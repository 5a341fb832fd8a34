#include "executor/artifact/plugin/grpc.h"

#include "executor/base/text.h"
#include "executor/http/retry.h"

#include <errno.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>

/* A flag (compressed or not), and the length, big endian. */
#define FRAME_HEAD_BYTES 5

enum {
	GRPC_OK = 0,
	GRPC_UNKNOWN = 2,
	GRPC_NOT_FOUND = 5,
	GRPC_UNAVAILABLE = 14,
};

/* As Go's gRPC prints them. */
static const char *const code_names[] = {
	"OK",
	"Canceled",
	"Unknown",
	"InvalidArgument",
	"DeadlineExceeded",
	"NotFound",
	"AlreadyExists",
	"PermissionDenied",
	"ResourceExhausted",
	"FailedPrecondition",
	"Aborted",
	"OutOfRange",
	"Unimplemented",
	"Internal",
	"Unavailable",
	"DataLoss",
	"Unauthenticated",
};
#define CODE_COUNT (int64_t)(sizeof(code_names) / sizeof(code_names[0]))

static int hex(char c)
{
	if (c >= '0' && c <= '9')
		return c - '0';
	if (c >= 'a' && c <= 'f')
		return c - 'a' + 10;
	return c >= 'A' && c <= 'F' ? c - 'A' + 10 : -1;
}

void grpc_decode_message(char *text)
{
	char *out = text;

	for (const char *p = text; *p; out++) {
		int high = *p == '%' ? hex(p[1]) : -1;
		int low = high >= 0 ? hex(p[2]) : -1;

		*out = low >= 0 ? (char)(high << 4 | low) : *p;
		p += low >= 0 ? 3 : 1;
	}
	*out = '\0';
}

int grpc_unframe(const struct buffer *body, const char **ret, size_t *ret_size, struct error *err)
{
	const unsigned char *head = (const unsigned char *)body->data;
	uint32_t size;

	if (body->size < FRAME_HEAD_BYTES)
		return error_set(err, -EBADMSG, "the answer holds no message");
	if (head[0] != 0)
		return error_set(err, -EBADMSG, "the answer is compressed, unasked");
	size = (uint32_t)head[1] << 24 | (uint32_t)head[2] << 16 | (uint32_t)head[3] << 8 | head[4];
	if (size != body->size - FRAME_HEAD_BYTES)
		return error_set(err, -EBADMSG,
				 "the answer's message should have %u bytes and has %zu", size,
				 body->size - FRAME_HEAD_BYTES);
	*ret = body->data + FRAME_HEAD_BYTES;
	*ret_size = size;
	return 0;
}

static int frame(struct buffer *out, const struct buffer *message)
{
	const unsigned char head[FRAME_HEAD_BYTES] = {
		0,
		(unsigned char)(message->size >> 24),
		(unsigned char)(message->size >> 16),
		(unsigned char)(message->size >> 8),
		(unsigned char)message->size,
	};
	int r = buffer_append(out, head, sizeof(head));

	return r < 0 ? r : buffer_append(out, buffer_string(message), message->size);
}

static int refuse(struct retry *retry, struct error *err, int64_t code, const char *text)
{
	const char *name = code >= 0 && code < CODE_COUNT ? code_names[code] : "Unknown";

	if (retry)
		snprintf(retry->code, sizeof(retry->code), "%s", name);
	if (code == GRPC_NOT_FOUND)
		error_set_class(err, -ENOENT, ERROR_NOT_FOUND, "rpc error: code = %s desc = %s",
				name, text);
	else
		error_set_class(err, -EREMOTEIO,
				code == GRPC_UNAVAILABLE ? ERROR_TRANSIENT : ERROR_PERMANENT,
				"rpc error: code = %s desc = %s", name, text);
	return err->code;
}

/* An answer without trailers: somebody else's, or only headers (then they hold the status). */
static const char *find(const struct http_response *response, const char *name, char *buffer,
			size_t size)
{
	const char *value = http_response_trailer(response, name, buffer, size);

	return value ?: http_response_header(response, name, buffer, size);
}

static int judge(const struct http_response *response, struct retry *retry, struct error *err)
{
	char number[32], text[ERROR_MESSAGE_MAX];
	int64_t code;

	if (find(response, "grpc-status", number, sizeof(number)) &&
	    text_parse_int64(number, &code) == 0) {
		if (code == GRPC_OK)
			return 0;
		if (!find(response, "grpc-message", text, sizeof(text)))
			text[0] = '\0';
		grpc_decode_message(text);
		return refuse(retry, err, code, text);
	}
	snprintf(text, sizeof(text), "the server sent no grpc-status, and HTTP status %d",
		 response->status);
	/* gRPC, http-grpc-status-mapping: what a proxy in between would say. */
	return refuse(retry, err,
		      response->status == 429 ||
				      (response->status >= 502 && response->status <= 504) ?
			      GRPC_UNAVAILABLE :
			      GRPC_UNKNOWN,
		      text);
}

static int take(const struct http_response *response, struct retry *retry, struct buffer *reply,
		struct error *err)
{
	const char *message = NULL;
	size_t size = 0;
	int r = judge(response, retry, err);

	if (r < 0)
		return r;
	if (response->is_body_cut)
		return error_set(err, -EMSGSIZE, "the answer is larger than %d bytes",
				 GRPC_MESSAGE_BYTES_MAX);
	r = grpc_unframe(&response->body, &message, &size, err);
	if (r == 0 && buffer_append(reply, message, size) < 0)
		r = error_set(err, -ENOMEM, "out of memory");
	return r;
}

/* The HTTP status of a refusal is 200. */
static bool is_well(const struct http_response *response)
{
	struct error err = ERROR_NONE;

	return judge(response, NULL, &err) == 0 || err.class != ERROR_TRANSIENT;
}

int grpc_call(struct http_client *http, const char *socket_path, const char *method,
	      const struct buffer *request, struct retry *retry, struct buffer *reply,
	      struct error *err)
{
	static const char *const headers[] = { "content-type: application/grpc", "te: trailers",
					       NULL };
	_cleanup_buffer_ struct buffer body = BUFFER_INIT(request->size + FRAME_HEAD_BYTES);
	struct http_response response = { .status = 0 };
	struct http_request call = {
		.method = "POST",
		.headers = headers,
		.unix_path = socket_path,
		.retry = retry,
		.is_well = is_well,
		.may_take_long = true,
		.body_max = GRPC_MESSAGE_BYTES_MAX + FRAME_HEAD_BYTES,
	};
	char url[256];
	int r = frame(&body, request);

	if (r < 0)
		return error_set(err, r, "out of memory");
	snprintf(url, sizeof(url), "http://localhost%s", method);
	call.url = url;
	call.body = (struct http_body){ .data = body.data, .size = body.size };
	r = http_perform(http, &call, &response, err);
	if (r == 0)
		r = take(&response, retry, reply, err);
	else if (r == -EPROTO) /* it would break the rules of HTTP/2 once more */
		err->class = ERROR_PERMANENT;
	http_response_done(&response);
	return r;
}
