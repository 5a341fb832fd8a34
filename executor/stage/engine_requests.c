#include "executor/stage/engine_requests.h"

void engine_requests_add(struct engine *engine, struct engine_request *request)
{
	struct engine_request **link = &engine->requests;

	request->is_done = request->is_sent = request->is_sweeping = false;
	request->stored = NULL;
	request->object = (struct store_stored){ 0 };
	request->error = ERROR_NONE;
	request->deaths = 0;
	request->begun_s = 0;
	request->next = NULL;
	while (*link)
		link = &(*link)->next;
	*link = request;
}

void engine_requests_remove(struct engine *engine, const struct engine_request *request)
{
	struct engine_request **link = &engine->requests;

	while (*link && *link != request)
		link = &(*link)->next;
	if (*link)
		*link = request->next;
}

struct engine_request *engine_requests_next(const struct engine *engine, size_t *ret_sent)
{
	struct engine_request *next = NULL;

	*ret_sent = 0;
	for (struct engine_request *request = engine->requests; request; request = request->next) {
		if (request->is_sent)
			(*ret_sent)++;
		else if (!next)
			next = request;
	}
	return next;
}

struct engine_request *engine_requests_load(const struct engine *engine, bool want_sent)
{
	struct engine_request *request = engine->requests;

	while (request && (request->order.kind != ENGINE_LOAD || (request->is_sent && !want_sent)))
		request = request->next;
	return request;
}

struct engine_request *engine_requests_doomed(const struct engine *engine)
{
	struct engine_request *request = engine->requests;

	while (request && request->deaths < (request->is_sweeping ? 1 : ENGINE_DEATHS_MAX))
		request = request->next;
	return request;
}

bool engine_requests_may_have_left(const struct engine_request *request)
{
	return request->order.kind == ENGINE_SAVE && request->error.code < 0 &&
	       request->order.lost_from_s > 0 && !error_is_retryable(&request->error);
}
