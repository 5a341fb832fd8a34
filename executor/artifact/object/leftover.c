#include "executor/artifact/object/leftover.h"

#include "executor/base/cleanup.h"

/* A page of a thousand uploads. */
#define LIST_BYTES_MAX (4 * 1024 * 1024)
/* So many answers to one question do not get lost. */
#define ABORTS_MAX 8

struct search {
	struct object_xml_wanted wanted;
	char *id;
};

static int judge_list(const struct object_call *call, const struct http_response *response,
		      struct object_failure *failure, struct error *err)
{
	struct search *search = call->context;

	(void)failure;
	return object_xml_find_upload(buffer_string(&response->body), response->body.size,
				      &search->wanted, &search->id, err);
}

static void send_it(struct object_client *client, const struct object_call *call, bool *ret_is_good)
{
	struct http_response response;

	*ret_is_good = object_perform(client, call, &response, NULL, NULL) == 0;
	http_response_done(&response);
}

/* False if there is none, or something went wrong. */
static bool abort_one(struct object_client *client, struct search *search)
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
	_cleanup_free_ char *id = NULL;
	bool is_good;

	send_it(client, &question, &is_good);
	id = TAKE_PTR(search->id);
	if (is_good && id) {
		const struct object_query query[] = { { "uploadId", id }, { NULL, NULL } };

		send_it(client,
			&(struct object_call){ .operation = "abort upload of",
					       .method = "DELETE",
					       .key = search->wanted.key,
					       .query = query,
					       .is_best_effort = true },
			&is_good);
	}
	return is_good && id;
}

void object_leftover_abort(const struct object_upload *upload)
{
	struct search search = { .wanted = { .key = upload->key,
					     .other = upload->id,
					     .from_s = upload->doubtful_from_s,
					     .to_s = upload->doubtful_to_s } };

	if (upload->doubtful_from_s == 0)
		return;
	for (unsigned i = 0; i < ABORTS_MAX && abort_one(upload->client, &search); i++)
		;
}
