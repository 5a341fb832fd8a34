/*
 * The upsert machine against the tests' Kubernetes API (TLS, tokens, the real CRD's schema), which
 * loses, cuts, delays and refuses requests at random and lets others write in between. Whatever
 * happens, nothing older may ever follow something newer, and the end must be what was wanted.
 */
#include "executor/base/fd.h"
#include "executor/base/path.h"
#include "executor/base/text.h"
#include "executor/report/task_result.h"

#include <errno.h>
#include <fcntl.h>
#include <setjmp.h>
#include <signal.h>
#include <spawn.h>
#include <stdarg.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/wait.h>

#include <cmocka.h>

#define RUNS 40
#define STATES 12
#define LABEL_FINAL "workflows.argoproj.io/report-outputs-completed"

struct fixture {
	char directory[64];
	pid_t pid;
	char admin[64];
	struct event_loop *loop;
	struct http_client *http;
	struct kube_config config;
	struct kube_client *client;
};

static int64_t read_number(const char *directory, const char *name)
{
	_cleanup_buffer_ struct buffer text = BUFFER_INIT(64);
	char path[128];
	int64_t value = -1;

	snprintf(path, sizeof(path), "%s/%s", directory, name);
	if (file_read(path, &text, NULL) == 0 && text.size > 1) {
		text.data[text.size - 1] = '\0';
		if (text_parse_int64(text.data, &value) < 0)
			value = -1;
	}
	return value;
}

/* The server writes "port" when everything else is ready. */
static void start_server(struct fixture *f)
{
	char program[] = "/usr/bin/python3", script[] = "tests/servers/kube_api.py";
	char option[] = "--dir";
	char *const argv[] = { program, script, option, f->directory, NULL };
	posix_spawn_file_actions_t quiet;
	int64_t port = -1;
	char text[32];

	assert_int_equal(posix_spawn_file_actions_init(&quiet), 0);
	assert_int_equal(posix_spawn_file_actions_addopen(&quiet, STDOUT_FILENO, "/dev/null",
							  O_WRONLY, 0),
			 0);
	assert_int_equal(posix_spawn(&f->pid, argv[0], &quiet, NULL, argv, environ), 0);
	posix_spawn_file_actions_destroy(&quiet);
	for (int i = 0; port < 0 && i < 1500; i++) {
		assert_int_equal(waitpid(f->pid, NULL, WNOHANG), 0);
		event_loop_pause(f->loop, 20);
		port = read_number(f->directory, "port");
	}
	assert_true(port > 0);
	snprintf(text, sizeof(text), "%lld", (long long)port);
	setenv("KUBERNETES_SERVICE_HOST", "127.0.0.1", 1);
	setenv("KUBERNETES_SERVICE_PORT", text, 1);
	snprintf(f->admin, sizeof(f->admin), "http://127.0.0.1:%lld",
		 (long long)read_number(f->directory, "admin/port"));
}

static int set_up(void **state)
{
	struct fixture *f = calloc(1, sizeof(*f));
	struct kube_options options = { .service_account_directory = f->directory };
	struct error err = ERROR_NONE;

	snprintf(f->directory, sizeof(f->directory), "/tmp/test_report_api.XXXXXX");
	assert_non_null(mkdtemp(f->directory));
	setenv("HOME", f->directory, 1);
	unsetenv("KUBECONFIG");
	f->loop = event_loop_new();
	start_server(f);
	f->http = http_client_new(f->loop, &(struct http_client_options){ .user_agent = "test" },
				  &err);
	assert_non_null(f->http);
	if (kube_config_load(&options, &f->config, &err) < 0)
		fail_msg("%s", err.message);
	f->client = kube_client_new(f->http, &f->config, NULL);
	*state = f;
	return 0;
}

static int tear_down(void **state)
{
	struct fixture *f = *state;

	kube_client_free(f->client);
	kube_config_done(&f->config);
	http_client_free(f->http);
	event_loop_free(f->loop);
	kill(f->pid, SIGTERM);
	waitpid(f->pid, NULL, 0);
	path_remove_tree(f->directory, NULL);
	free(f);
	return 0;
}

static struct json_object *admin(struct fixture *f, const char *method, const char *path,
				 const char *body)
{
	char url[128];
	struct http_request request = { .method = method, .url = url, .body_max = 1 << 24 };
	struct http_response response = { .status = 0 };
	struct json_object *value = NULL;
	struct error err = ERROR_NONE;

	snprintf(url, sizeof(url), "%s%s", f->admin, path);
	request.body.data = body;
	request.body.size = strlen(body);
	if (http_perform(f->http, &request, &response, &err) < 0)
		fail_msg("%s", err.message);
	if (response.status != 200)
		fail_msg("%s", buffer_string(&response.body));
	assert_int_equal(json_parse(response.body.data, response.body.size, url, &value, &err), 0);
	http_response_done(&response);
	return value;
}

static void add_faults(struct fixture *f, int run)
{
	static const char *const actions[] = {
		"{\"kind\":\"lost\"}",
		"{\"kind\":\"reset\"}",
		"{\"kind\":\"truncate\"}",
		"{\"kind\":\"status\",\"status\":503}",
		"{\"kind\":\"status\",\"status\":500,\"message\":\"etcdserver: request timed out\"}",
		"{\"kind\":\"delay\",\"seconds\":0.01}",
		"{\"kind\":\"concurrent_write\",\"patch\":{\"outputs\":{\"parameters\":"
		"[{\"name\":\"other\",\"value\":\"1\"}]}}}",
		"{\"kind\":\"concurrent_write\",\"patch\":{\"metadata\":{\"annotations\":"
		"{\"other\":\"1\"}}}}",
	};

	_cleanup_buffer_ struct buffer rules = BUFFER_INIT(8192);

	for (size_t i = 0; i < sizeof(actions) / sizeof(*actions); i++)
		assert_int_equal(buffer_append_format(&rules,
						      "%c{\"probability\":0.08,\"seed\":%d,"
						      "\"action\":%s}",
						      i ? ',' : '[', run * 100 + (int)i,
						      actions[i]),
				 0);
	assert_int_equal(buffer_append_string(&rules, "]"), 0);
	json_free(admin(f, "POST", "/faults", buffer_string(&rules)));
}

static void report(struct fixture *f)
{
	struct task_result_identity identity = {
		.namespace = kube_client_namespace(f->client),
		.node_id = "node-1",
		.workflow_name = "wf",
		.workflow_uid = "uid-1",
		.instance_id = "i",
		.first_pause_ms = 1,
	};
	struct error err = ERROR_NONE;
	_cleanup_(task_result_freep) struct task_result *result =
		task_result_new(f->client, &identity, NULL, &err);

	assert_non_null(result);
	task_result_want_placeholder(result);
	for (int i = 1; i <= STATES; i++) {
		_cleanup_json_ struct json_object *outputs = json_new_object();
		char text[16];

		snprintf(text, sizeof(text), "%d", i);
		assert_int_equal(json_set_string(outputs, "result", text), 0);
		assert_int_equal(task_result_set_outputs(result, outputs, &err), 0);
		snprintf(text, sizeof(text), "%d/%d", i, STATES);
		assert_int_equal(task_result_set_progress(result, text), 0);
		/* Sometimes several states lie in one request, sometimes several requests in one. */
		event_loop_pause(f->loop, i % 4);
	}
	task_result_finalize(result);
	if (task_result_wait_settled(result, &err) < 0)
		fail_msg("%s", err.message);
}

static int leading_number(struct json_object *object, const char *key)
{
	return (int)strtol(json_get_string(object, key, "0"), NULL, 10);
}

static void check_history(struct fixture *f)
{
	_cleanup_json_ struct json_object *history = admin(f, "GET", "/history?name=node-1", "");
	int result = 0, progress = 0;
	bool is_final = false;

	assert_true(json_length(history) > 0);
	for (size_t i = 0; i < json_length(history); i++) {
		struct json_object *object = json_get(json_at(history, i), "object");
		int new_result = leading_number(json_get(object, "outputs"), "result");
		int new_progress = leading_number(object, "progress");

		assert_true(new_result >= result);
		assert_true(new_progress >= progress);
		result = new_result;
		progress = new_progress;
		is_final = !strcmp(json_get_string(json_find(object, "metadata", "labels", NULL),
						   LABEL_FINAL, ""),
				   "true");
		assert_true(!is_final || result == STATES);
	}
	assert_int_equal(result, STATES);
	assert_int_equal(progress, STATES);
	assert_true(is_final);
}

static void test_random_faults(void **state)
{
	for (int run = 0; run < RUNS; run++) {
		json_free(admin(*state, "POST", "/clear", ""));
		add_faults(*state, run);
		report(*state);
		check_history(*state);
	}
}

/* The old token has ended: it is not even tried. */
static void test_rotated_token(void **state)
{
	struct fixture *f = *state;
	_cleanup_json_ struct json_object *requests = NULL;

	json_free(admin(f, "POST", "/clear", ""));
	json_free(admin(f, "POST", "/rotate-token", ""));
	report(f);
	check_history(f);
	requests = admin(f, "GET", "/requests", "");
	assert_int_equal(json_get_int(json_at(requests, 0), "status", 0), 201);
	for (size_t i = 0; i < json_length(requests); i++)
		assert_int_not_equal(json_get_int(json_at(requests, i), "status", 0), 401);
}

static void test_wrong_authority(void **state)
{
	struct fixture *f = *state;
	struct kube_request request = { .method = "GET", .path = "/" };
	struct error err = ERROR_NONE;
	char *pem = f->config.ca_pem, *path = f->config.ca_path;

	/* The system's roots have not signed the tests' certificate. */
	f->config.ca_pem = f->config.ca_path = NULL;
	assert_true(kube_perform(f->client, &request, NULL, NULL, &err) < 0);
	assert_int_equal(err.class, ERROR_PERMANENT);
	assert_non_null(strstr(err.message, "certificate"));
	f->config.is_insecure = true;
	assert_int_equal(kube_perform(f->client, &request, NULL, NULL, &err), -EACCES);
	f->config.is_insecure = false;
	/* Nor has whoever it was before the authority changed; the file names the new one. */
	f->config.ca_path = path;
	assert_int_equal(kube_perform(f->client, &request, NULL, NULL, &err), -EACCES);
	assert_string_equal(f->config.ca_pem, pem);
	free(pem);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_random_faults),
		cmocka_unit_test(test_rotated_token),
		cmocka_unit_test(test_wrong_authority),
	};

	return cmocka_run_group_tests(tests, set_up, tear_down);
}
