#include "executor/base/text.h"
#include "executor/http/http_internal.h"

#include <ctype.h>
#include <errno.h>
#include <string.h>
#include <strings.h>
#include <unistd.h>

static int fail(struct http_transfer *transfer, int code, const char *text)
{
	error_set(&transfer->error, code, "%s", text);
	transfer->error.class = ERROR_PERMANENT;
	http_outcome_prefix(&transfer->request, &transfer->error);
	return code;
}

/* A redirect that turns an upload into a GET would be reported as success without having stored
 * anything: such an answer is the caller's (RFC 9110, 15.4.2 to 15.4.4, permit the change). */
static bool may_follow(const struct http_transfer *transfer)
{
	const struct http_request *request = &transfer->request;
	int status = transfer->response.status;

	if (request->redirects_max == 0)
		return false;
	if (status == 307 || status == 308)
		return true;
	return (status == 301 || status == 302 || status == 303) &&
	       (strcmp(request->method, "GET") == 0 || strcmp(request->method, "HEAD") == 0);
}

static void begin_response(struct http_transfer *transfer, const char *line, size_t size)
{
	struct http_response *response = &transfer->response;
	const char *space = memchr(line, ' ', size);

	buffer_reset(&response->headers);
	buffer_reset(&response->trailers);
	response->content_length = -1;
	response->status = 0;
	transfer->has_headers = false;
	for (const char *p = space ? space + 1 : line + size;
	     p < line + size && isdigit((unsigned char)*p) && response->status < 1000; p++)
		response->status = response->status * 10 + (*p - '0');
	if (transfer->request.redirects_max > 0)
		curl_easy_setopt(transfer->easy, CURLOPT_FOLLOWLOCATION,
				 may_follow(transfer) ? 1L : 0L);
}

static void end_headers(struct http_transfer *transfer)
{
	struct http_response *response = &transfer->response;
	char value[32];

	if (response->status < 200 ||
	    (may_follow(transfer) &&
	     http_response_header(response, "location", value, sizeof(value))))
		return;
	transfer->has_headers = true;
	if (http_response_header(response, "content-length", value, sizeof(value)) &&
	    (text_parse_int64(value, &response->content_length) < 0 ||
	     response->content_length < 0))
		response->content_length = -1;
}

static int add_value(struct buffer *headers, const char *value, const char *end)
{
	int r;

	while (value < end && (*value == ' ' || *value == '\t'))
		value++;
	while (end > value && (end[-1] == ' ' || end[-1] == '\t'))
		end--;
	r = buffer_append(headers, value, (size_t)(end - value));
	return r < 0 ? r : buffer_append(headers, "\n", 1);
}

static int add_header(struct buffer *headers, const char *line, size_t size)
{
	const char *colon = memchr(line, ':', size);
	size_t name_start = headers->size;
	int r;

	if (*line == ' ' || *line == '\t') { /* obsolete line folding, RFC 9112, 5.2 */
		if (headers->size == 0)
			return 0;
		headers->data[headers->size - 1] = ' ';
		return add_value(headers, line, line + size);
	}
	if (!colon)
		return 0;
	r = buffer_append(headers, line, (size_t)(colon - line));
	for (size_t i = name_start; r == 0 && i < headers->size; i++)
		headers->data[i] = (char)tolower((unsigned char)headers->data[i]);
	if (r == 0)
		r = buffer_append(headers, ": ", 2);
	return r < 0 ? r : add_value(headers, colon + 1, line + size);
}

size_t http_payload_on_header(char *line, size_t size, size_t count, void *context)
{
	struct http_transfer *transfer = context;
	struct http_response *response = &transfer->response;
	size_t taken = size * count;
	size_t length = taken;

	if (transfer->is_freed)
		return 0;
	while (length > 0 && (line[length - 1] == '\n' || line[length - 1] == '\r'))
		length--;
	if (length >= 5 && memcmp(line, "HTTP/", 5) == 0 &&
	    (!transfer->has_headers || response->body_bytes == 0)) {
		begin_response(transfer, line, length);
		return taken;
	}
	if (length == 0) {
		if (!transfer->has_headers)
			end_headers(transfer);
		return taken;
	}
	if (transfer->client && length > 11 && strncasecmp(line, "set-cookie:", 11) == 0)
		transfer->client->cookie_count++;
	if (add_header(transfer->has_headers ? &response->trailers : &response->headers, line,
		       length) < 0) {
		fail(transfer, -EMSGSIZE, "the response headers are larger than 64 KiB");
		return 0;
	}
	return taken;
}

static size_t collect(struct http_transfer *transfer, const char *data, size_t size)
{
	struct http_response *response = &transfer->response;
	size_t room = response->body.max - response->body.size;
	size_t kept = size < room ? size : room;

	if (kept > 0 && buffer_append(&response->body, data, kept) < 0) {
		fail(transfer, -ENOMEM, "cannot allocate memory");
		return 0;
	}
	if (kept == size)
		return size;
	response->is_body_cut = true;
	return response->body_bytes - response->body.size > HTTP_DRAIN_BYTES_MAX ? 0 : size;
}

size_t http_payload_on_body(char *data, size_t size, size_t count, void *context)
{
	struct http_transfer *transfer = context;
	const struct http_request *request = &transfer->request;
	size_t total = size * count;
	int r;

	if (transfer->is_freed)
		return 0;
	if (transfer->is_paused) {
		transfer->is_held = true;
		return CURL_WRITEFUNC_PAUSE;
	}
	transfer->response.body_bytes += total;
	if (!request->on_data || transfer->response.status / 100 != 2)
		return collect(transfer, data, total);
	r = request->on_data(request->context, data, total, &transfer->error);
	if (r < 0 && transfer->error.code == 0)
		error_errno(&transfer->error, r, "take received data");
	return r < 0 ? 0 : total;
}

size_t http_payload_read(char *data, size_t size, size_t count, void *context)
{
	struct http_transfer *transfer = context;
	const struct http_body *body = &transfer->request.body;
	uint64_t left = body->size - transfer->body_position;
	size_t wanted = size * count < left ? size * count : (size_t)left;
	ssize_t n;

	if (transfer->is_freed)
		return CURL_READFUNC_ABORT;
	if (wanted == 0)
		return 0;
	if (body->data) {
		memcpy(data, (const char *)body->data + transfer->body_position, wanted);
		transfer->body_position += wanted;
		return wanted;
	}
	do
		n = pread(body->fd, data, wanted, (off_t)(body->offset + transfer->body_position));
	while (n < 0 && errno == EINTR);
	if (n <= 0) {
		if (n < 0)
			error_errno(&transfer->error, -errno, "read the file to send");
		else
			error_set(&transfer->error, -ESTALE,
				  "the file to send became shorter: it has %llu of %llu bytes",
				  (unsigned long long)transfer->body_position,
				  (unsigned long long)body->size);
		transfer->error.class = ERROR_PERMANENT;
		http_outcome_prefix(&transfer->request, &transfer->error);
		return CURL_READFUNC_ABORT;
	}
	transfer->body_position += (size_t)n;
	return (size_t)n;
}

int http_payload_seek(void *context, curl_off_t offset, int origin)
{
	struct http_transfer *transfer = context;

	if (origin != SEEK_SET || offset < 0 || (uint64_t)offset > transfer->request.body.size)
		return CURL_SEEKFUNC_FAIL;
	transfer->body_position = (uint64_t)offset;
	return CURL_SEEKFUNC_OK;
}
