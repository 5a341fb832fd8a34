#include "tests/unit/http_fixture.h"

#include <string.h>

int http_fixture_set_up(void **state, const struct http_client_options *options)
{
	static struct http_fixture f;

	memset(&f, 0, sizeof(f));
	f.loop = event_loop_new();
	f.client = f.loop ? http_client_new(f.loop, options, &f.err) : NULL;
	*state = &f;
	return f.client ? 0 : -1;
}

int http_fixture_tear_down(void **state)
{
	struct http_fixture *f = *state;

	http_response_done(&f->response);
	http_client_free(f->client);
	event_loop_free(f->loop);
	return 0;
}

int http_fixture_perform(struct http_fixture *f, const struct http_request *request)
{
	http_response_done(&f->response);
	f->err = ERROR_NONE;
	return http_perform(f->client, request, &f->response, &f->err);
}
