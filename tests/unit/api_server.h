/*
 * A Kubernetes API for unit tests: plain HTTP/1.1 on loopback in a thread of the test, one object,
 * resourceVersions, merge patches (RFC 7386), and a fault per request. Every request is recorded as
 * "METHOD path body".
 */
#pragma once

#include "executor/base/buffer.h"
#include "executor/json/json.h"

#include <stdbool.h>
#include <stddef.h>

#define API_REQUESTS_MAX 64

enum api_fault_kind {
	API_WORKS,
	API_ANSWERS, /* `status` and `body` instead of doing it */
	API_RESETS, /* the connection ends, nothing is done */
	API_LOSES_ANSWER, /* it is done, the connection ends */
	API_LOSES_REQUEST_FOR_LATER, /* the connection ends; it is done before the next but one */
	API_CUTS_ANSWER, /* it is done, half of the answer comes */
	API_OTHER_WRITER, /* somebody applies the patch `body` first */
	API_DELETES, /* somebody deletes the object first */
	API_HANGS, /* never answers */
};

struct api_fault {
	enum api_fault_kind kind;
	int status;
	const char *body;
	const char *headers; /* "Name: value\r\n…", in place of the JSON content type */
};

/* What it keeps, without a server around it. */
struct api_object {
	struct json_object *object; /* NULL = there is none */
	int version;
};

/* Carries a request out as an API server would. Returns the HTTP status; appends the body. */
int api_object_process(struct api_object *stored, const char *method, const char *text, size_t size,
		       struct buffer *answer);

struct api_server;

/* `faults` (borrowed) are used up one per request, `count` of them; later requests work. */
struct api_server *api_server_start(const struct api_fault *faults, size_t count);
/* Ends the thread; what was recorded stays readable until api_server_free. */
void api_server_stop(struct api_server *server);
void api_server_free(struct api_server *server);

/* "http://127.0.0.1:PORT" */
const char *api_server_url(const struct api_server *server);

/* Recorded requests; to be looked at after api_server_stop. */
size_t api_server_count(const struct api_server *server);
const char *api_server_request(const struct api_server *server, size_t index);
/* The whole header block of a request. */
const char *api_server_headers(const struct api_server *server, size_t index);
/* The object as it is in the end, NULL if there is none. */
struct json_object *api_server_object(const struct api_server *server);
