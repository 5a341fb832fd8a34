#include "executor/artifact/object/leftover.h"

#include "executor/base/cleanup.h"

#include <time.h>

/* A page of a thousand uploads. */
#define LIST_BYTES_MAX (4 * 1024 * 1024)
/* So many answers to one question do not get lost. */
#define ABORTS_MAX 8
/* Nor were so many files of a directory under way at once, in all the processes that died. */
#define SWEEPS_MAX 256

struct search {
	struct object_xml_wanted wanted;
	struct object_xml_upload found;
};

static int judge_list(const struct object_call *call, const struct http_response *response,
		      struct object_failure *failure, struct error *err)
{
	struct search *search = call->context;

	(void)failure;
	return object_xml_find_upload(buffer_string(&response->body), response->body.size,
				      &search->wanted, &search->found, err);
}

static int send_it(struct object_client *client, const struct object_call *call, struct error *err)
{
	struct http_response response;
	int r = object_perform(client, call, &response, NULL, err);

	http_response_done(&response);
	return r;
}

/* 1, or 0 if there is none. */
static int abort_one(struct object_client *client, struct search *search, struct error *err)
{
	const struct object_query list[] = { { "uploads", "" },
					     { "prefix", search->wanted.key },
					     { NULL, NULL } };
	const struct object_call question = {
		.operation = "look for uploads of",
		.method = "GET",
		.query = list,
		.body_max = LIST_BYTES_MAX,
		.is_best_effort = true,
		.judge = judge_list,
		.context = search,
	};
	int r = send_it(client, &question, err);
	_cleanup_upload_ struct object_xml_upload found = search->found;
	const struct object_query query[] = { { "uploadId", found.id }, { NULL, NULL } };
	const struct object_call call = {
		.operation = "abort upload of",
		.method = "DELETE",
		.key = found.key,
		.query = query,
		.is_best_effort = true,
	};

	search->found = (struct object_xml_upload){ 0 };
	if (r < 0 || !found.id)
		return r;
	r = send_it(client, &call, err);
	return r < 0 ? r : 1;
}

void object_leftover_abort(const struct object_upload *upload)
{
	struct search search = { .wanted = { .key = upload->key,
					     .other = upload->id,
					     .from_s = upload->doubtful_from_s,
					     .to_s = upload->doubtful_to_s } };

	if (upload->doubtful_from_s == 0)
		return;
	for (unsigned i = 0; i < ABORTS_MAX && abort_one(upload->client, &search, NULL) > 0; i++)
		;
}

int object_leftover_sweep(struct object_client *client, bool is_below_too, struct error *err)
{
	struct search search = { .wanted = { .key = client->key, .is_below_too = is_below_too } };
	int r = object_client_make_ready(client, false, err);

	search.wanted.from_s =
		client->context.lost_from_s + client->clock_offset_s - OBJECT_CLOCK_DOUBT_S;
	search.wanted.to_s = time(NULL) + client->clock_offset_s + OBJECT_CLOCK_DOUBT_S;
	if (r == 0)
		r = 1;
	for (unsigned i = 0; r > 0 && i < SWEEPS_MAX; i++)
		r = abort_one(client, &search, err);
	return r < 0 ? r : 0;
}
