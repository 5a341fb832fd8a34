/* The header lines of a request and its life. */
#include "executor/artifact/object/client.h"

#include <errno.h>
#include <string.h>

/* A session token has no documented limit; a few kilobytes are seen. */
#define LINE_MAX_BYTES (32 * 1024)

int object_request_add(struct object_request *request, const char *name, const char *value)
{
	struct buffer line = BUFFER_INIT(LINE_MAX_BYTES);

	if (!value)
		return 0;
	/* The last one stays NULL, as the HTTP client wants it. */
	if (request->line_count == OBJECT_HEADER_LINES - 1 ||
	    buffer_append_format(&line, "%s: %s", name, value) < 0) {
		buffer_done(&line);
		return -ENOMEM;
	}
	request->lines[request->line_count++] = buffer_take(&line);
	return 0;
}

void object_request_finish(struct object_request *request, const struct object_call *call)
{
	request->http = (struct http_request){
		.method = call->method,
		.url = request->url.url.data,
		.headers = (const char *const *)request->lines,
		.body = call->body,
		.body_max = call->body_max,
	};
}

void object_request_done(struct object_request *request)
{
	for (size_t i = 0; i < request->line_count; i++) {
		explicit_bzero(request->lines[i], strlen(request->lines[i]));
		free(request->lines[i]);
	}
	object_url_done(&request->url);
	*request = (struct object_request){ 0 };
}
