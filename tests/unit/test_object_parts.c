/* Uploads of more parts than the server takes. The file is as long as it says, but nobody reads it: this
 * is the HTTP client, and the server. */
#include "executor/artifact/budget.h"
#include "executor/artifact/object/put_file.h"
#include "executor/base/cleanup.h"

#include <errno.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#define PART_SIZE "ARTIFACT_S3_UPLOAD_PART_SIZE_MIB"

struct http_transfer {
	struct event_timer timer;
	http_callback callback;
	void *context;
	struct http_response response;
};

static struct {
	const struct object_call *call; /* prepared last */
	const char *refusal; /* the code for what is too many */
	unsigned parts_max;
	bool is_refused_late; /* by the request that completes */
	unsigned begun, aborted, completed, stored, refused;
	uint64_t bytes;
} server;

int __wrap_http_perform(struct http_client *client, const struct http_request *request,
			struct http_response *response, struct error *err);
struct http_transfer *__wrap_http_start(struct http_client *client,
					const struct http_request *request, http_callback callback,
					void *context, struct error *err);
void __wrap_http_transfer_free(struct http_transfer *transfer);
int __wrap_object_sums_of(const struct object_client *client, const struct http_body *body,
			  struct object_sums *ret, struct error *err);

static void answer(struct http_response *response, int status, const char *body)
{
	*response = (struct http_response){ .status = status, .content_length = -1 };
	response->headers = (struct buffer)BUFFER_INIT(1024);
	response->body = (struct buffer)BUFFER_INIT(1024);
	assert_int_equal(buffer_append_string(&response->headers, "etag: \"e\"\n"), 0);
	assert_int_equal(buffer_append_string(&response->body, body), 0);
}

static void refuse(struct http_response *response)
{
	char body[128];

	snprintf(body, sizeof(body), "<Error><Code>%s</Code></Error>", server.refusal);
	answer(response, 400, body);
	server.refused++;
}

/* Beginning and completing. */
int __wrap_http_perform(struct http_client *client, const struct http_request *request,
			struct http_response *response, struct error *err)
{
	(void)client;
	(void)request;
	(void)err;
	if (strcmp(server.call->query[0].name, "uploads") == 0) {
		server.begun++;
		server.stored = 0;
		server.bytes = 0;
		answer(response, 200,
		       "<InitiateMultipartUploadResult><UploadId>u</UploadId>"
		       "</InitiateMultipartUploadResult>");
	} else if (server.stored > server.parts_max) {
		refuse(response);
	} else {
		server.completed++;
		answer(response, 200,
		       "<CompleteMultipartUploadResult><ETag>\"e\"</ETag>"
		       "</CompleteMultipartUploadResult>");
	}
	return 0;
}

static void on_answer(struct event_timer *timer)
{
	struct http_transfer *transfer = (struct http_transfer *)timer;
	struct error none = ERROR_NONE;

	transfer->callback(transfer, &transfer->response, &none, transfer->context);
}

/* Parts and aborting. */
struct http_transfer *__wrap_http_start(struct http_client *client,
					const struct http_request *request, http_callback callback,
					void *context, struct error *err)
{
	struct http_transfer *transfer = calloc(1, sizeof(*transfer));
	const struct object_call *call = server.call;

	(void)request;
	(void)err;
	assert_non_null(transfer);
	transfer->callback = callback;
	transfer->context = context;
	if (strcmp(call->method, "DELETE") == 0) {
		server.aborted++;
		answer(&transfer->response, 204, "");
	} else if (!server.is_refused_late &&
		   strtoul(call->query[0].value, NULL, 10) > server.parts_max) {
		refuse(&transfer->response);
	} else {
		server.stored++;
		server.bytes += call->body.size;
		answer(&transfer->response, 200, "");
	}
	assert_int_equal(event_timer_init(&transfer->timer, (struct event_loop *)client, on_answer),
			 0);
	event_timer_set(&transfer->timer, 0);
	return transfer;
}

void __wrap_http_transfer_free(struct http_transfer *transfer)
{
	if (!transfer)
		return;
	event_timer_done(&transfer->timer);
	http_response_done(&transfer->response);
	free(transfer);
}

int __wrap_object_sums_of(const struct object_client *client, const struct http_body *body,
			  struct object_sums *ret, struct error *err)
{
	(void)client;
	(void)body;
	(void)err;
	*ret = (struct object_sums){ 0 };
	return 0;
}

/* --- The protocol ------------------------------------------------------------------------------ */

static int prepare(struct object_client *client, const struct object_call *call,
		   struct object_request *request, struct error *err)
{
	(void)client;
	(void)err;
	*request = (struct object_request){ 0 };
	object_url_init(&request->url);
	server.call = call;
	return 0;
}

static enum error_class judge(struct object_client *client, const struct object_call *call,
			      const struct http_response *response, const struct retry *retry,
			      const struct object_failure *failure)
{
	(void)client;
	(void)call;
	(void)response;
	(void)retry;
	(void)failure;
	return ERROR_PERMANENT;
}

static void put_as_go(const struct http_response *response, const struct object_failure *failure,
		      struct retry *retry)
{
	(void)response;
	(void)failure;
	(void)retry;
}

static const struct object_protocol protocol = {
	.type = "test",
	.prepare = prepare,
	.judge = judge,
	.put_as_go = put_as_go,
	.part_size_variable = PART_SIZE,
};

struct bench {
	struct event_loop *loop;
	struct object_client client;
	struct log log;
};

static void bench_open(struct bench *bench, const char *refusal, unsigned parts_max)
{
	struct error err = ERROR_NONE;
	struct store_context context = { .loop = event_loop_new() };

	*bench = (struct bench){ .loop = context.loop, .log = { .fd = 2, .level = LOG_ERROR } };
	context.http = (struct http_client *)context.loop; /* see __wrap_http_start() */
	context.log = &bench->log;
	context.pool = pool_new(context.loop);
	context.budget = budget_new(BUDGET_CONNECTIONS, BUDGET_BYTES);
	if (object_client_init(&bench->client, &protocol, &context, &err) < 0)
		fail_msg("%s", err.message);
	bench->client.bucket = "b";
	memset(&server, 0, sizeof(server));
	server.refusal = refusal;
	server.parts_max = parts_max;
	setenv(PART_SIZE, "5", 1);
}

static void bench_close(struct bench *bench)
{
	unsetenv(PART_SIZE);
	pool_free(bench->client.context.pool);
	budget_free(bench->client.context.budget);
	object_client_done(&bench->client);
	event_loop_free(bench->loop);
}

static int put(struct bench *bench, uint64_t size, struct error *err)
{
	*err = ERROR_NONE;
	return object_put_file(&bench->client, "k", "text/plain", 0, size, err);
}

/* --- Tests -------------------------------------------------------------------------------------- */

static void test_begun_again_with_larger_parts(void **state)
{
	static const char *const codes[] = { "InvalidArgument", "InvalidPart" };
	uint64_t size = 5001 * OBJECT_MIB;
	struct error err;
	struct bench bench;

	(void)state;
	for (unsigned i = 0; i < 4; i++) {
		bench_open(&bench, codes[i % 2], OBJECT_PARTS_FEW);
		server.is_refused_late = i >= 2;
		if (put(&bench, size, &err) < 0)
			fail_msg("%s", err.message);
		assert_int_equal(server.refused, 1);
		assert_int_equal(server.begun, 2);
		assert_int_equal(server.aborted, 1);
		assert_int_equal(server.completed, 1);
		assert_int_equal(server.stored, 834); /* of 6 MiB */
		assert_true(server.bytes == size);
		bench_close(&bench);
	}
}

static void test_known_for_the_next_file(void **state)
{
	struct error err;
	struct bench bench;

	(void)state;
	bench_open(&bench, "InvalidArgument", OBJECT_PARTS_FEW);
	for (unsigned i = 0; i < 2; i++)
		assert_int_equal(put(&bench, 5001 * OBJECT_MIB, &err), 0);
	assert_int_equal(server.begun, 3);
	assert_int_equal(server.refused, 1);
	bench_close(&bench);
}

static void test_other_refusals_are_final(void **state)
{
	struct error err;
	struct bench bench;

	(void)state;
	bench_open(&bench, "InvalidArgument", 900);
	assert_int_equal(put(&bench, 5001 * OBJECT_MIB, &err), -EIO);
	assert_int_equal(server.begun, 1);
	assert_null(strstr(err.message, "perhaps"));
	bench_close(&bench);
	bench_open(&bench, "AccessDenied", OBJECT_PARTS_FEW);
	assert_int_equal(put(&bench, 5001 * OBJECT_MIB, &err), -EIO);
	assert_int_equal(server.begun, 1);
	bench_close(&bench);
}

/* More than a thousand of the largest parts hold. */
static void test_too_large_for_few(void **state)
{
	uint64_t size = OBJECT_PARTS_FEW * OBJECT_PART_BYTES_MAX + 1;
	struct error err;
	struct bench bench;

	(void)state;
	bench_open(&bench, "InvalidArgument", OBJECT_PARTS_FEW);
	assert_int_equal(put(&bench, size, &err), -EIO);
	assert_int_equal(server.begun, 1);
	assert_non_null(strstr(err.message, "; perhaps it takes no more than 1000 parts"));
	bench_close(&bench);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_begun_again_with_larger_parts),
		cmocka_unit_test(test_known_for_the_next_file),
		cmocka_unit_test(test_other_refusals_are_final),
		cmocka_unit_test(test_too_large_for_few),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
