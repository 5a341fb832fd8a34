#include "tests/unit/task_result_fixture.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

#include <cmocka.h>

void fixture_restart(struct fixture *f)
{
	fixture_restart_in(f, NULL);
}

void fixture_restart_in(struct fixture *f, const char *pod_uid)
{
	struct task_result_identity identity = {
		.namespace = "argo",
		.node_id = "node-1",
		.workflow_name = "wf",
		.workflow_uid = "uid-1",
		.pod_uid = pod_uid,
		.first_pause_ms = 1,
	};
	struct error err = ERROR_NONE;

	task_result_free(f->result);
	f->result = task_result_new(f->client, &identity, &f->log, &err);
	assert_non_null(f->result);
}

void fixture_begin(struct fixture *f, const struct api_fault *faults, size_t count)
{
	struct error err = ERROR_NONE;

	*f = (struct fixture){ .log = { .fd = memfd_create("log", MFD_CLOEXEC),
					.level = LOG_WARN } };
	f->server = api_server_start(faults, count);
	f->loop = event_loop_new();
	f->http = http_client_new(f->loop, &(struct http_client_options){ .user_agent = "test" },
				  &err);
	assert_non_null(f->http);
	f->config = (struct kube_config){ .server = strdup(api_server_url(f->server)),
					  .namespace = strdup("argo"),
					  .token = strdup("secret") };
	f->client = kube_client_new(f->http, &f->config, NULL);
	fixture_restart(f);
}

void fixture_end(struct fixture *f)
{
	task_result_free(f->result);
	kube_client_free(f->client);
	http_client_free(f->http);
	event_loop_free(f->loop);
	kube_config_done(&f->config);
	api_server_free(f->server);
	close(f->log.fd);
}

struct json_object *fixture_parse(const char *text)
{
	struct json_object *value = NULL;

	assert_int_equal(json_parse(text, strlen(text), "test", &value, NULL), 0);
	return value;
}

void fixture_set_outputs(struct fixture *f, const char *text)
{
	_cleanup_json_ struct json_object *outputs = fixture_parse(text);
	struct error err = ERROR_NONE;

	assert_int_equal(task_result_set_outputs(f->result, outputs, &err), 0);
}

void fixture_settle(struct fixture *f)
{
	struct error err = ERROR_NONE;
	int r = task_result_wait_settled(f->result, &err);

	if (r < 0)
		print_error("%s\n", err.message);
	assert_int_equal(r, 0);
}

void fixture_settle_badly(struct fixture *f, const char *part)
{
	struct error err = ERROR_NONE;

	assert_true(task_result_wait_settled(f->result, &err) < 0);
	if (!strstr(err.message, part))
		fail_msg("\"%s\" is not in \"%s\"", part, err.message);
}

void fixture_expect_requests(struct fixture *f, const char *const *expected, size_t count)
{
	api_server_stop(f->server);
	for (size_t i = 0; i < count; i++)
		assert_string_equal(api_server_request(f->server, i), expected[i]);
	assert_int_equal(api_server_count(f->server), count);
}
void fixture_expect_object(struct fixture *f, const char *outputs, const char *label)
{
	_cleanup_json_ struct json_object *wanted = fixture_parse(outputs);
	struct json_object *object = api_server_object(f->server);

	assert_true(json_equal(json_get(object, "outputs"), wanted));
	assert_string_equal(json_get_string(json_find(object, "metadata", "labels", NULL),
					    LABEL_FINAL, ""),
			    label);
}
