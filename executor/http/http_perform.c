#include "executor/base/cleanup.h"
#include "executor/http/http_internal.h"

#include <errno.h>
#include <string.h>

struct answer {
	struct http_response *response;
	struct error *err;
	int code;
	bool is_done;
};

static void on_answer(struct http_transfer *transfer, const struct http_response *response,
		      const struct error *error, void *context)
{
	struct answer *answer = context;

	*answer->response = *response;
	memset(&transfer->response, 0, sizeof(transfer->response));
	answer->code = error->code;
	if (error->code != 0 && answer->err)
		*answer->err = *error;
	answer->is_done = true;
}

int http_perform(struct http_client *client, const struct http_request *request,
		 struct http_response *response, struct error *err)
{
	struct answer answer = { .response = response, .err = err };
	_cleanup_(http_transfer_freep) struct http_transfer *transfer = NULL;
	int r;

	*response = (struct http_response){ .content_length = -1 };
	if (event_loop_is_cancelled(client->loop))
		return event_loop_cancelled_error(err);
	transfer = http_start(client, request, on_answer, &answer, err);
	if (!transfer)
		return err ? err->code : -ENOMEM;
	r = event_loop_wait(client->loop, &answer.is_done);
	if (r == -ECANCELED)
		return event_loop_cancelled_error(err);
	if (r < 0)
		return error_errno(err, r, "wait for an answer");
	return answer.code;
}

void http_response_done(struct http_response *response)
{
	buffer_done(&response->headers);
	buffer_done(&response->trailers);
	buffer_done(&response->body);
}

static const char *find_line(const struct buffer *lines, const char *name, char *buffer,
			     size_t size)
{
	size_t name_size = strlen(name);

	for (const char *line = buffer_string(lines); *line;) {
		const char *end = strchrnul(line, '\n');

		if (strncasecmp(line, name, name_size) == 0 && line[name_size] == ':') {
			const char *value = line + name_size + 2;

			snprintf(buffer, size, "%.*s", (int)(end - value), value);
			return buffer;
		}
		line = *end ? end + 1 : end;
	}
	return NULL;
}

const char *http_response_header(const struct http_response *response, const char *name,
				 char *buffer, size_t size)
{
	return find_line(&response->headers, name, buffer, size);
}

const char *http_response_trailer(const struct http_response *response, const char *name,
				  char *buffer, size_t size)
{
	return find_line(&response->trailers, name, buffer, size);
}
