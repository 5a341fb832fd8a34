/* What every test of the HTTP client has: a loop, a client, a server thread, the last answer. */
#pragma once

#include "executor/http/http.h"
#include "tests/unit/http_server.h"

struct http_fixture {
	struct event_loop *loop;
	struct http_client *client;
	struct http_server server;
	struct http_response response;
	struct error err;
	char url[256];
};

/* Test set-up with these options; *state is the fixture, of which there is one per process. */
int http_fixture_set_up(void **state, const struct http_client_options *options);
int http_fixture_tear_down(void **state);

/* One request; response and err are those of the last one. */
int http_fixture_perform(struct http_fixture *f, const struct http_request *request);
