#include "executor/base/fd.h"
#include "executor/base/path.h"
#include "tests/unit/http_fixture.h"

#include <errno.h>
#include <openssl/pem.h>
#include <openssl/x509v3.h>
#include <setjmp.h>
#include <signal.h>
#include <stdarg.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/socket.h>

#include <cmocka.h>

#define OK "HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\nhello"
#define UNKNOWN_AUTHORITY \
	"tls: failed to verify certificate: x509: certificate signed by unknown authority"

/* A self-signed certificate, which is its own authority, and its key: files and their texts. */
struct identity {
	char cert_path[64], key_path[64];
	struct buffer cert, key;
};

static char directory[32] = "/tmp/http-tls.XXXXXX";
static struct identity local, other, expired, elsewhere;

static void write_pem(EVP_PKEY *key, X509 *cert, struct identity *identity)
{
	FILE *file = fopen(identity->cert_path, "w");

	assert_int_equal(PEM_write_X509(file, cert), 1);
	fclose(file);
	file = fopen(identity->key_path, "w");
	assert_int_equal(PEM_write_PrivateKey(file, key, NULL, NULL, 0, NULL, NULL), 1);
	fclose(file);
	identity->cert = identity->key = BUFFER_INIT(65536);
	assert_int_equal(file_read(identity->cert_path, &identity->cert, NULL), 0);
	assert_int_equal(file_read(identity->key_path, &identity->key, NULL), 0);
}

static void make_identity(struct identity *identity, const char *name, const char *alt_name,
			  long end_s)
{
	EVP_PKEY *key = EVP_EC_gen("P-256");
	X509 *cert = X509_new();
	X509_EXTENSION *extension = X509V3_EXT_conf_nid(NULL, NULL, NID_subject_alt_name, alt_name);
	X509_NAME *subject = X509_get_subject_name(cert);

	snprintf(identity->cert_path, sizeof(identity->cert_path), "%s/%s.crt", directory, name);
	snprintf(identity->key_path, sizeof(identity->key_path), "%s/%s.key", directory, name);
	X509_set_version(cert, 2);
	ASN1_INTEGER_set(X509_get_serialNumber(cert), end_s);
	X509_gmtime_adj(X509_getm_notBefore(cert), -86400);
	X509_gmtime_adj(X509_getm_notAfter(cert), end_s);
	X509_NAME_add_entry_by_txt(subject, "CN", MBSTRING_ASC, (const unsigned char *)name, -1, -1,
				   0);
	X509_set_issuer_name(cert, subject);
	X509_set_pubkey(cert, key);
	X509_add_ext(cert, extension, -1);
	assert_true(X509_sign(cert, key, EVP_sha256()) > 0);
	write_pem(key, cert, identity);
	X509_EXTENSION_free(extension);
	X509_free(cert);
	EVP_PKEY_free(key);
}

static void set_system_trust(const char *file, const char *directories)
{
	setenv("SSL_CERT_FILE", file, 1);
	setenv("SSL_CERT_DIR", directories, 1);
}

static int make_identities(void **state)
{
	(void)state;
	assert_non_null(mkdtemp(directory));
	make_identity(&local, "local", "IP:127.0.0.1", 3600);
	make_identity(&other, "other", "IP:127.0.0.1", 3601);
	make_identity(&expired, "expired", "IP:127.0.0.1", -3600);
	make_identity(&elsewhere, "elsewhere", "DNS:elsewhere.test", 3602);
	/* What the machine itself trusts must not matter. */
	set_system_trust(other.cert_path, "/nonexistent");
	return 0;
}

static int remove_identities(void **state)
{
	struct identity *const all[] = { &local, &other, &expired, &elsewhere };

	(void)state;
	for (size_t i = 0; i < 4; i++) {
		buffer_done(&all[i]->cert);
		buffer_done(&all[i]->key);
	}
	return path_remove_tree(directory, NULL);
}

static int setup(void **state)
{
	struct http_client_options options = { .connect_timeout_ms = 2000 };

	return http_fixture_set_up(state, &options);
}

static void start(struct http_fixture *f, const struct identity *identity,
		  const struct identity *client)
{
	http_server_start_tls(&f->server, http_serve_text, OK, identity->cert_path,
			      identity->key_path, client ? client->cert_path : NULL);
	snprintf(f->url, sizeof(f->url), "https://127.0.0.1:%d/x", f->server.port);
}

static int get(struct http_fixture *f, struct http_tls tls)
{
	struct http_request request = { .method = "GET", .url = f->url, .tls = tls };

	return http_fixture_perform(f, &request);
}

static struct http_tls trusting(const struct identity *identity)
{
	return (struct http_tls){ .ca_pem = identity->cert.data,
				  .ca_pem_size = identity->cert.size };
}

static void expect(const struct http_fixture *f, enum error_class class, const char *text)
{
	if (!strstr(f->err.message, text))
		print_error("'%s' does not contain '%s'\n", f->err.message, text);
	assert_non_null(strstr(f->err.message, text));
	assert_int_equal(f->err.class, class);
}

static void test_given_authority(void **state)
{
	struct http_fixture *f = *state;

	start(f, &local, NULL);
	for (int i = 0; i < 3; i++)
		assert_int_equal(get(f, trusting(&local)), 0);
	assert_string_equal(f->response.body.data, "hello");
	http_server_stop(&f->server);
	assert_int_equal(f->server.connections, 1);
}

static void test_wrong_authority(void **state)
{
	struct http_fixture *f = *state;

	start(f, &local, NULL);
	assert_true(get(f, trusting(&other)) < 0);
	expect(f, ERROR_PERMANENT, UNKNOWN_AUTHORITY);
	assert_true(get(f, (struct http_tls){ 0 }) < 0);
	expect(f, ERROR_PERMANENT, UNKNOWN_AUTHORITY);
	http_server_stop(&f->server);
}

static void test_kept_connection_keeps_its_trust(void **state)
{
	struct http_fixture *f = *state;

	start(f, &local, NULL);
	for (int i = 0; i < 3; i++) {
		assert_int_equal(get(f, trusting(&local)), 0);
		assert_true(get(f, trusting(&other)) < 0);
		expect(f, ERROR_PERMANENT, UNKNOWN_AUTHORITY);
		assert_int_equal(get(f, (struct http_tls){ .is_insecure = true }), 0);
		assert_true(get(f, (struct http_tls){ 0 }) < 0);
		expect(f, ERROR_PERMANENT, UNKNOWN_AUTHORITY);
	}
	http_server_stop(&f->server);
}

static void test_no_authority_in_pem(void **state)
{
	struct http_fixture *f = *state;
	struct http_tls empty = { .ca_pem = "", .ca_pem_size = 0 };
	struct http_tls garbage = { .ca_pem = "-----BEGIN CERTIFICATE-----\nAAAA\n",
				    .ca_pem_size = 33 };

	start(f, &local, NULL);
	assert_true(get(f, empty) < 0);
	expect(f, ERROR_PERMANENT, "/x: the CA data contains no certificate");
	assert_true(get(f, garbage) < 0);
	expect(f, ERROR_PERMANENT, "/x: the CA data contains no certificate");
	http_server_stop(&f->server);
}

static void test_system_trust(void **state)
{
	struct http_fixture *f = *state;

	start(f, &local, NULL);
	set_system_trust(local.cert_path, "/nonexistent");
	assert_int_equal(get(f, (struct http_tls){ 0 }), 0);
	set_system_trust(other.cert_path, "/nonexistent");
	http_server_stop(&f->server);
}

static void test_system_trust_directory(void **state)
{
	struct http_fixture *f = *state;
	char list[64];

	snprintf(list, sizeof(list), "/nonexistent:%s", directory);
	set_system_trust("/nonexistent", list);
	start(f, &local, NULL);
	assert_int_equal(get(f, (struct http_tls){ 0 }), 0);
	http_server_stop(&f->server);
	set_system_trust(other.cert_path, "/nonexistent");
}

static void test_expired(void **state)
{
	struct http_fixture *f = *state;

	start(f, &expired, NULL);
	assert_true(get(f, trusting(&expired)) < 0);
	expect(f, ERROR_PERMANENT, "x509: certificate has expired or is not yet valid");
	http_server_stop(&f->server);
}

static void test_server_name(void **state)
{
	struct http_tls tls = trusting(&elsewhere);
	struct http_fixture *f = *state;
	char host[64];

	start(f, &elsewhere, NULL);
	assert_true(get(f, tls) < 0);
	expect(f, ERROR_PERMANENT, "x509: certificate is not valid for 127.0.0.1");
	tls.server_name = "elsewhere.test";
	assert_int_equal(get(f, tls), 0);
	tls.server_name = "nowhere.test";
	assert_true(get(f, tls) < 0);
	http_server_stop(&f->server);
	snprintf(host, sizeof(host), "\r\nHost: 127.0.0.1:%d\r\n", f->server.port);
	assert_non_null(strstr(f->server.peer.request, host));
	assert_memory_equal(f->server.peer.request, "GET /x HTTP/1.1\r\n", 17);
}

static void test_client_certificate(void **state)
{
	struct http_tls tls = trusting(&local);
	struct http_fixture *f = *state;

	start(f, &local, &other);
	assert_true(get(f, tls) < 0);
	expect(f, ERROR_PERMANENT, "remote error: tls: certificate required");
	tls.client_cert_pem = other.cert.data;
	tls.client_cert_pem_size = other.cert.size;
	tls.client_key_pem = local.key.data;
	tls.client_key_pem_size = local.key.size;
	assert_true(get(f, tls) < 0);
	expect(f, ERROR_PERMANENT, "the client certificate or its key cannot be used");
	tls.client_key_pem = other.key.data;
	tls.client_key_pem_size = other.key.size;
	assert_int_equal(get(f, tls), 0);
	http_server_stop(&f->server);
}

static void answer_plainly(struct http_peer *peer)
{
	http_peer_say(peer, "HTTP/1.1 400 Bad Request\r\n\r\n");
	http_peer_wait(peer);
}

static void close_during_handshake(struct http_peer *peer)
{
	(void)peer;
}

static int get_from_plain(struct http_fixture *f, void (*serve)(struct http_peer *))
{
	int r;

	http_server_start(&f->server, serve, NULL);
	snprintf(f->url, sizeof(f->url), "https://127.0.0.1:%d/x", f->server.port);
	r = get(f, trusting(&local));
	http_server_stop(&f->server);
	return r;
}

static void test_no_tls_there(void **state)
{
	struct http_fixture *f = *state;

	assert_true(get_from_plain(f, answer_plainly) < 0);
	expect(f, ERROR_PERMANENT, "tls: first record does not look like a TLS handshake");
	assert_true(get_from_plain(f, close_during_handshake) < 0);
	assert_int_equal(f->err.class, ERROR_TRANSIENT);
	assert_int_equal(get_from_plain(f, http_peer_wait), -ETIMEDOUT);
	expect(f, ERROR_TRANSIENT, "/x: net/http: TLS handshake timeout");
}

/* Sends part of the body and goes, without telling TLS. */
static void cut_short(struct http_peer *peer)
{
	http_peer_read(peer);
	http_peer_say(peer, "HTTP/1.1 200 OK\r\nContent-Length: 9\r\n\r\nabc");
}

static void reset_in_upload(struct http_peer *peer)
{
	char part[100];

	recv(peer->fd, part, sizeof(part), 0);
	http_peer_reset(peer);
}

static void test_cut_short(void **state)
{
	struct http_fixture *f = *state;

	http_server_start_tls(&f->server, cut_short, NULL, local.cert_path, local.key_path, NULL);
	snprintf(f->url, sizeof(f->url), "https://127.0.0.1:%d/x", f->server.port);
	assert_true(get(f, trusting(&local)) < 0);
	expect(f, ERROR_TRANSIENT, "unexpected EOF");
	http_server_stop(&f->server);
}

/* With SIGPIPE at its default: a signal would end the test. */
static void test_reset_upload(void **state)
{
	struct http_fixture *f = *state;
	_cleanup_close_ int fd = memfd_create("upload", MFD_CLOEXEC);
	struct http_request request = { .method = "PUT",
					.url = f->url,
					.tls = trusting(&local),
					.body = { .fd = fd, .has_file = true, .size = 64 << 20 } };

	signal(SIGPIPE, SIG_DFL);
	assert_int_equal(ftruncate(fd, 64 << 20), 0);
	http_server_start_tls(&f->server, reset_in_upload, NULL, local.cert_path, local.key_path,
			      NULL);
	snprintf(f->url, sizeof(f->url), "https://127.0.0.1:%d/x", f->server.port);
	for (int i = 0; i < 10; i++) {
		assert_true(http_perform(f->client, &request, &f->response, &f->err) < 0);
		assert_int_equal(f->err.class, ERROR_TRANSIENT);
		http_response_done(&f->response);
	}
	http_server_stop(&f->server);
}

#define TEST(name) cmocka_unit_test_setup_teardown(test_##name, setup, http_fixture_tear_down)

int main(void)
{
	const struct CMUnitTest tests[] = {
		TEST(given_authority),
		TEST(wrong_authority),
		TEST(kept_connection_keeps_its_trust),
		TEST(no_authority_in_pem),
		TEST(system_trust),
		TEST(system_trust_directory),
		TEST(expired),
		TEST(server_name),
		TEST(client_certificate),
		TEST(no_tls_there),
		TEST(cut_short),
		TEST(reset_upload),
	};

	return cmocka_run_group_tests(tests, make_identities, remove_identities);
}
