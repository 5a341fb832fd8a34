#include "tests/unit/api_server.h"

#include "executor/base/buffer.h"
#include "executor/base/cleanup.h"
#include "executor/base/fd.h"

#include <arpa/inet.h>
#include <errno.h>
#include <poll.h>
#include <pthread.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>
#include <strings.h>
#include <sys/eventfd.h>
#include <sys/socket.h>

#include <cmocka.h>

#define REQUEST_BYTES_MAX (4 * 1024 * 1024)

struct api_server {
	pthread_t thread;
	bool is_running;
	int listener, stop_fd;
	char url[64];
	const struct api_fault *faults;
	size_t fault_count;

	size_t count;
	char *requests[API_REQUESTS_MAX];
	char *headers[API_REQUESTS_MAX];
	struct api_object stored;
	/* A request that was lost on the way and arrives after others. */
	char *late_method, *late_body;
	size_t late_at;
};

struct message {
	char method[16], path[512];
	struct buffer text; /* head and body */
	size_t head_size, body_size;
};

static int apply_member(const char *key, struct json_object *value, void *context);

static void merge(struct json_object *target, struct json_object *patch)
{
	json_each(patch, apply_member, target);
}

static int apply_member(const char *key, struct json_object *value, void *context)
{
	if (!value) {
		json_remove(context, key);
	} else if (json_is_object(value)) {
		if (!json_is_object(json_get(context, key)))
			json_set(context, key, json_new_object());
		merge(json_get(context, key), value);
	} else {
		json_set(context, key, json_copy(value));
	}
	return 0;
}

static void set_version(struct api_object *stored)
{
	char text[16];

	snprintf(text, sizeof(text), "%d", ++stored->version);
	json_set_string(json_get(stored->object, "metadata"), "resourceVersion", text);
}

static int refuse(int status, const char *reason, const char *message, struct buffer *answer)
{
	buffer_append_format(answer,
			     "{\"kind\":\"Status\",\"apiVersion\":\"v1\",\"status\":\"Failure\","
			     "\"message\":\"%s\",\"reason\":\"%s\",\"code\":%d}",
			     message, reason, status);
	return status;
}

static int patch_object(struct api_object *stored, struct json_object *patch, struct buffer *answer)
{
	const char *version = json_get_string(json_get(patch, "metadata"), "resourceVersion", NULL);
	struct json_object *before;

	if (!stored->object)
		return refuse(404, "NotFound", "workflowtaskresults \\\"n\\\" not found", answer);
	if (version && strtol(version, NULL, 10) != stored->version)
		return refuse(409, "Conflict", "the object has been modified", answer);
	before = json_copy(stored->object);
	merge(stored->object, patch);
	if (!json_equal(before, stored->object))
		set_version(stored);
	json_free(before);
	json_print(stored->object, answer, NULL);
	return 200;
}

int api_object_process(struct api_object *stored, const char *method, const char *text, size_t size,
		       struct buffer *answer)
{
	_cleanup_json_ struct json_object *body = NULL;

	if (json_parse(text, size, "request", &body, NULL) < 0)
		return refuse(400, "BadRequest", "not JSON", answer);
	if (!strcmp(method, "PATCH"))
		return patch_object(stored, body, answer);
	if (stored->object)
		return refuse(409, "AlreadyExists", "workflowtaskresults \\\"n\\\" already exists",
			      answer);
	stored->object = TAKE_PTR(body);
	set_version(stored);
	json_print(stored->object, answer, NULL);
	return 201;
}

static void other_writer(struct api_server *server, const char *text)
{
	_cleanup_json_ struct json_object *patch = NULL;

	if (json_parse(text, strlen(text), "patch", &patch, NULL) < 0 || !server->stored.object)
		return;
	merge(server->stored.object, patch);
	set_version(&server->stored);
}

static void record(struct api_server *server, const struct message *message)
{
	if (asprintf(&server->requests[server->count], "%s %s %.*s", message->method, message->path,
		     (int)message->body_size, message->text.data + message->head_size) < 0)
		abort();
	server->headers[server->count] = strndup(message->text.data, message->head_size);
	server->count++;
}

static void answer_request(struct api_server *server, const struct message *message, int fd)
{
	static const struct api_fault works = { .kind = API_WORKS };
	size_t index = server->count;
	const struct api_fault *fault = index < server->fault_count ? &server->faults[index] :
								      &works;
	_cleanup_buffer_ struct buffer body = BUFFER_INIT(REQUEST_BYTES_MAX);
	_cleanup_buffer_ struct buffer answer = BUFFER_INIT(REQUEST_BYTES_MAX);
	const char *text = message->text.data + message->head_size;
	int status;

	if (index == API_REQUESTS_MAX)
		return;
	record(server, message);
	if (server->late_method && server->count > server->late_at) {
		_cleanup_buffer_ struct buffer unseen = BUFFER_INIT(REQUEST_BYTES_MAX);

		api_object_process(&server->stored, server->late_method, server->late_body,
				   strlen(server->late_body), &unseen);
		free(TAKE_PTR(server->late_method));
	}
	switch (fault->kind) {
	case API_RESETS:
		return;
	case API_HANGS:
		poll(&(struct pollfd){ .fd = server->stop_fd, .events = POLLIN }, 1, -1);
		return;
	case API_LOSES_REQUEST_FOR_LATER:
		server->late_method = strdup(message->method);
		server->late_body = strndup(text, message->body_size);
		server->late_at = server->count + 1;
		return;
	case API_OTHER_WRITER:
		other_writer(server, fault->body);
		break;
	case API_DELETES:
		json_free(TAKE_PTR(server->stored.object));
		break;
	default:
		break;
	}
	if (fault->kind == API_ANSWERS) {
		status = fault->status;
		buffer_append_string(&body, fault->body);
	} else {
		status = api_object_process(&server->stored, message->method, text,
					    message->body_size, &body);
	}
	if (fault->kind == API_LOSES_ANSWER)
		return;
	buffer_append_format(
		&answer, "HTTP/1.1 %d Status\r\nConnection: close\r\nContent-Length: %zu\r\n%s\r\n",
		status, body.size,
		fault->headers ? fault->headers : "Content-Type: application/json\r\n");
	buffer_append(&answer, buffer_string(&body),
		      fault->kind == API_CUTS_ANSWER ? body.size / 2 : body.size);
	fd_write_all(fd, answer.data, answer.size);
}

/* False when the peer has gone. */
static bool read_request(int fd, struct message *message)
{
	const char *end = NULL, *length;

	buffer_reset(&message->text);
	for (;;) {
		char *room = buffer_reserve(&message->text, 65536);
		ssize_t n = room ? recv(fd, room, 65535, 0) : -1;

		if (n <= 0)
			return false;
		message->text.size += (size_t)n;
		message->text.data[message->text.size] = '\0';
		end = strstr(message->text.data, "\r\n\r\n");
		if (!end)
			continue;
		message->head_size = (size_t)(end - message->text.data) + 4;
		length = strcasestr(message->text.data, "\r\ncontent-length:");
		message->body_size = length ? strtoul(length + 17, NULL, 10) : 0;
		if (message->text.size >= message->head_size + message->body_size)
			break;
	}
	return sscanf(message->text.data, "%15s %511s", message->method, message->path) == 2;
}

/* One request per connection keeps the order of things visible. */
static void *serve(void *context)
{
	struct api_server *server = context;

	for (;;) {
		struct pollfd fds[] = { { .fd = server->listener, .events = POLLIN },
					{ .fd = server->stop_fd, .events = POLLIN } };
		struct message message = { .text = BUFFER_INIT(REQUEST_BYTES_MAX) };

		if (poll(fds, 2, -1) < 0 || fds[1].revents)
			return NULL;
		_cleanup_close_ int fd = accept4(server->listener, NULL, NULL, SOCK_CLOEXEC);

		if (fd >= 0 && read_request(fd, &message))
			answer_request(server, &message, fd);
		buffer_done(&message.text);
		if (fd >= 0)
			shutdown(fd, SHUT_RDWR);
	}
}

struct api_server *api_server_start(const struct api_fault *faults, size_t count)
{
	struct api_server *server = calloc(1, sizeof(*server));
	struct sockaddr_in address = { .sin_family = AF_INET,
				       .sin_addr.s_addr = htonl(INADDR_LOOPBACK) };
	socklen_t size = sizeof(address);

	assert_non_null(server);
	server->faults = faults;
	server->fault_count = count;
	server->stop_fd = eventfd(0, EFD_CLOEXEC);
	server->listener = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
	assert_return_code(bind(server->listener, (struct sockaddr *)&address, size), errno);
	assert_return_code(listen(server->listener, 16), errno);
	getsockname(server->listener, (struct sockaddr *)&address, &size);
	snprintf(server->url, sizeof(server->url), "http://127.0.0.1:%d", ntohs(address.sin_port));
	assert_int_equal(pthread_create(&server->thread, NULL, serve, server), 0);
	server->is_running = true;
	return server;
}

void api_server_stop(struct api_server *server)
{
	if (!server->is_running)
		return;
	eventfd_write(server->stop_fd, 1);
	pthread_join(server->thread, NULL);
	server->is_running = false;
}

void api_server_free(struct api_server *server)
{
	api_server_stop(server);
	close(server->listener);
	close(server->stop_fd);
	for (size_t i = 0; i < server->count; i++) {
		free(server->requests[i]);
		free(server->headers[i]);
	}
	free(server->late_method);
	free(server->late_body);
	json_free(server->stored.object);
	free(server);
}

const char *api_server_url(const struct api_server *server)
{
	return server->url;
}

size_t api_server_count(const struct api_server *server)
{
	return server->count;
}

const char *api_server_request(const struct api_server *server, size_t index)
{
	return index < server->count ? server->requests[index] : "(none)";
}

const char *api_server_headers(const struct api_server *server, size_t index)
{
	return index < server->count ? server->headers[index] : "(none)";
}

struct json_object *api_server_object(const struct api_server *server)
{
	return server->stored.object;
}
