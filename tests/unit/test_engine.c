#include "executor/artifact/secret.h"
#include "executor/artifact/store.h"
#include "executor/base/cleanup.h"
#include "executor/base/fd.h"
#include "executor/base/path.h"
#include "executor/stage/engine_asks.h"
#include "executor/stage/engine_confine.h"
#include "executor/stage/engine_counts.h"
#include "executor/stage/engine_environment.h"
#include "executor/stage/engine_message.h"
#include "tests/unit/scratch.h"

#include <errno.h>
#include <fcntl.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/wait.h>
#include <unistd.h>

#include <cmocka.h>

static void put(const char *name, const char *text)
{
	assert_int_equal(path_make_parents(scratch_path(name), 0755, NULL), 0);
	scratch_write(name, text);
}

/* --- which files ------------------------------------------------------------------------ */

static void set_up_home(void)
{
	assert_int_equal(setenv("HOME", scratch_path("home"), 1), 0);
	assert_int_equal(setenv("AWS_WEB_IDENTITY_TOKEN_FILE", "/tokens/aws", 1), 0);
	assert_int_equal(setenv("AWS_CONTAINER_AUTHORIZATION_TOKEN_FILE",
				"/var/run/secrets/kubernetes.io/serviceaccount/named", 1),
			 0);
	/* What is not a store's. */
	assert_int_equal(setenv("ARGOEXEC_CONTROL_TOKEN_FILE", "/control/token", 1), 0);
	assert_int_equal(setenv("KUBECONFIG", "/kube/config", 1), 0);
	unsetenv("AWS_CONFIG_FILE");
	unsetenv("AWS_SHARED_CREDENTIALS_FILE");
	unsetenv("ALIBABA_CLOUD_CONFIG_FILE");
	unsetenv("ALIBABA_CLOUD_CREDENTIALS_FILE");
	put("home/.aws/config", "[default]\nrole_arn = arn:x\n"
				"web_identity_token_file = /run/token\n");
	put("home/.aliyun/config.json", "{\"oidc_token_file\": \"/run/oidc\"}");
}

static void test_what_may_be_asked_for(void **state)
{
	static const char *const accepted[] = {
		"/argo/secret/cred/key",
		"/argo/secret/cred/../other/key",
		"/var/run/secrets/eks.amazonaws.com/serviceaccount/token",
		"/var/run/secrets/kubernetes.io/serviceaccount/named",
		"/tokens/aws",
		"/run/token",
		"/run/oidc",
	};
	static const char *const refused[] = {
		"/etc/shadow",
		"/var/run/secrets/kubernetes.io/serviceaccount/token",
		"/var/run/secrets/x/../kubernetes.io/serviceaccount/token",
		"/control/token",
		"/kube/config",
		"/argo/secretive",
		"/argo/secret/../../etc/shadow",
		"argo/secret/cred/key",
		"",
		"/run/tok",
		"/run",
		"/tokens/aws2",
		"/proc/self/environ",
	};

	(void)state;
	set_up_home();
	for (size_t i = 0; i < sizeof(accepted) / sizeof(accepted[0]); i++)
		if (!engine_may_ask("/argo/secret", accepted[i]))
			fail_msg("refused: %s", accepted[i]);
	for (size_t i = 0; i < sizeof(refused) / sizeof(refused[0]); i++)
		if (engine_may_ask("/argo/secret", refused[i]))
			fail_msg("accepted: %s", refused[i]);
	assert_true(engine_may_ask("/argo/secret", scratch_path("home/.aws/credentials")));
	assert_false(engine_may_ask("/argo/secret", scratch_path("home/.ssh/id_rsa")));
	/* The variable takes the place of the file at home. */
	assert_int_equal(setenv("AWS_CONFIG_FILE", "/nonexistent", 1), 0);
	assert_false(engine_may_ask("/argo/secret", "/run/token"));
}

/* Answers two questions, as a role does. */
static int answer_two(int fd)
{
	for (int i = 0; i < 2; i++) {
		_cleanup_json_ struct json_object *question = NULL;
		int none = -1;

		if (engine_message_receive(fd, true, &question, &none) != 1 ||
		    engine_answer(fd, question, scratch_path("secrets")) < 0)
			return __LINE__;
	}
	return 0;
}

static int ask(void *context, const char *path, struct buffer *out, struct error *err)
{
	return engine_ask(*(const int *)context, path, out, err);
}

/* What a store reads of its secrets comes by way of the role, and so do the words of a failure. */
static void test_a_secret_that_is_asked_for(void **state)
{
	static const char text[] = "{\"a\":{\"name\":\"cred\",\"key\":\"key\"},"
				   "\"b\":{\"name\":\"cred\",\"key\":\"none\"}}";
	_cleanup_json_ struct json_object *location = NULL;
	struct store_context context = { .secret_directory = scratch_path("secrets"),
					 .read_file = ask };
	char *value = NULL;
	struct error err = ERROR_NONE;
	int ends[2], status;
	size_t size;
	pid_t pid;

	(void)state;
	put("secrets/cred/key", "s3cret \n");
	assert_int_equal(socketpair(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0, ends), 0);
	pid = fork();
	if (pid == 0)
		_exit(answer_two(ends[0]));
	context.read_file_context = &ends[1];
	assert_int_equal(json_parse(text, strlen(text), "location", &location, &err), 0);
	assert_int_equal(secret_read(&context, location, "a", true, &value, &size, &err), 0);
	assert_string_equal(value, "s3cret");
	assert_int_equal(size, 6);
	secret_free(value, size);
	assert_int_equal(secret_read(&context, location, "b", true, &value, NULL, &err), -ENOENT);
	assert_non_null(strstr(err.message, "secret 'cred' has no key 'none' here"));
	assert_int_equal(waitpid(pid, &status, 0), pid);
	assert_int_equal(status, 0);
	close(ends[0]);
	close(ends[1]);
}

/* --- messages --------------------------------------------------------------------------- */

static struct json_object *send_and_receive(struct json_object *message, int fd, int *ret_fd)
{
	struct json_object *received = NULL;
	int ends[2];

	assert_int_equal(socketpair(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0, ends), 0);
	assert_int_equal(engine_message_receive(ends[1], false, &received, ret_fd), 0);
	assert_int_equal(engine_message_send(ends[0], message, fd), 0);
	assert_int_equal(engine_message_receive(ends[1], false, &received, ret_fd), 1);
	close(ends[0]);
	assert_int_equal(engine_message_receive(ends[1], false, &(struct json_object *){ NULL },
						&(int){ -1 }),
			 -EPIPE);
	close(ends[1]);
	return received;
}

/* As many parts as an upload can have: more than a packet holds, and every byte arrives. */
static void test_the_facts_of_a_large_object(void **state)
{
	static struct store_part parts[10000];
	_cleanup_json_ struct json_object *stored = json_new_object(), *message = NULL;
	_cleanup_json_ struct json_object *received = NULL;
	_cleanup_engine_event_ struct engine_event again = { .index = 0 };
	struct engine_event event = { .kind = ENGINE_SETTLED,
				      .id = 7,
				      .stored = stored,
				      .object = { .objects = 1,
						  .size = 10000ULL << 24,
						  .etag = "\"0f-10000\"",
						  .parts = parts,
						  .part_count = 10000 } };
	char ours[STORE_CHECKSUM_MAX], theirs[STORE_CHECKSUM_MAX];
	int fd = -1;

	(void)state;
	for (size_t i = 0; i < 10000; i++) {
		parts[i].size = (1 << 24) + i;
		memset(parts[i].sha256, (int)(i * 7), sizeof(parts[i].sha256));
	}
	message = engine_event_print(&event);
	assert_non_null(message);
	received = send_and_receive(message, -1, &fd);
	assert_int_equal(fd, -1);
	assert_int_equal(engine_event_read(received, &again), 0);
	assert_int_equal(again.object.objects, 1);
	assert_int_equal(again.object.size, event.object.size);
	assert_string_equal(again.object.etag, event.object.etag);
	assert_int_equal(again.object.part_count, 10000);
	assert_memory_equal(again.object.parts, parts, sizeof(parts));
	assert_string_equal(store_stored_checksum(&again.object, theirs),
			    store_stored_checksum(&event.object, ours));
}

/* Whatever the size of the text, the descriptor beside it is the one that was sent. */
static void test_a_descriptor_beside_it(void **state)
{
	static char text[ENGINE_PACKET_BYTES_MAX + 1];

	(void)state;
	scratch_write("beside", "its content");
	memset(text, 'x', sizeof(text));
	for (size_t size = 1; size <= sizeof(text); size += sizeof(text) - 1) {
		_cleanup_json_ struct json_object *message = json_new_object(), *received = NULL;
		_cleanup_close_ int sent = open(scratch_path("beside"), O_RDONLY | O_CLOEXEC);
		_cleanup_close_ int fd = -1;
		char content[32] = "";

		assert_int_equal(json_set(message, "text", json_new_string(text, size)), 0);
		received = send_and_receive(message, sent, &fd);
		assert_true(json_equal(message, received));
		assert_int_equal(read(fd, content, sizeof(content)), 11);
		assert_string_equal(content, "its content");
		assert_int_equal(fcntl(fd, F_GETFD), FD_CLOEXEC);
	}
}

/* --- counts ----------------------------------------------------------------------------- */

static void test_sums_over_several_lives(void **state)
{
	struct http_counts sum = { .store_count = 0 };
	const struct http_counts life = {
		.stores = { { .store = "s3",
			      .requests = 3,
			      .sent_bytes = 10,
			      .failures = { [ERROR_TRANSIENT] = 2 } } },
		.store_count = 1,
		.endpoints = { { .endpoint = "http://a:1",
				 .state = GATE_SLOWED,
				 .limit = 0.5,
				 .running = 2,
				 .slowed = 1 } },
		.endpoint_count = 1,
	};
	const struct http_counts none = { .store_count = 0 };

	(void)state;
	engine_counts_add(&sum, &life);
	engine_counts_add(&sum, &life);
	assert_int_equal(sum.store_count, 1);
	assert_int_equal(sum.stores[0].requests, 6);
	assert_int_equal(sum.stores[0].sent_bytes, 20);
	assert_int_equal(sum.stores[0].failures[ERROR_TRANSIENT], 4);
	assert_int_equal(sum.endpoint_count, 1);
	assert_int_equal(sum.endpoints[0].running, 2);
	assert_int_equal(sum.endpoints[0].slowed, 2);
	/* The one that is alive has asked nobody. */
	engine_counts_add(&sum, &none);
	assert_int_equal(sum.endpoints[0].running, 0);
	assert_int_equal(sum.stores[0].requests, 6);
}

/* --- confinement ------------------------------------------------------------------------ */

static void test_confinement_as_a_message(void **state)
{
	struct engine_event sent = { .kind = ENGINE_CONFINED }, received;
	struct confine_condition *layers = sent.confinement.layers;
	_cleanup_json_ struct json_object *message = NULL;

	(void)state;
	layers[CONFINE_CAPABILITIES].state = CONFINE_IN_FORCE;
	layers[CONFINE_FILES].state = CONFINE_REFUSED;
	snprintf(layers[CONFINE_FILES].reason, CONFINE_REASON_MAX, "%0127d", 0);
	message = engine_event_print(&sent);
	assert_non_null(message);
	assert_int_equal(engine_event_read(message, &received), 0);
	assert_int_equal(received.kind, ENGINE_CONFINED);
	assert_memory_equal(&received.confinement, &sent.confinement, sizeof(sent.confinement));
	/* A reason that is too long, a state that there is not, a layer too many. */
	assert_int_equal(json_set_string(json_at(json_get(message, "layers"), 0), "reason",
					 "12345678901234567890123456789012345678901234567890"
					 "12345678901234567890123456789012345678901234567890"
					 "1234567890123456789012345678"),
			 0);
	assert_int_equal(engine_event_read(message, &received), -EPROTO);
	assert_int_equal(json_set_string(json_at(json_get(message, "layers"), 0), "reason", ""), 0);
	assert_int_equal(engine_event_read(message, &received), 0);
	assert_int_equal(json_set(json_at(json_get(message, "layers"), 0), "state",
				  json_new_int(CONFINE_STATE_COUNT)),
			 0);
	assert_int_equal(engine_event_read(message, &received), -EPROTO);
	assert_int_equal(
		json_set(json_at(json_get(message, "layers"), 0), "state", json_new_int(0)), 0);
	assert_int_equal(json_append(json_get(message, "layers"), json_new_object()), 0);
	assert_int_equal(engine_event_read(message, &received), -EPROTO);
}

static void test_why_a_child_ended(void **state)
{
	struct confinement confinement = { .layers[CONFINE_CALLS].state = CONFINE_IN_FORCE };
	char death[ENGINE_PROCESS_DEATH_MAX] = "ended";

	(void)state;
	assert_int_equal(setenv("ARGOEXEC_CONFINEMENT", "required", 1), 0);
	engine_confined_explain(&confinement, death);
	assert_string_equal(death, "ended");
	confinement.layers[CONFINE_CALLS] =
		(struct confine_condition){ .state = CONFINE_REFUSED, .reason = "why" };
	engine_confined_explain(&confinement, death);
	assert_string_equal(death, "cannot be confined, which is required: system calls: why");
	snprintf(death, sizeof(death), "ended");
	unsetenv("ARGOEXEC_CONFINEMENT");
	engine_confined_explain(&confinement, death);
	assert_string_equal(death, "ended");
}

static void test_what_it_is_given_of_the_environment(void **state)
{
	char secret[] = "DATABASE_PASSWORD=x", template[] = "ARGO_TEMPLATE={}",
	     key[] = "AWS_PROFILE=p", proxy[] = "https_proxy=", almost[] = "HOMELESS=1",
	     home[] = "HOME=/h", odd[] = "PATH";
	char *ours[] = { secret, template, key, proxy, almost, home, odd, NULL };
	char **before = environ, **kept;

	(void)state;
	environ = ours;
	kept = engine_environment();
	environ = before;
	assert_non_null(kept);
	assert_ptr_equal(kept[0], key);
	assert_ptr_equal(kept[1], proxy);
	assert_ptr_equal(kept[2], home);
	assert_ptr_equal(kept[3], odd);
	assert_null(kept[4]);
	free(kept);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_what_may_be_asked_for),
		cmocka_unit_test(test_a_secret_that_is_asked_for),
		cmocka_unit_test(test_the_facts_of_a_large_object),
		cmocka_unit_test(test_a_descriptor_beside_it),
		cmocka_unit_test(test_sums_over_several_lives),
		cmocka_unit_test(test_confinement_as_a_message),
		cmocka_unit_test(test_why_a_child_ended),
		cmocka_unit_test(test_what_it_is_given_of_the_environment),
	};

	return cmocka_run_group_tests(tests, scratch_set_up, scratch_tear_down);
}
