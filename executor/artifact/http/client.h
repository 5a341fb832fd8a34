/*
 * One URL of a web server as an artifact: what `http` and `artifactory` have in common, and enough
 * for any store whose objects are plain GET and PUT. A store of that kind reads its fields, makes a
 * web_client of them, and lists the operations below in its table.
 *
 * Answers: 2xx is success; 404 and 410 of a GET are NOT_FOUND; 408, 425 and 5xx are TRANSIENT, 429
 * THROTTLED; 401 under a token EXPIRED_CREDENTIALS, once; anything else is PERMANENT. Redirects are
 * followed, WEB_REDIRECTS_MAX of them; a PUT only by 307 and 308, which keep its body.
 * `Authorization` and cookies stay with the host, port and scheme that they were meant for.
 */
#pragma once

#include "executor/artifact/store.h"
#include "executor/http/retry.h"

#include <stdbool.h>
#include <stddef.h>

#define WEB_REDIRECTS_MAX 10
#define WEB_URL_MAX (64 * 1024)
#define WEB_HEADERS_MAX 100
#define WEB_LINE_MAX (64 * 1024)

struct web_token;

struct web_client {
	struct store store; /* first */
	struct store_context context;
	struct retry_policy policy;
	struct transient_pattern *transient; /* the policy's */
	char *url; /* percent-encoded */
	char *shown; /* the same for messages: without user, password, query */
	char *lines[WEB_HEADERS_MAX + 1]; /* the user's headers */
	size_t line_count;
	char *authorization; /* a header line; NULL = none */
	struct web_token
		*token; /* lent by the cache: gives that line for each request; NULL = none */
	unsigned token_number; /* which one it was */
	struct store_cache *own_cache; /* where the process has none */
	struct http_tls tls; /* certificate and key are owned */
	bool is_direct; /* no proxy, whatever the environment says */
	bool has_own_encoding; /* the user asks for encodings, or for a range: it comes as it is */
	bool has_own_range; /* the user's header already says which part, or which version */
};

/* A client without headers and credentials. -EINVAL for a URL that cannot be one. */
int web_client_new(const struct store_operations *operations, const struct store_context *context,
		   const char *url, struct web_client **ret, struct error *err);
void web_client_free(struct web_client *client);
static inline void web_client_freep(struct web_client **client)
{
	web_client_free(*client);
}
#define _cleanup_web_client_ _cleanup_(web_client_freep)

/* One more header, behind those before it. Those that HTTP itself needs (Host, Content-Length, …) are
 * left out, as Go's client does. */
int web_client_add_header(struct web_client *client, const char *name, const char *value,
			  struct error *err);

/* "Authorization: <scheme> <credentials>" with each request, instead of any other. */
int web_client_authorize(struct web_client *client, const char *scheme, const char *credentials,
			 struct error *err);
/* RFC 7617; both may be empty. */
int web_client_authorize_basic(struct web_client *client, const char *user, const char *password,
			       struct error *err);

/* Reads the secret that `object`.`field` refers to into *ret, NUL terminated, with trailing blanks
 * and line ends dropped if want_trim. NULL if there is no reference; an empty one is an error. */
int web_client_secret(const struct web_client *client, struct json_object *object,
		      const char *field, bool want_trim, char **ret, size_t *ret_size,
		      struct error *err);

/* --- for the operations ------------------------------------------------------------------- */

struct web_request {
	struct http_request http;
	const char **lines;
};

/* Headers, credentials, trust. May fetch a token, and wait for it. `extra`: header lines, ends with
 * NULL, borrowed like everything else until the request is over. */
int web_request_init(struct web_request *request, struct web_client *client, const char *method,
		     const char *const *extra, struct error *err);
void web_request_done(struct web_request *request);

/* 0 for 2xx. Otherwise "<what> failed with reason: <status line> (<class>)", but only the status
 * line for NOT_FOUND; the server's Retry-After goes to `retry`. */
int web_client_judge(struct web_client *client, const char *what, bool is_get,
		     const struct http_response *response, struct retry *retry, struct error *err);

/* --- operations of every such store -------------------------------------------------------- */

void web_close(struct store *store);
int web_get(struct store *store, struct reader **ret, int64_t *ret_size, struct error *err);
void web_get_done(struct store *store, struct reader *reader);
int web_put_file(struct store *store, const char *relative, int fd, uint64_t size, const char *name,
		 struct error *err);
/* Fails: a URL is no directory. */
int web_put_directory(struct store *store, const char *relative, struct error *err);
int web_put_stream(struct store *store, const char *name, struct writer **ret, struct error *err);
void web_put_stream_done(struct store *store, struct writer *writer);

#define WEB_OPERATIONS \
	.close = web_close, .get = web_get, .get_done = web_get_done, .put_file = web_put_file, \
	.put_directory = web_put_directory, .put_stream = web_put_stream, \
	.put_stream_done = web_put_stream_done
