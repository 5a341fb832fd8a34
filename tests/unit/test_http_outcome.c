/* What libcurl says, as a class and in Go's words: one row for each result that has a meaning of its own. */
#include "executor/http/http_internal.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>

#include <cmocka.h>

static const struct row {
	CURLcode result;
	enum error_class class;
	const char *curl_text; /* libcurl's own words, where they are looked at */
	const char *message; /* what ours say at least */
} rows[] = {
	{ CURLE_COULDNT_RESOLVE_PROXY, ERROR_TRANSIENT, "Could not resolve proxy: p",
	  "dial tcp: lookup p: no such host" },
	{ CURLE_COULDNT_RESOLVE_HOST, ERROR_TRANSIENT, "Could not resolve host: h",
	  "dial tcp: lookup h: no such host" },
	{ CURLE_COULDNT_CONNECT, ERROR_TRANSIENT, "", "dial tcp 192.0.2.1:443: " },
	{ CURLE_OPERATION_TIMEDOUT, ERROR_TRANSIENT, "", "dial tcp 192.0.2.1:443: i/o timeout" },
	{ CURLE_GOT_NOTHING, ERROR_TRANSIENT, "", "EOF" },
	{ CURLE_SEND_ERROR, ERROR_TRANSIENT, "", "" },
	{ CURLE_RECV_ERROR, ERROR_TRANSIENT, "", "" },
	{ CURLE_PARTIAL_FILE, ERROR_TRANSIENT, "", "unexpected EOF" },
	{ CURLE_HTTP2, ERROR_TRANSIENT, "", "" },
	{ CURLE_HTTP2_STREAM, ERROR_TRANSIENT, "", "" },
	{ CURLE_QUIC_CONNECT_ERROR, ERROR_TRANSIENT, "", "" },
	{ CURLE_SEND_FAIL_REWIND, ERROR_TRANSIENT, "", "" },
	{ CURLE_SSL_CONNECT_ERROR, ERROR_TRANSIENT,
	  "OpenSSL SSL_connect: SSL_ERROR_SYSCALL in connection to h:443", "EOF" },
	{ CURLE_SSL_CONNECT_ERROR, ERROR_TRANSIENT,
	  "TLS connect error: error:0A000438:SSL routines::tlsv1 alert internal error",
	  "remote error: tls: internal error" },

	{ CURLE_PEER_FAILED_VERIFICATION, ERROR_PERMANENT, "",
	  "tls: failed to verify certificate: x509: " },
	{ CURLE_SSL_CACERT_BADFILE, ERROR_PERMANENT, "", "" },
	{ CURLE_SSL_CERTPROBLEM, ERROR_PERMANENT, "", "" },
	{ CURLE_SSL_ISSUER_ERROR, ERROR_PERMANENT, "", "" },
	{ CURLE_UNSUPPORTED_PROTOCOL, ERROR_PERMANENT, "", "" },
	{ CURLE_URL_MALFORMAT, ERROR_PERMANENT, "", "malformed URL" },
	{ CURLE_WRITE_ERROR, ERROR_PERMANENT, "", "" },
	{ CURLE_READ_ERROR, ERROR_PERMANENT, "", "" },
	{ CURLE_OUT_OF_MEMORY, ERROR_PERMANENT, "", "cannot allocate memory" },
	{ CURLE_ABORTED_BY_CALLBACK, ERROR_PERMANENT, "", "" },
	{ CURLE_TOO_MANY_REDIRECTS, ERROR_PERMANENT, "", "too many redirects" },
	{ CURLE_SSL_CONNECT_ERROR, ERROR_PERMANENT,
	  "TLS connect error: error:0A00010B:SSL routines::wrong version number",
	  "does not look like a TLS handshake" },
	{ CURLE_SSL_CONNECT_ERROR, ERROR_PERMANENT,
	  "TLS connect error: error:0A000418:SSL routines::tlsv1 alert unknown certificate",
	  "remote error: tls: unknown certificate" },
};

static void check(CURL *easy, const struct row *row)
{
	struct http_transfer transfer = {
		.request = { .method = "GET", .url = "https://h/x" },
		.easy = easy,
		.remote = "192.0.2.1:443",
		.response = { .content_length = -1 },
	};
	struct error err = ERROR_NONE;

	snprintf(transfer.curl_text, sizeof(transfer.curl_text), "%s", row->curl_text);
	http_outcome(&transfer, row->result, &err);
	if (err.code >= 0 || err.class != row->class || !strstr(err.message, row->message))
		fail_msg("%s: %s: %s", curl_easy_strerror(row->result), error_class_name(err.class),
			 err.message);
	assert_memory_equal(err.message, "GET https://h/x: ", 17);
}

static void test_results(void **state)
{
	CURL *easy = curl_easy_init();

	(void)state;
	assert_non_null(easy);
	for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++)
		check(easy, &rows[i]);
	curl_easy_cleanup(easy);
}

int main(void)
{
	const struct CMUnitTest tests[] = { cmocka_unit_test(test_results) };

	return cmocka_run_group_tests(tests, NULL, NULL);
}
