#include "signal/control.h"
#include "signal/control_address.h"
#include "signal/control_peer.h"
#include "signal/control_secret.h"
#include "tests/unit/scratch.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include <errno.h>
#include <unistd.h>

static const struct log silent = { .fd = -1, .level = LOG_ERROR };

static void test_addresses(void **state)
{
	static const char *const good[][2] = {
		{ "127.0.0.1:80", "127.0.0.1:80" },      { "0.0.0.0:0", "0.0.0.0:0" },
		{ "[::1]:65535", "[::1]:65535" },        { "[::]:8443", "[::]:8443" },
		{ "[::ffff:10.1.2.3]:7", "10.1.2.3:7" },
	};
	static const char *const bad[] = {
		"",
		":",
		":80",
		"127.0.0.1",
		"127.0.0.1:",
		"1.2.3.4:x",
		"1.2.3.4:-1",
		"1.2.3.4:+1",
		"1.2.3.4: 1",
		"1.2.3.4:65536",
		"::1:80",
		"[::1]",
		"[::1]80",
		"[::1:80",
		"[]:80",
		"[1.2.3.4]:80",
		"localhost:80",
		"1.2.3.4.5:80",
		"[:80",
		"[fe80::1%lo]:80",
	};
	char text[CONTROL_ADDRESS_TEXT_MAX];
	struct sockaddr_storage address;
	struct error err = ERROR_NONE;

	(void)state;
	for (size_t i = 0; i < sizeof(good) / sizeof(good[0]); i++) {
		assert_int_equal(control_address_parse(good[i][0], &address, &err), 0);
		assert_string_equal(control_address_format(&address, text), good[i][1]);
	}
	for (size_t i = 0; i < sizeof(bad) / sizeof(bad[0]); i++) {
		err = ERROR_NONE;
		assert_int_equal(control_address_parse(bad[i], &address, &err), -EINVAL);
		assert_non_null(strstr(err.message, "is not ADDRESS:PORT"));
	}
}

static bool is_loopback(const char *text)
{
	struct sockaddr_storage address;

	assert_int_equal(control_address_parse(text, &address, NULL), 0);
	return control_address_is_loopback(&address);
}

static void test_loopback(void **state)
{
	(void)state;
	assert_true(is_loopback("127.0.0.1:1"));
	assert_true(is_loopback("127.255.0.1:1"));
	assert_true(is_loopback("[::1]:1"));
	assert_true(is_loopback("[::ffff:127.0.0.1]:1"));
	assert_false(is_loopback("128.0.0.1:1"));
	assert_false(is_loopback("0.0.0.0:1"));
	assert_false(is_loopback("[::]:1"));
	assert_false(is_loopback("[::ffff:10.0.0.1]:1"));
}

static struct control_peer_key key_of(const char *text)
{
	struct sockaddr_storage address;

	assert_int_equal(control_address_parse(text, &address, NULL), 0);
	return control_peer_key_of(&address);
}

static void test_peers(void **state)
{
	struct control_peers peers = { 0 };
	struct control_peer_key one = key_of("10.0.0.1:1"), same = key_of("[::ffff:10.0.0.1]:2");
	struct control_peer_key six = key_of("[2001:db8::1]:1"), near = key_of("[2001:db8::2]:1");
	struct control_peer_key far = key_of("[2001:db8:0:1::1]:1"), process;
	struct control_peer *first = control_peer_find(&peers, &one, 1);

	(void)state;
	assert_ptr_equal(control_peer_find(&peers, &same, 2), first);
	first = control_peer_find(&peers, &six, 3);
	assert_ptr_equal(control_peer_find(&peers, &near, 4), first);
	assert_ptr_not_equal(control_peer_find(&peers, &far, 5), first);
	/* Who was silent longest makes room. */
	control_bucket_take(&first->requests, 1, 1, 6);
	memset(&process, 0, sizeof(process));
	for (int i = 0; i < CONTROL_PEERS_MAX; i++) {
		process.pid = i;
		control_peer_find(&peers, &process, 10 + i);
	}
	first = control_peer_find(&peers, &six, 100);
	assert_true(control_bucket_take(&first->requests, 1, 1, 100));
}

static void test_buckets(void **state)
{
	struct control_bucket bucket = { 0 };

	(void)state;
	for (int i = 0; i < 10; i++)
		assert_true(control_bucket_take(&bucket, 5, 10, 1000));
	assert_false(control_bucket_take(&bucket, 5, 10, 1000));
	assert_false(control_bucket_take(&bucket, 5, 10, 1199));
	assert_true(control_bucket_take(&bucket, 5, 10, 1200));
	assert_false(control_bucket_take(&bucket, 5, 10, 1201));
	/* Never more than at first, however long ago that was. */
	for (int i = 0; i < 10; i++)
		assert_true(control_bucket_take(&bucket, 5, 10, INT64_MAX / 2));
	assert_false(control_bucket_take(&bucket, 5, 10, INT64_MAX / 2));
}

static void test_token(void **state)
{
	char path[256];
	struct control_token token;
	struct error err = ERROR_NONE;

	(void)state;
	snprintf(path, sizeof(path), "%s", scratch_path("token"));
	scratch_write("token", "  0123456789abcdef\r\n");
	assert_int_equal(control_token_open(&token, path, "VARIABLE", &err), 0);
	assert_true(control_token_accepts(&token, "Bearer 0123456789abcdef", &silent));
	assert_true(control_token_accepts(&token, "bearer  0123456789abcdef ", &silent));
	assert_false(control_token_accepts(&token, "Bearer 0123456789abcdeF", &silent));
	assert_false(control_token_accepts(&token, "Bearer 0123456789abcdef0", &silent));
	assert_false(control_token_accepts(&token, "Bearer", &silent));
	assert_false(control_token_accepts(&token, "", &silent));
	scratch_write("token", "another token is bad");
	assert_false(control_token_accepts(&token, "Bearer 0123456789abcdef", &silent));
	assert_false(control_token_accepts(&token, "Bearer another token is bad", &silent));
	unlink(path);
	assert_false(control_token_accepts(&token, "Bearer 0123456789abcdef", &silent));
	assert_false(control_token_accepts(&token, "Bearer ", &silent));
	scratch_write("token", "ANOTHER-9876543210");
	assert_true(control_token_accepts(&token, "Bearer ANOTHER-9876543210", &silent));
}

static void test_bad_tokens(void **state)
{
	char path[256], text[CONTROL_TOKEN_BYTES_MAX + 2];
	struct control_token token;
	struct error err = ERROR_NONE;

	(void)state;
	snprintf(path, sizeof(path), "%s", scratch_path("bad"));
	scratch_write("bad", "0123456789abcde\n");
	assert_int_equal(control_token_open(&token, path, "VARIABLE", &err), -EINVAL);
	assert_non_null(strstr(err.message, "VARIABLE: "));
	assert_non_null(strstr(err.message, "16 to 2048 bytes, this one 15"));
	memset(text, 'x', sizeof(text) - 1);
	text[sizeof(text) - 1] = '\0';
	scratch_write("bad", text);
	assert_int_equal(control_token_open(&token, path, "VARIABLE", &err), -EINVAL);
	text[sizeof(text) - 2] = '\0';
	scratch_write("bad", text);
	assert_int_equal(control_token_open(&token, path, "VARIABLE", &err), 0);
	scratch_write("bad", "0123456789abcde\x80z");
	assert_int_equal(control_token_open(&token, path, "VARIABLE", &err), -EINVAL);
	unlink(path);
	assert_int_equal(control_token_open(&token, path, "VARIABLE", &err), -ENOENT);
	assert_int_equal(control_token_open(&token, scratch_path(""), "VARIABLE", &err), -EISDIR);
}

/* --- what a role is told ------------------------------------------------------------------ */

static void set(const char *listen, const char *token, const char *certificate, const char *key)
{
	const char *const names[] = { CONTROL_LISTEN_VARIABLE, CONTROL_TOKEN_VARIABLE,
				      CONTROL_CERTIFICATE_VARIABLE, CONTROL_KEY_VARIABLE };
	const char *const values[] = { listen, token, certificate, key };

	for (size_t i = 0; i < 4; i++) {
		if (values[i])
			setenv(names[i], values[i], 1);
		else
			unsetenv(names[i]);
	}
}

static void test_refuses_to_listen(void **state)
{
	char token[256], no[256];
	const struct {
		const char *listen, *token, *certificate, *key, *text;
	} cases[] = {
		{ "127.0.0.1:0", NULL, NULL, NULL, "ARGOEXEC_CONTROL_TOKEN_FILE: is not set" },
		{ "127.0.0.1:0", "", NULL, NULL, "ARGOEXEC_CONTROL_TOKEN_FILE: is not set" },
		{ "127.0.0.1:0", no, NULL, NULL, "ARGOEXEC_CONTROL_TOKEN_FILE: open " },
		{ "localhost:0", token, NULL, NULL, "ARGOEXEC_CONTROL_LISTEN: \"localhost:0\"" },
		{ "0.0.0.0:0", token, NULL, NULL, "ARGOEXEC_CONTROL_TLS_CERT_FILE: is not set" },
		{ "[::]:0", token, NULL, NULL, "ARGOEXEC_CONTROL_TLS_CERT_FILE: is not set" },
		{ "127.0.0.1:0", token, token, NULL,
		  "ARGOEXEC_CONTROL_TLS_CERT_FILE is set, and ARGOEXEC_CONTROL_TLS_KEY_FILE is not" },
		{ "127.0.0.1:0", token, NULL, token,
		  "ARGOEXEC_CONTROL_TLS_KEY_FILE is set, and ARGOEXEC_CONTROL_TLS_CERT_FILE is not" },
		{ "0.0.0.0:0", token, token, token, "ARGOEXEC_CONTROL_TLS_CERT_FILE: " },
		{ "203.0.113.1:9", token, NULL, NULL,
		  "ARGOEXEC_CONTROL_TLS_CERT_FILE: is not set" },
	};
	struct terminator terminator = { .options.count = 0 };
	struct control_model model = { .role = "wait", .terminator = &terminator };
	struct event_loop *loop = event_loop_new();
	struct error err = ERROR_NONE;
	struct control *control;

	(void)state;
	snprintf(token, sizeof(token), "%s", scratch_path("good"));
	snprintf(no, sizeof(no), "%s", scratch_path("missing"));
	scratch_write("good", "0123456789abcdef");
	control = control_new(loop, scratch_path(""), &model, &silent, &err);
	assert_non_null(control);
	for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
		err = ERROR_NONE;
		set(cases[i].listen, cases[i].token, cases[i].certificate, cases[i].key);
		assert_true(control_listen(control, &err) < 0);
		assert_non_null(strstr(err.message, cases[i].text));
	}
	set(NULL, NULL, NULL, NULL);
	assert_int_equal(control_listen(control, &err), 0);
	set("127.0.0.1:0", token, NULL, NULL);
	assert_int_equal(control_listen(control, &err), 0);
	control_free(control);
	event_loop_free(loop);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_addresses),
		cmocka_unit_test(test_loopback),
		cmocka_unit_test(test_peers),
		cmocka_unit_test(test_buckets),
		cmocka_unit_test(test_token),
		cmocka_unit_test(test_bad_tokens),
		cmocka_unit_test(test_refuses_to_listen),
	};

	return cmocka_run_group_tests(tests, scratch_set_up, scratch_tear_down);
}
