#include "executor/base/cleanup.h"
#include "executor/base/text.h"
#include "executor/http/http_internal.h"

#include <arpa/inet.h>
#include <errno.h>
#include <netinet/in.h>
#include <string.h>
#include <sys/socket.h>

#define DOWNLOAD_BUFFER_BYTES (128L * 1024)
#define ANSWER_BUFFER_BYTES (16L * 1024)
#define UPLOAD_BUFFER_BYTES (256L * 1024)
#define SMALL_BODY_BYTES (64 * 1024)

/* Received before all are forgotten: nobody fills our memory with them. */
#define COOKIES_MAX 256

#define KEEPALIVE_IDLE_S 30L
#define KEEPALIVE_INTERVAL_S 15L

/* Remembers the address, which libcurl does not tell when the connection fails. */
static curl_socket_t on_open_socket(void *context, curlsocktype purpose,
				    struct curl_sockaddr *address)
{
	struct http_transfer *transfer = context;
	char host[INET6_ADDRSTRLEN] = "";
	int fd;

	(void)purpose;
	if (address->family == AF_UNIX) {
		snprintf(transfer->remote, sizeof(transfer->remote), "%s",
			 transfer->request.unix_path);
	} else if (address->family == AF_INET6) {
		const struct sockaddr_in6 *in6 = (const struct sockaddr_in6 *)&address->addr;

		inet_ntop(AF_INET6, &in6->sin6_addr, host, sizeof(host));
		snprintf(transfer->remote, sizeof(transfer->remote), "[%s]:%u", host,
			 ntohs(in6->sin6_port));
	} else {
		const struct sockaddr_in *in4 = (const struct sockaddr_in *)&address->addr;

		inet_ntop(AF_INET, &in4->sin_addr, host, sizeof(host));
		snprintf(transfer->remote, sizeof(transfer->remote), "%s:%u", host,
			 ntohs(in4->sin_port));
	}
	fd = socket(address->family, address->socktype | SOCK_CLOEXEC, address->protocol);
	if (fd < 0) {
		transfer->socket_errno = errno;
		return CURL_SOCKET_BAD;
	}
	transfer->socket_errno = 0;
	return fd;
}

static int on_connected(void *context, char *remote_ip, char *local_ip, int remote_port,
			int local_port)
{
	struct http_transfer *transfer = context;

	(void)local_ip;
	(void)local_port;
	if (!transfer->request.unix_path)
		snprintf(transfer->remote, sizeof(transfer->remote),
			 strchr(remote_ip, ':') ? "[%s]:%d" : "%s:%d", remote_ip, remote_port);
	transfer->is_connected = true;
	return CURL_PREREQFUNC_OK;
}

static int add_header(struct http_transfer *transfer, const char *header)
{
	struct curl_slist *list = curl_slist_append(transfer->headers, header);

	if (!list)
		return -ENOMEM;
	transfer->headers = list;
	return 0;
}

/* A header without a value means "remove" to libcurl, unless it is written "Name;". */
static int add_empty_header(struct http_transfer *transfer, const char *header, size_t name_size)
{
	_cleanup_free_ char *marked = NULL;

	if (asprintf(&marked, "%.*s;", (int)name_size, header) < 0)
		return -ENOMEM;
	return add_header(transfer, marked);
}

static int set_headers(struct http_transfer *transfer, struct error *err)
{
	const struct http_request *request = &transfer->request;
	int r = add_header(transfer, "Expect:");

	if (r == 0)
		r = add_header(transfer, "Accept:");
	for (size_t i = 0; r == 0 && request->headers && request->headers[i]; i++) {
		const char *header = request->headers[i];
		size_t name_size = strcspn(header, ":");

		if (header[strcspn(header, "\r\n")] || !header[name_size] || name_size == 0)
			return error_set(err, -EINVAL, "header %zu is malformed", i + 1);
		if (header[name_size + 1 + strspn(header + name_size + 1, " \t")])
			r = add_header(transfer, header);
		else
			r = add_empty_header(transfer, header, name_size);
	}
	if (r < 0)
		return error_errno(err, r, "set the headers");
	curl_easy_setopt(transfer->easy, CURLOPT_HTTPHEADER, transfer->headers);
	return 0;
}

static int set_method(struct http_transfer *transfer)
{
	const struct http_request *request = &transfer->request;
	const struct http_body *body = &request->body;
	bool has_body = body->data || body->has_file;
	CURL *easy = transfer->easy;
	int bad = 0;

	if (has_body || strcmp(request->method, "PUT") == 0 ||
	    strcmp(request->method, "POST") == 0 || strcmp(request->method, "PATCH") == 0) {
		/* Like a PUT in all but the name: no content type that nobody asked for. */
		bad |= (int)curl_easy_setopt(easy, CURLOPT_UPLOAD, 1L);
		bad |= (int)curl_easy_setopt(easy, CURLOPT_INFILESIZE_LARGE,
					     has_body ? (curl_off_t)body->size : (curl_off_t)0);
		bad |= (int)curl_easy_setopt(easy, CURLOPT_READFUNCTION, http_payload_read);
		bad |= (int)curl_easy_setopt(easy, CURLOPT_READDATA, transfer);
		bad |= (int)curl_easy_setopt(easy, CURLOPT_SEEKFUNCTION, http_payload_seek);
		bad |= (int)curl_easy_setopt(easy, CURLOPT_SEEKDATA, transfer);
		if (has_body && body->size > SMALL_BODY_BYTES)
			bad |= (int)curl_easy_setopt(easy, CURLOPT_UPLOAD_BUFFERSIZE,
						     UPLOAD_BUFFER_BYTES);
		if (!has_body)
			transfer->request.body.size = 0;
	} else if (strcmp(request->method, "HEAD") == 0) {
		return curl_easy_setopt(easy, CURLOPT_NOBODY, 1L) != CURLE_OK ? -ENOMEM : 0;
	}
	if (strcmp(request->method, has_body ? "PUT" : "GET") != 0)
		bad |= (int)curl_easy_setopt(easy, CURLOPT_CUSTOMREQUEST, request->method);
	return bad ? -ENOMEM : 0;
}

static void curl_free_p(char **pointer)
{
	curl_free(*pointer);
}

static void curl_url_free_p(CURLU **parts)
{
	curl_url_cleanup(*parts);
}

static int set_blob(CURL *easy, CURLoption option, const char *data, size_t size)
{
	struct curl_blob blob = { .data = (void *)data, .len = size, .flags = CURL_BLOB_NOCOPY };

	return (int)curl_easy_setopt(easy, option, &blob);
}

/* Connects to the URL's host but names, and verifies, the host `server_name`. */
static int set_server_name(struct http_transfer *transfer)
{
	const struct http_request *request = &transfer->request;
	_cleanup_(curl_free_p) char *host = NULL, *port = NULL, *own_port = NULL, *url = NULL;
	_cleanup_(curl_url_free_p) CURLU *parts = curl_url();
	char header[512], route[1024];

	if (!parts)
		return -ENOMEM;
	if (curl_url_set(parts, CURLUPART_URL, request->url, CURLU_PATH_AS_IS) != CURLUE_OK ||
	    curl_url_get(parts, CURLUPART_HOST, &host, 0) != CURLUE_OK ||
	    curl_url_get(parts, CURLUPART_PORT, &port, CURLU_DEFAULT_PORT) != CURLUE_OK ||
	    curl_url_set(parts, CURLUPART_HOST, request->tls.server_name, 0) != CURLUE_OK ||
	    curl_url_get(parts, CURLUPART_URL, &url, CURLU_PATH_AS_IS) != CURLUE_OK)
		return -EINVAL;
	curl_url_get(parts, CURLUPART_PORT, &own_port, 0);
	snprintf(route, sizeof(route), "%s:%s:%s:%s", request->tls.server_name, port, host, port);
	snprintf(header, sizeof(header), "Host: %s%s%s", host, own_port ? ":" : "",
		 own_port ? own_port : "");
	transfer->connect_to = curl_slist_append(NULL, route);
	if (!transfer->connect_to || add_header(transfer, header) < 0)
		return -ENOMEM;
	if (curl_easy_setopt(transfer->easy, CURLOPT_CONNECT_TO, transfer->connect_to) ||
	    curl_easy_setopt(transfer->easy, CURLOPT_URL, url))
		return -ENOMEM;
	return 0;
}

static int set_tls(struct http_transfer *transfer, struct error *err)
{
	const struct http_tls *tls = &transfer->request.tls;
	CURL *easy = transfer->easy;
	int bad = (int)curl_easy_setopt(easy, CURLOPT_SSLVERSION, (long)CURL_SSLVERSION_TLSv1_2);

	bad |= (int)curl_easy_setopt(easy, CURLOPT_SSL_CTX_FUNCTION, http_trust_on_context);
	bad |= (int)curl_easy_setopt(easy, CURLOPT_SSL_CTX_DATA, transfer);
	if (tls->is_insecure) {
		bad |= (int)curl_easy_setopt(easy, CURLOPT_SSL_VERIFYPEER, 0L);
		bad |= (int)curl_easy_setopt(easy, CURLOPT_SSL_VERIFYHOST, 0L);
	} else if (tls->ca_pem) {
		if (tls->ca_pem_size == 0)
			return error_set(err, -EINVAL, "the CA data contains no certificate");
		bad |= set_blob(easy, CURLOPT_CAINFO_BLOB, tls->ca_pem, tls->ca_pem_size);
	} else {
		/* A directory keeps libcurl from loading a default file that is then replaced. */
		bad |= (int)curl_easy_setopt(easy, CURLOPT_CAPATH, "/etc/ssl/certs");
	}
	if (tls->client_cert_pem && tls->client_key_pem) {
		bad |= set_blob(easy, CURLOPT_SSLCERT_BLOB, tls->client_cert_pem,
				tls->client_cert_pem_size);
		bad |= set_blob(easy, CURLOPT_SSLKEY_BLOB, tls->client_key_pem,
				tls->client_key_pem_size);
		bad |= (int)curl_easy_setopt(easy, CURLOPT_SSLCERTTYPE, "PEM");
		bad |= (int)curl_easy_setopt(easy, CURLOPT_SSLKEYTYPE, "PEM");
	}
	return bad ? error_errno(err, -ENOMEM, "set up TLS") : 0;
}

static int set_unix_route(struct http_transfer *transfer)
{
	const char *path = transfer->request.unix_path;
	CURL *easy = transfer->easy;
	int bad = 0;

	if (!path)
		return 0;
	bad |= (int)curl_easy_setopt(easy, CURLOPT_UNIX_SOCKET_PATH, path);
	bad |= (int)curl_easy_setopt(easy, CURLOPT_PROXY, "");
	bad |= (int)curl_easy_setopt(easy, CURLOPT_HTTP_VERSION,
				     (long)CURL_HTTP_VERSION_2_PRIOR_KNOWLEDGE);
	/* Nobody reads an idle connection, so nobody would answer a server that wants to close. */
	bad |= (int)curl_easy_setopt(easy, CURLOPT_FRESH_CONNECT, 1L);
	bad |= (int)curl_easy_setopt(easy, CURLOPT_FORBID_REUSE, 1L);
	return bad;
}

static int set_route(struct http_transfer *transfer, struct error *err)
{
	const struct http_request *request = &transfer->request;
	struct http_client *client = transfer->client;
	CURL *easy = transfer->easy;
	const char *exceptions = NULL;
	const char *proxy = request->proxy ?: http_proxy_for(request->url, &exceptions);
	int bad = 0, r;

	bad |= (int)curl_easy_setopt(easy, CURLOPT_URL, request->url);
	bad |= (int)curl_easy_setopt(easy, CURLOPT_PATH_AS_IS, 1L);
	bad |= (int)curl_easy_setopt(easy, CURLOPT_PROTOCOLS_STR, "http,https");
	bad |= (int)curl_easy_setopt(easy, CURLOPT_REDIR_PROTOCOLS_STR, "http,https");
	bad |= (int)curl_easy_setopt(easy, CURLOPT_PROXY, proxy);
	bad |= (int)curl_easy_setopt(easy, CURLOPT_NOPROXY, exceptions ?: "");
	bad |= (int)curl_easy_setopt(easy, CURLOPT_SUPPRESS_CONNECT_HEADERS, 1L);
	bad |= (int)curl_easy_setopt(easy, CURLOPT_CONNECTTIMEOUT_MS,
				     (long)client->connect_timeout_ms);
	bad |= (int)curl_easy_setopt(easy, CURLOPT_HTTP_VERSION, (long)CURL_HTTP_VERSION_2TLS);
	bad |= (int)curl_easy_setopt(easy, CURLOPT_TCP_KEEPALIVE, 1L);
	bad |= (int)curl_easy_setopt(easy, CURLOPT_TCP_KEEPIDLE, KEEPALIVE_IDLE_S);
	bad |= (int)curl_easy_setopt(easy, CURLOPT_TCP_KEEPINTVL, KEEPALIVE_INTERVAL_S);
	bad |= (int)curl_easy_setopt(easy, CURLOPT_OPENSOCKETFUNCTION, on_open_socket);
	bad |= (int)curl_easy_setopt(easy, CURLOPT_OPENSOCKETDATA, transfer);
	bad |= (int)curl_easy_setopt(easy, CURLOPT_PREREQFUNCTION, on_connected);
	bad |= (int)curl_easy_setopt(easy, CURLOPT_PREREQDATA, transfer);
	bad |= set_unix_route(transfer);
	if (bad)
		return error_errno(err, -ENOMEM, "set up a request");
	if (!request->tls.server_name || !text_has_prefix(request->url, "https://"))
		return 0;
	r = set_server_name(transfer);
	return r < 0 ? error_errno(err, r, "set the expected server name") : 0;
}

/* Those of load balancers that stick to a node: its answers agree with each other. */
static int set_cookies(struct http_transfer *transfer)
{
	struct http_client *client = transfer->client;
	int bad = 0;

	if (transfer->request.has_cookies) {
		if (!client->cookies) {
			client->cookies = curl_share_init();
			bad |= (int)curl_share_setopt(client->cookies, CURLSHOPT_SHARE,
						      CURL_LOCK_DATA_COOKIE);
		}
		bad |= (int)curl_easy_setopt(transfer->easy, CURLOPT_SHARE, client->cookies);
	}
	/* In memory only; without the share those of redirections. */
	bad |= (int)curl_easy_setopt(transfer->easy, CURLOPT_COOKIEFILE, "");
	if (transfer->request.has_cookies && client->cookie_count > COOKIES_MAX) {
		bad |= (int)curl_easy_setopt(transfer->easy, CURLOPT_COOKIELIST, "ALL");
		client->cookie_count = 0;
	}
	return bad;
}

static int set_answer(struct http_transfer *transfer, struct error *err)
{
	const struct http_request *request = &transfer->request;
	const char *user_agent = transfer->client->user_agent;
	CURL *easy = transfer->easy;
	int bad = 0;

	bad |= (int)curl_easy_setopt(easy, CURLOPT_PRIVATE, transfer);
	bad |= (int)curl_easy_setopt(easy, CURLOPT_ERRORBUFFER, transfer->curl_text);
	bad |= (int)curl_easy_setopt(easy, CURLOPT_NOSIGNAL, 1L);
	bad |= (int)curl_easy_setopt(easy, CURLOPT_BUFFERSIZE,
				     request->on_data ? DOWNLOAD_BUFFER_BYTES :
							ANSWER_BUFFER_BYTES);
	bad |= (int)curl_easy_setopt(easy, CURLOPT_HEADERFUNCTION, http_payload_on_header);
	bad |= (int)curl_easy_setopt(easy, CURLOPT_HEADERDATA, transfer);
	bad |= (int)curl_easy_setopt(easy, CURLOPT_WRITEFUNCTION, http_payload_on_body);
	bad |= (int)curl_easy_setopt(easy, CURLOPT_WRITEDATA, transfer);
	bad |= (int)curl_easy_setopt(easy, CURLOPT_TIMEOUT_MS, (long)request->timeout_ms);
	bad |= set_cookies(transfer);
	if (*user_agent)
		bad |= (int)curl_easy_setopt(easy, CURLOPT_USERAGENT, user_agent);
	if (request->redirects_max > 0) {
		bad |= (int)curl_easy_setopt(easy, CURLOPT_FOLLOWLOCATION, 1L);
		bad |= (int)curl_easy_setopt(easy, CURLOPT_MAXREDIRS, (long)request->redirects_max);
	}
	return bad ? error_errno(err, -ENOMEM, "set up a request") : 0;
}

int http_request_configure(struct http_transfer *transfer, struct error *err)
{
	int r;

	errno = 0;
	transfer->easy = curl_easy_init();
	if (!transfer->easy) {
		/* c-ares reads /etc/resolv.conf here, for which there may be no descriptor. */
		r = error_errno(err, errno ? -errno : -ENOMEM, "set up a request");
		if (err && (r == -EMFILE || r == -ENFILE || r == -ENOMEM))
			err->class = ERROR_TRANSIENT;
	} else {
		r = set_answer(transfer, err);
	}
	if (r == 0)
		r = set_route(transfer, err);
	if (r == 0)
		r = set_tls(transfer, err);
	if (r == 0 && (r = set_method(transfer)) < 0)
		error_errno(err, r, "set up a request");
	if (r == 0)
		r = set_headers(transfer, err);
	if (r < 0 && err)
		http_outcome_prefix(&transfer->request, err);
	return r;
}
