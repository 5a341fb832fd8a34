/* Requests and answers of one connection; control.c has the sockets. */
#include "executor/base/clock.h"
#include "executor/base/text.h"
#include "signal/control_internal.h"

#include <errno.h>
#include <string.h>

/* Headers of an answer. */
#define HEADERS_BYTES_MAX 1024
/* The status of 64 containers, each with a full reason in escapes, fits. */
#define ANSWER_BYTES_MAX (256 * 1024)

#define JSON_TYPE "application/json"
#define METRICS_TYPE "application/openmetrics-text; version=1.0.0; charset=utf-8"

/* The order in which lws_http_get_uri_and_method() numbers them. */
enum method { METHOD_GET = 0, METHOD_POST = 1, METHOD_HEAD = 7 };

static int64_t now_us(void)
{
	struct timespec now;

	clock_gettime(CLOCK_MONOTONIC, &now);
	return (int64_t)now.tv_sec * 1000000 + now.tv_nsec / 1000;
}

/* The answer is in connection->answer; it is sent when the socket takes it. */
static int send_later(struct control_connection *connection, int status, const char *type)
{
	connection->status = status;
	connection->content_type = type;
	connection->deadline_ms = clock_now_ms() + CONTROL_STEP_MS;
	lws_callback_on_writable(connection->wsi);
	return 0;
}

static int refuse(struct control_connection *connection, int status, const char *message)
{
	connection->listener->control->statistics.refused++;
	buffer_reset(&connection->answer);
	if (control_write_error(&connection->answer, status, message) < 0)
		return -1;
	return send_later(connection, status, JSON_TYPE);
}

/* Refuses, and does not read what may still come of the request. */
static int refuse_and_close(struct control_connection *connection, int status, const char *message)
{
	connection->is_closing = true;
	return refuse(connection, status, message);
}

static int terminate(struct control_connection *connection)
{
	struct control *control = connection->listener->control;
	struct control_terminate request;
	struct error err = ERROR_NONE;
	enum termination_outcome outcome;
	unsigned id;

	if (control_parse_terminate(&control->model, buffer_string(&connection->body),
				    connection->body.size, &request, &err) < 0)
		return refuse(connection, err.code == -ENOMEM ? 503 : 400, err.message);
	request.request.uid = connection->key.uid;
	request.request.pid = connection->key.pid;
	snprintf(request.request.peer, sizeof(request.request.peer), "%s", connection->peer);
	outcome = terminator_ask(control->model.terminator, &request.request, request.which,
				 request.count, &id);
	control_terminate_done(&request);
	if (control_write_acknowledgement(&connection->answer, id, outcome) < 0)
		return -1;
	connection->has_terminated = true;
	return send_later(connection, 202, JSON_TYPE);
}

/* --- who may ask -------------------------------------------------------------------------- */

static bool may_ask(const struct control_connection *connection)
{
	struct control_listener *listener = connection->listener;
	int64_t now_ms = clock_now_ms();

	return control_bucket_take(
		&control_peer_find(&listener->peers, &connection->key, now_ms)->requests,
		CONTROL_REQUESTS_PER_S, CONTROL_REQUESTS_AT_ONCE, now_ms);
}

static bool is_authorized(const struct control_connection *connection)
{
	struct control *control = connection->listener->control;
	char text[CONTROL_TOKEN_BYTES_MAX + 64];
	bool is_right;

	if (!connection->listener->is_tcp)
		return true;
	if (lws_hdr_copy(connection->wsi, text, sizeof(text), WSI_TOKEN_HTTP_AUTHORIZATION) < 0)
		text[0] = '\0';
	is_right = control_token_accepts(&control->token, text, control->log);
	explicit_bzero(text, sizeof(text));
	return is_right;
}

/* Told once for each peer, as long as it is remembered. */
static void note_stranger(const struct control_connection *connection)
{
	struct control *control = connection->listener->control;
	struct control_peer *peer =
		control_peer_find(&connection->listener->peers, &connection->key, clock_now_ms());

	control->statistics.unauthorized++;
	log_at(control->log, peer->was_refused ? LOG_DEBUG : LOG_WARN,
	       "Refused a control request without the token", log_string("peer", connection->peer));
	peer->was_refused = true;
}

/* 0: go on. Else the refusal has been made. */
static int check_peer(struct control_connection *connection)
{
	if (!may_ask(connection))
		return refuse_and_close(connection, 429, "too many requests") < 0 ? -1 : 1;
	if (is_authorized(connection))
		return 0;
	note_stranger(connection);
	connection->challenge = "Bearer realm=\"argoexec\"";
	return refuse_and_close(connection, 401, "a bearer token is needed") < 0 ? -1 : 1;
}

/* --- the start of a request ------------------------------------------------------------- */

static int begin_post(struct control_connection *connection, bool has_length, int64_t length)
{
	if (lws_hdr_total_length(connection->wsi, WSI_TOKEN_HTTP_TRANSFER_ENCODING) > 0 ||
	    !has_length)
		return refuse_and_close(connection, 411, "a Content-Length is needed");
	if (length < 0)
		return refuse_and_close(connection, 400, "Content-Length is not a number");
	if (length > CONTROL_REQUEST_BYTES_MAX)
		return refuse_and_close(connection, 413, "the body is longer than 65536 bytes");
	connection->body = BUFFER_INIT(CONTROL_REQUEST_BYTES_MAX);
	connection->deadline_ms = clock_now_ms() + CONTROL_STEP_MS;
	return length == 0 ? terminate(connection) : 0;
}

static int answer_get(struct control_connection *connection, bool is_metrics)
{
	struct control *control = connection->listener->control;
	int r = is_metrics ? control_write_metrics(&connection->answer, &control->model,
						   &control->statistics) :
			     control_write_status(&connection->answer, &control->model,
						  &control->statistics);

	if (r < 0)
		return refuse_and_close(connection, 503, "out of memory");
	return send_later(connection, 200, is_metrics ? METRICS_TYPE : JSON_TYPE);
}

/* Content-Length: false if there is none; -1 is one that is no number. */
static bool read_length(struct lws *wsi, int64_t *ret)
{
	char text[24];

	*ret = 0;
	if (lws_hdr_total_length(wsi, WSI_TOKEN_HTTP_CONTENT_LENGTH) <= 0)
		return false;
	if (lws_hdr_copy(wsi, text, sizeof(text), WSI_TOKEN_HTTP_CONTENT_LENGTH) <= 0 ||
	    strspn(text, "0123456789") != strlen(text) || text_parse_int64(text, ret) < 0)
		*ret = -1;
	return true;
}

/* Forgets the request before. */
static int renew(struct control_connection *connection)
{
	char *uri;
	int uri_size, method = lws_http_get_uri_and_method(connection->wsi, &uri, &uri_size);

	connection->started_us = now_us();
	connection->status = 0;
	connection->allow = connection->challenge = NULL;
	connection->is_head = method == METHOD_HEAD;
	connection->answer = BUFFER_INIT(ANSWER_BYTES_MAX);
	return method;
}

static int begin(struct control_connection *connection, const char *path)
{
	bool is_terminate = strcmp(path, "/v1/terminate") == 0;
	bool is_metrics = strcmp(path, "/metrics") == 0;
	bool is_events = strcmp(path, "/v1/events") == 0;
	int r, method = renew(connection);
	int64_t length;
	bool has_length = read_length(connection->wsi, &length);

	/* A body where none belongs is not read; the connection cannot go on behind it. */
	if (method != METHOD_POST && has_length && length != 0)
		connection->is_closing = true;
	r = check_peer(connection);
	if (r != 0)
		return r < 0 ? -1 : 0;
	if (!is_terminate && !is_metrics && !is_events && strcmp(path, "/v1/status") != 0)
		return refuse_and_close(connection, 404, "no such resource");
	if (method != (is_terminate ? METHOD_POST : METHOD_GET)) {
		connection->allow = is_terminate ? "POST" : "GET";
		return refuse_and_close(connection, 405, "method not allowed");
	}
	if (is_terminate)
		return begin_post(connection, has_length, length);
	if (is_events)
		return refuse(connection, 426, "this is a WebSocket: upgrade");
	return answer_get(connection, is_metrics);
}

/* --- the answer ------------------------------------------------------------------------- */

static int add_header(struct lws *wsi, const char *name, const char *value, unsigned char **at,
		      unsigned char *end)
{
	return lws_add_http_header_by_name(wsi, (const unsigned char *)name,
					   (const unsigned char *)value, (int)strlen(value), at,
					   end);
}

static int write_headers(struct control_connection *connection)
{
	unsigned char buffer[LWS_PRE + HEADERS_BYTES_MAX];
	unsigned char *start = buffer + LWS_PRE, *at = start, *end = buffer + sizeof(buffer) - 1;
	struct lws *wsi = connection->wsi;

	if (lws_add_http_common_headers(wsi, (unsigned)connection->status, connection->content_type,
					connection->answer.size, &at, end) ||
	    (connection->allow && add_header(wsi, "allow:", connection->allow, &at, end)) ||
	    (connection->challenge &&
	     add_header(wsi, "www-authenticate:", connection->challenge, &at, end)) ||
	    (connection->is_closing &&
	     lws_add_http_header_by_token(wsi, WSI_TOKEN_CONNECTION, (const unsigned char *)"close",
					  5, &at, end)) ||
	    lws_finalize_write_http_header(wsi, start, &at, end))
		return -1;
	return 0;
}

static int write_body(struct control_connection *connection)
{
	size_t size = connection->is_head ? 0 : connection->answer.size;
	_cleanup_free_ unsigned char *buffer = malloc(LWS_PRE + size + 1);

	if (!buffer)
		return -1;
	memcpy(buffer + LWS_PRE, buffer_string(&connection->answer), size);
	return lws_write(connection->wsi, buffer + LWS_PRE, size, LWS_WRITE_HTTP_FINAL) < 0 ? -1 :
											      0;
}

/* Somebody else's 202 is not out yet: signals wait for it, TERMINATOR_DELAY_MS at most. */
static bool owes_acknowledgement(const struct control_listener *listener)
{
	for (const struct control_connection *c = listener ? listener->connections : NULL; c;
	     c = c->next)
		if (c->has_terminated)
			return true;
	return false;
}

static int send_answer(struct control_connection *connection)
{
	struct control *control = connection->listener->control;
	int r;

	if (!connection->status)
		return 0;
	r = write_headers(connection);
	if (r == 0)
		r = write_body(connection);
	buffer_done(&connection->answer);
	buffer_done(&connection->body);
	connection->status = 0;
	connection->deadline_ms = clock_now_ms() + CONTROL_KEEP_ALIVE_MS;
	if (connection->has_terminated) {
		connection->has_terminated = false;
		control_count_acknowledgement(&control->statistics,
					      now_us() - connection->started_us);
		if (!owes_acknowledgement(&control->local) &&
		    !owes_acknowledgement(control->remote))
			terminator_flush(control->model.terminator);
	}
	if (r < 0 || connection->is_closing)
		return -1;
	return lws_http_transaction_completed(connection->wsi) ? -1 : 0;
}

static int take_body(struct control_connection *connection, const void *data, size_t size)
{
	/* Answered already: the rest is of no interest. */
	if (connection->status || connection->is_closing)
		return 0;
	return buffer_append(&connection->body, data, size) < 0 ? -1 : 0;
}

/* --- watchers --------------------------------------------------------------------------- */

/* What is there is shown item by item, as fast as it is read. */
static int begin_watching(struct control_connection *connection)
{
	connection->is_watching = true;
	connection->deadline_ms = 0;
	connection->events = BUFFER_INIT(CONTROL_EVENTS_BYTES_MAX);
	lws_callback_on_writable(connection->wsi);
	return 0;
}

static int send_message(struct control_connection *connection, const char *text, size_t size)
{
	_cleanup_free_ unsigned char *buffer = malloc(LWS_PRE + size);

	if (!buffer)
		return -1;
	memcpy(buffer + LWS_PRE, text, size);
	return lws_write(connection->wsi, buffer + LWS_PRE, size, LWS_WRITE_TEXT) < 0 ? -1 : 0;
}

static int show_item(struct control_connection *connection, size_t item)
{
	_cleanup_buffer_ struct buffer line = BUFFER_INIT(CONTROL_EVENTS_BYTES_MAX);

	if (control_write_event(&line, &connection->listener->control->model, item) < 0)
		return -1;
	return send_message(connection, line.data, line.size);
}

/* One object, one message. Changes come first: they are of items that were shown before. */
static int send_event(struct control_connection *connection)
{
	size_t count = control_item_count(&connection->listener->control->model);
	const char *line = buffer_string(&connection->events);
	size_t size = strcspn(line, "\n");
	int r;

	if (connection->events.size > 0) {
		r = send_message(connection, line, size);
		buffer_consume(&connection->events, size + 1);
	} else if (connection->shown < count) {
		r = show_item(connection, connection->shown++);
	} else {
		return 0;
	}
	if (connection->events.size > 0 || connection->shown < count)
		lws_callback_on_writable(connection->wsi);
	return r;
}

/*
 * May this become a WebSocket? A refusal is written here and now, and ends the connection.
 * libwebsockets also asks after it has answered an unknown kind of upgrade; the headers are gone
 * then, and there is nothing to decide.
 */
static int confirm_upgrade(struct control_connection *connection)
{
	int method, r;
	char path[16];

	if (lws_hdr_total_length(connection->wsi, WSI_TOKEN_UPGRADE) <= 0)
		return -1;
	method = renew(connection);
	r = check_peer(connection);
	if (r == 0 && (method != METHOD_GET ||
		       lws_hdr_copy(connection->wsi, path, sizeof(path), WSI_TOKEN_GET_URI) <= 0 ||
		       strcmp(path, "/v1/events") != 0))
		r = refuse_and_close(connection, 404, "no such WebSocket") < 0 ? -1 : 1;
	if (r == 0) {
		buffer_done(&connection->answer);
		return 0;
	}
	if (r > 0 && write_headers(connection) == 0)
		write_body(connection);
	return -1;
}

int control_http(struct control_connection *connection, enum lws_callback_reasons reason, void *in,
		 size_t size)
{
	switch (reason) {
	case LWS_CALLBACK_HTTP:
		return begin(connection, in);
	case LWS_CALLBACK_HTTP_BODY:
		return take_body(connection, in, size);
	case LWS_CALLBACK_HTTP_BODY_COMPLETION:
		return connection->status || connection->is_closing ? 0 : terminate(connection);
	case LWS_CALLBACK_HTTP_WRITEABLE:
		return send_answer(connection);
	case LWS_CALLBACK_HTTP_CONFIRM_UPGRADE:
		return confirm_upgrade(connection);
	case LWS_CALLBACK_ESTABLISHED:
		return begin_watching(connection);
	case LWS_CALLBACK_SERVER_WRITEABLE:
		return send_event(connection);
	default:
		return 0;
	}
}
