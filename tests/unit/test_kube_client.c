/* One request to an API server: headers, tokens, time limit. */
#include "executor/base/clock.h"
#include "executor/base/fd.h"
#include "executor/kube/client.h"
#include "tests/unit/api_server.h"

#include <errno.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include <cmocka.h>

struct fixture {
	struct event_loop *loop;
	struct http_client *http;
	struct kube_config config;
	struct kube_client *client;
	struct api_server *server;
};

#define UNAUTHORIZED \
	{ \
		.kind = API_ANSWERS, .status = 401, \
		.body = "{\"kind\":\"Status\",\"message\":\"Unauthorized\",\"code\":401}" \
	}

static void begin(struct fixture *f, const struct api_fault *faults, size_t count)
{
	struct error err = ERROR_NONE;

	f->server = api_server_start(faults, count);
	f->loop = event_loop_new();
	f->http = http_client_new(f->loop, &(struct http_client_options){ .user_agent = "ua/1" },
				  &err);
	assert_non_null(f->http);
	f->config.server = strdup(api_server_url(f->server));
	f->config.namespace = strdup("argo");
	f->client = kube_client_new(f->http, &f->config, NULL);
	assert_string_equal(kube_client_namespace(f->client), "argo");
	assert_ptr_equal(kube_client_loop(f->client), f->loop);
}

static void end(struct fixture *f)
{
	kube_client_free(f->client);
	http_client_free(f->http);
	event_loop_free(f->loop);
	kube_config_done(&f->config);
	api_server_free(f->server);
}

static int post(struct fixture *f, struct kube_status *status, struct error *err)
{
	struct kube_request request = { .method = "POST",
					.path = "/apis/x",
					.content_type = KUBE_JSON,
					.body = "{\"metadata\":{}}",
					.size = 15 };
	_cleanup_json_ struct json_object *object = NULL;
	int r = kube_perform(f->client, &request, &object, status, err);

	assert_true((r == 0) == (object != NULL));
	return r;
}

static void expect_header(const struct fixture *f, size_t request, const char *line)
{
	if (!strcasestr(api_server_headers(f->server, request), line))
		fail_msg("no \"%s\" in:\n%s", line, api_server_headers(f->server, request));
}

static void test_headers(void **state)
{
	struct fixture f = { .config = { .token = strdup("t"), .as = strdup("me") } };
	struct kube_status status;
	struct error err = ERROR_NONE;

	(void)state;
	f.config.as_groups = calloc(3, sizeof(char *));
	f.config.as_groups[0] = strdup("g1");
	f.config.as_groups[1] = strdup("g2");
	begin(&f, NULL, 0);
	assert_int_equal(post(&f, &status, &err), 0);
	assert_int_equal(status.http, 201);
	api_server_stop(f.server);
	assert_string_equal(api_server_request(f.server, 0), "POST /apis/x {\"metadata\":{}}");
	expect_header(&f, 0, "\r\nAccept: application/json\r\n");
	expect_header(&f, 0, "\r\nContent-Type: application/json\r\n");
	expect_header(&f, 0, "\r\nAuthorization: Bearer t\r\n");
	expect_header(&f, 0, "\r\nUser-Agent: ua/1\r\n");
	expect_header(&f, 0, "\r\nImpersonate-User: me\r\n");
	expect_header(&f, 0, "\r\nImpersonate-Group: g1\r\n");
	expect_header(&f, 0, "\r\nImpersonate-Group: g2\r\n");
	end(&f);
}

static void test_basic_authentication(void **state)
{
	struct fixture f = { .config = { .username = strdup("u"), .password = strdup("p:q") } };
	struct error err = ERROR_NONE;

	(void)state;
	begin(&f, NULL, 0);
	assert_int_equal(post(&f, NULL, &err), 0);
	api_server_stop(f.server);
	expect_header(&f, 0, "\r\nAuthorization: Basic dTpwOnE=\r\n");
	end(&f);
}

static void test_401_reads_the_token_again_once(void **state)
{
	static const struct api_fault faults[] = {
		UNAUTHORIZED, { .kind = API_WORKS }, UNAUTHORIZED, UNAUTHORIZED
	};
	char path[] = "/tmp/test_kube_client.XXXXXX";
	struct fixture f = { .config = { .token_path = strdup(path) } };
	struct error err = ERROR_NONE;

	(void)state;
	close(mkstemp(f.config.token_path));
	assert_int_equal(file_replace(f.config.token_path, "new\n", 4, 0600, &err), 0);
	/* A change that does not show. */
	assert_string_equal(kube_config_token(&f.config, true), "new");
	free(f.config.token);
	f.config.token = strdup("old");
	begin(&f, faults, 4);
	assert_int_equal(post(&f, NULL, &err), 0);
	assert_int_equal(post(&f, NULL, &err), -EACCES);
	assert_int_equal(err.class, ERROR_PERMANENT);
	assert_string_equal(err.message, "Unauthorized");
	api_server_stop(f.server);
	assert_int_equal(api_server_count(f.server), 4);
	expect_header(&f, 0, "Bearer old\r\n");
	expect_header(&f, 1, "Bearer new\r\n");
	unlink(f.config.token_path);
	end(&f);
}

static void test_401_without_token_file_is_final(void **state)
{
	static const struct api_fault faults[] = { UNAUTHORIZED };
	struct fixture f = { .config = { .token = strdup("t") } };

	(void)state;
	begin(&f, faults, 1);
	assert_int_equal(post(&f, NULL, NULL), -EACCES);
	api_server_stop(f.server);
	assert_int_equal(api_server_count(f.server), 1);
	end(&f);
}

static void test_request_timeout(void **state)
{
	static const struct api_fault faults[] = { { .kind = API_HANGS } };
	struct fixture f = { .config = { .request_timeout_ms = 50 } };
	struct kube_status status;
	struct error err = ERROR_NONE;
	int64_t started = clock_now_ms();

	(void)state;
	begin(&f, faults, 1);
	assert_int_equal(post(&f, &status, &err), -ETIMEDOUT);
	assert_in_range(clock_now_ms() - started, 49, 5000);
	assert_int_equal(err.class, ERROR_TRANSIENT);
	assert_true(status.is_outcome_unknown);
	assert_int_equal(status.http, 0);
	end(&f);
}

static void test_transport_failure(void **state)
{
	static const struct api_fault faults[] = { { .kind = API_RESETS } };
	struct fixture f = { .config = { .server = NULL } };
	struct kube_status status;
	struct error err = ERROR_NONE;

	(void)state;
	begin(&f, faults, 1);
	assert_true(post(&f, &status, &err) < 0);
	assert_int_equal(err.class, ERROR_TRANSIENT);
	assert_true(status.is_outcome_unknown);
	assert_non_null(strstr(err.message, api_server_url(f.server)));
	end(&f);
}

static void test_cancelled(void **state)
{
	static const struct api_fault faults[] = { { .kind = API_HANGS } };
	struct fixture f = { .config = { .server = NULL } };
	struct error err = ERROR_NONE;

	(void)state;
	begin(&f, faults, 1);
	event_loop_cancel(f.loop);
	assert_int_equal(post(&f, NULL, &err), -ECANCELED);
	assert_int_equal(err.class, ERROR_CANCELLED);
	end(&f);
}

static void test_pattern_makes_errors_transient(void **state)
{
	static const struct api_fault faults[] = { UNAUTHORIZED };
	struct fixture f = { .config = { .server = NULL } };
	struct transient_pattern *pattern = NULL;
	struct error err = ERROR_NONE;

	(void)state;
	begin(&f, faults, 1);
	assert_int_equal(transient_pattern_new("Unauth.*", &pattern, &err), 0);
	kube_client_free(f.client);
	f.client = kube_client_new(f.http, &f.config, pattern);
	assert_int_equal(post(&f, NULL, &err), -EACCES);
	assert_int_equal(err.class, ERROR_TRANSIENT);
	transient_pattern_free(pattern);
	end(&f);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_headers),
		cmocka_unit_test(test_basic_authentication),
		cmocka_unit_test(test_401_reads_the_token_again_once),
		cmocka_unit_test(test_401_without_token_file_is_final),
		cmocka_unit_test(test_request_timeout),
		cmocka_unit_test(test_transport_failure),
		cmocka_unit_test(test_cancelled),
		cmocka_unit_test(test_pattern_makes_errors_transient),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
