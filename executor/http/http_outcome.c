#include "executor/base/text.h"
#include "executor/http/http_internal.h"
#include "executor/http/retry.h"

#include <ctype.h>
#include <errno.h>
#include <openssl/x509_vfy.h>
#include <string.h>

/*
 * The words are those of Go's net, net/http and crypto/x509 packages: TRANSIENT_ERROR_PATTERN and
 * people's alerts are written for them.
 */

/* Longest part of a URL in a message. */
#define URL_SHOWN_MAX 1024

struct phrase {
	CURLcode result;
	int code;
	enum error_class class;
	const char *text; /* NULL = libcurl's */
};

/* What needs no look at the circumstances. Anything else is PERMANENT with libcurl's words. */
static const struct phrase phrases[] = {
	{ CURLE_GOT_NOTHING, -ECONNRESET, ERROR_TRANSIENT, "EOF" },
	{ CURLE_PARTIAL_FILE, -ECONNRESET, ERROR_TRANSIENT, "unexpected EOF" },
	{ CURLE_HTTP2, -EPROTO, ERROR_TRANSIENT, NULL },
	{ CURLE_HTTP2_STREAM, -EPROTO, ERROR_TRANSIENT, NULL },
	{ CURLE_QUIC_CONNECT_ERROR, -ECONNREFUSED, ERROR_TRANSIENT, NULL },
	{ CURLE_SEND_FAIL_REWIND, -EIO, ERROR_TRANSIENT, NULL },
	{ CURLE_PROXY, -EPROTO, ERROR_TRANSIENT, NULL },
	{ CURLE_OUT_OF_MEMORY, -ENOMEM, ERROR_PERMANENT, "cannot allocate memory" },
	{ CURLE_URL_MALFORMAT, -EINVAL, ERROR_PERMANENT, "malformed URL" },
	{ CURLE_TOO_MANY_REDIRECTS, -ELOOP, ERROR_PERMANENT, "stopped after too many redirects" },
	{ CURLE_WEIRD_SERVER_REPLY, -EPROTO, ERROR_PERMANENT, "malformed HTTP response" },
	{ CURLE_SSL_CACERT_BADFILE, -EINVAL, ERROR_PERMANENT,
	  "the CA data contains no certificate" },
	{ CURLE_SSL_CERTPROBLEM, -EINVAL, ERROR_PERMANENT,
	  "the client certificate or its key cannot be used" },
	{ CURLE_SSL_CLIENTCERT, -EPROTO, ERROR_PERMANENT,
	  "remote error: tls: certificate required" },
};

static long number(const struct http_transfer *transfer, CURLINFO info)
{
	long value = 0;

	curl_easy_getinfo(transfer->easy, info, &value);
	return value;
}

static bool says(const struct http_transfer *transfer, const char *words)
{
	return strcasestr(transfer->curl_text, words) != NULL;
}

static int set(struct error *err, int code, enum error_class class, const char *text)
{
	return error_set_class(err, code, class, "%s", text);
}

/* libcurl's words, beginning as Go's do. */
static int set_curl_text(const struct http_transfer *transfer, CURLcode result, int code,
			 enum error_class class, struct error *err)
{
	const char *text = transfer->curl_text[0] ? transfer->curl_text :
						    curl_easy_strerror(result);

	set(err, code, class, text);
	if (!isupper((unsigned char)text[1]))
		err->message[0] = (char)tolower((unsigned char)err->message[0]);
	return code;
}

/* The host of the URL, or "proxy" where libcurl says that it is the proxy's name. */
static void set_lookup(const struct http_transfer *transfer, const char *reason, int code,
		       struct error *err)
{
	const char *named = strstr(transfer->curl_text, ": ");
	const char *url = transfer->request.url;
	const char *start = strstr(url, "://") ? strstr(url, "://") + 3 : url;
	size_t size = strcspn(start, "/?#");
	const char *at = memrchr(start, '@', size);

	if (at) {
		size -= (size_t)(at + 1 - start);
		start = at + 1;
	}
	if (named && says(transfer, "could not resolve"))
		error_set_class(err, code, ERROR_TRANSIENT, "dial tcp: lookup %s: %s", named + 2,
				reason);
	else
		error_set_class(err, code, ERROR_TRANSIENT, "dial tcp: lookup %.*s: %s",
				(int)strcspn(start, ":/?#") < (int)size ?
					(int)strcspn(start, ":/?#") :
					(int)size,
				start, reason);
}

/* Go's name for what the request goes through. */
static const char *network(const struct http_transfer *transfer)
{
	return transfer->request.unix_path ? "unix" : "tcp";
}

static void set_dial(const struct http_transfer *transfer, struct error *err)
{
	int code = (int)number(transfer, CURLINFO_OS_ERRNO);
	const char *separator = transfer->remote[0] ? " " : "";
	char text[128];

	if (transfer->socket_errno) {
		error_set_class(err, -transfer->socket_errno, ERROR_TRANSIENT,
				"dial %s%s%s: socket: %s", network(transfer), separator,
				transfer->remote,
				error_text(transfer->socket_errno, text, sizeof(text)));
	} else if (code) {
		error_set_class(err, -code, ERROR_TRANSIENT, "dial %s%s%s: connect: %s",
				network(transfer), separator, transfer->remote,
				error_text(code, text, sizeof(text)));
	} else {
		set_curl_text(transfer, CURLE_COULDNT_CONNECT, -EHOSTUNREACH, ERROR_TRANSIENT, err);
		error_prefix(err, 0, "dial %s%s%s", network(transfer), separator, transfer->remote);
	}
}

static void set_timeout(const struct http_transfer *transfer, struct error *err)
{
	if (says(transfer, "resolving timed out") || !transfer->remote[0])
		set_lookup(transfer, "i/o timeout", -ETIMEDOUT, err);
	else if (transfer->has_tls_begun && !transfer->is_connected)
		set(err, -ETIMEDOUT, ERROR_TRANSIENT, "net/http: TLS handshake timeout");
	else
		error_set_class(err, -ETIMEDOUT, ERROR_TRANSIENT, "%s %s %s: i/o timeout",
				transfer->is_connected ? "read" : "dial", network(transfer),
				transfer->remote);
}

/* "127.0.0.1:40000->127.0.0.1:443", or what is known of it; returns buffer. */
static const char *endpoints(const struct http_transfer *transfer, char *buffer, size_t size)
{
	const char *local = NULL;

	curl_easy_getinfo(transfer->easy, CURLINFO_LOCAL_IP, &local);
	if (local && *local)
		snprintf(buffer, size, strchr(local, ':') ? "[%s]:%ld->%s" : "%s:%ld->%s", local,
			 number(transfer, CURLINFO_LOCAL_PORT), transfer->remote);
	else
		snprintf(buffer, size, "%s", transfer->remote);
	return buffer;
}

/* True if the peer said in TLS what it did not like. */
static bool set_alert(const struct http_transfer *transfer, struct error *err)
{
	const char *alert = strstr(transfer->curl_text, " alert ");
	bool is_ours = says(transfer, "certificate");

	if (!alert)
		return false;
	alert += strlen(" alert ");
	/* "…, errno 0" follows where it came while reading. An alert about a certificate is about
	 * ours, and stays. */
	error_set_class(err, -EPROTO, is_ours ? ERROR_PERMANENT : ERROR_TRANSIENT,
			"remote error: tls: %.*s", (int)strcspn(alert, ","), alert);
	return true;
}

static void set_broken(const struct http_transfer *transfer, CURLcode result, struct error *err)
{
	int code = (int)number(transfer, CURLINFO_OS_ERRNO);
	const char *verb = result == CURLE_SEND_ERROR ? "write" : "read";
	char who[2 * HTTP_ADDRESS_MAX + 16], text[128];

	if (set_alert(transfer, err))
		return;
	if (code)
		error_set_class(err, -code, ERROR_TRANSIENT, "%s %s %s: %s: %s", verb,
				network(transfer), endpoints(transfer, who, sizeof(who)), verb,
				error_text(code, text, sizeof(text)));
	else if (says(transfer, "unexpected eof"))
		set(err, -ECONNRESET, ERROR_TRANSIENT, "unexpected EOF");
	else if (says(transfer, "chunked-encoding"))
		set(err, -EPROTO, ERROR_TRANSIENT, "invalid chunked encoding");
	else
		set_curl_text(transfer, result, -ECONNRESET, ERROR_TRANSIENT, err);
}

static void set_handshake(const struct http_transfer *transfer, struct error *err)
{
	if (set_alert(transfer, err))
		return;
	if (says(transfer, "wrong version number") || says(transfer, "packet length too long"))
		set(err, -EPROTO, ERROR_PERMANENT,
		    "tls: first record does not look like a TLS handshake (is it a plain HTTP server?)");
	else if (says(transfer, "unsupported protocol") || says(transfer, "no protocols available"))
		set(err, -EPROTO, ERROR_PERMANENT,
		    "tls: server selected unsupported protocol version");
	else if (number(transfer, CURLINFO_OS_ERRNO) == 0 && says(transfer, "SSL_ERROR_SYSCALL"))
		set(err, -ECONNRESET, ERROR_TRANSIENT, "EOF");
	else
		set_broken(transfer, CURLE_SSL_CONNECT_ERROR, err);
}

static void set_unverified(const struct http_transfer *transfer, struct error *err)
{
	static const char mismatch[] = "target host name '";
	const char *wanted = strstr(transfer->curl_text, mismatch);
	long reason = number(transfer, CURLINFO_SSL_VERIFYRESULT);
	const char *text;

	if (wanted) {
		wanted += sizeof(mismatch) - 1;
		error_set(
			err, -EPROTO,
			"tls: failed to verify certificate: x509: certificate is not valid for %.*s",
			(int)strcspn(wanted, "'"), wanted);
		return;
	}
	switch (reason) {
	case X509_V_ERR_DEPTH_ZERO_SELF_SIGNED_CERT:
	case X509_V_ERR_SELF_SIGNED_CERT_IN_CHAIN:
	case X509_V_ERR_UNABLE_TO_GET_ISSUER_CERT:
	case X509_V_ERR_UNABLE_TO_GET_ISSUER_CERT_LOCALLY:
	case X509_V_ERR_UNABLE_TO_VERIFY_LEAF_SIGNATURE:
	case X509_V_ERR_CERT_SIGNATURE_FAILURE:
		text = "certificate signed by unknown authority";
		break;
	case X509_V_ERR_CERT_NOT_YET_VALID:
	case X509_V_ERR_CERT_HAS_EXPIRED:
		text = "certificate has expired or is not yet valid";
		break;
	default:
		text = X509_verify_cert_error_string(reason);
	}
	error_set(err, -EPROTO, "tls: failed to verify certificate: x509: %s", text);
}

static void set_other(const struct http_transfer *transfer, CURLcode result, struct error *err)
{
	/* What libcurl calls the end of its buffer for one header line, 100 KiB. */
	if (result == CURLE_OUT_OF_MEMORY && transfer->is_connected && !transfer->has_headers) {
		set(err, -EMSGSIZE, ERROR_PERMANENT, "the response headers are larger than 64 KiB");
		return;
	}
	for (size_t i = 0; i < sizeof(phrases) / sizeof(*phrases); i++) {
		const struct phrase *phrase = &phrases[i];

		if (phrase->result != result)
			continue;
		if (phrase->text)
			set(err, phrase->code, phrase->class, phrase->text);
		else
			set_curl_text(transfer, result, phrase->code, phrase->class, err);
		return;
	}
	if (result == CURLE_UNSUPPORTED_PROTOCOL && says(transfer, "HTTP/"))
		set(err, -EPROTO, ERROR_PERMANENT, "malformed HTTP response");
	else
		set_curl_text(transfer, result, -EPROTO, ERROR_PERMANENT, err);
}

static void describe(const struct http_transfer *transfer, CURLcode result, struct error *err)
{
	switch (result) {
	case CURLE_COULDNT_RESOLVE_HOST:
	case CURLE_COULDNT_RESOLVE_PROXY:
		set_lookup(transfer, "no such host", -EHOSTUNREACH, err);
		break;
	case CURLE_COULDNT_CONNECT:
		set_dial(transfer, err);
		break;
	case CURLE_OPERATION_TIMEDOUT:
		set_timeout(transfer, err);
		break;
	case CURLE_SEND_ERROR:
	case CURLE_RECV_ERROR:
		set_broken(transfer, result, err);
		break;
	case CURLE_SSL_CONNECT_ERROR:
		set_handshake(transfer, err);
		break;
	case CURLE_PEER_FAILED_VERIFICATION:
		set_unverified(transfer, err);
		break;
	default:
		set_other(transfer, result, err);
	}
}

/* True for a whole answer that came although libcurl calls the transfer failed. */
static bool is_answered(const struct http_transfer *transfer, CURLcode result)
{
	const struct http_response *response = &transfer->response;

	if (!transfer->has_headers)
		return false;
	/* We had enough of the body. */
	if (result == CURLE_WRITE_ERROR)
		return response->is_body_cut;
	/* A server may refuse an upload and close without having read all of it. */
	return result == CURLE_SEND_ERROR && response->status >= 300;
}

static bool is_short(const struct http_transfer *transfer)
{
	const struct http_response *response = &transfer->response;

	return response->content_length >= 0 && strcmp(transfer->request.method, "HEAD") != 0 &&
	       response->status != 204 && response->status != 304 &&
	       response->body_bytes < (uint64_t)response->content_length;
}

void http_outcome(struct http_transfer *transfer, CURLcode result, struct error *err)
{
	if (err->code != 0)
		return;
	if (is_answered(transfer, result))
		return;
	if (result == CURLE_OK && is_short(transfer))
		result = CURLE_PARTIAL_FILE;
	if (result == CURLE_OK)
		return;
	describe(transfer, result, err);
	http_outcome_prefix(&transfer->request, err);
}

void http_outcome_stalled(struct http_transfer *transfer, struct error *err)
{
	char who[2 * HTTP_ADDRESS_MAX + 16];

	error_set_class(err, -ETIMEDOUT, ERROR_TRANSIENT,
			"read tcp %s: i/o timeout (no byte moved for %lld s)",
			endpoints(transfer, who, sizeof(who)),
			(long long)(transfer->client->stall_timeout_ms / 1000));
	http_outcome_prefix(&transfer->request, err);
}

/* As Go's net/http puts it: `Get "https://host/path?query": dial tcp …`. */
static void note_text(const struct http_request *request, const struct error *err)
{
	char verb[16] = "";

	if (!request->retry || !err)
		return;
	for (size_t i = 0; i < sizeof(verb) - 1 && request->method[i]; i++)
		verb[i] =
			(char)(i ? tolower((unsigned char)request->method[i]) : request->method[i]);
	retry_note_text(request->retry, "%s \"%s\": %s", verb, request->url, err->message);
}

void http_outcome_prefix(const struct http_request *request, struct error *err)
{
	const char *url = request->url;
	const char *separator = strstr(url, "://");
	const char *authority = separator ? separator + 3 : url;
	size_t authority_size = strcspn(authority, "/?#");
	const char *at = memrchr(authority, '@', authority_size);
	const char *host = at ? at + 1 : authority;
	size_t size = strcspn(host, "?#");

	note_text(request, err);
	error_prefix(err, 0, "%s %.*s%.*s", request->method, (int)(authority - url), url,
		     (int)text_cut_utf8(host, size, URL_SHOWN_MAX), host);
}
