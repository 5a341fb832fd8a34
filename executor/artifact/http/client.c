#include "executor/artifact/http/client.h"

#include "executor/artifact/cache.h"
#include "executor/artifact/http/token.h"
#include "executor/artifact/secret.h"
#include "executor/base/sensitive.h"
#include "executor/base/text.h"
#include "executor/http/classify.h"
#include "executor/http/digest.h"
#include "executor/http/status_text.h"

#include <ctype.h>
#include <errno.h>
#include <stdlib.h>
#include <string.h>

/* --- the URL ------------------------------------------------------------------------------ */

static bool is_escape(const char *p)
{
	return isxdigit((unsigned char)p[1]) && isxdigit((unsigned char)p[2]);
}

/* What people write into a URL and HTTP does not carry: blanks, umlauts, lone per cent signs. */
static int encode(const char *url, struct buffer *out)
{
	int r = 0;

	for (const unsigned char *p = (const unsigned char *)url; *p && r == 0; p++) {
		bool is_plain = *p > ' ' && *p < 0x7f && !strchr("\"<>\\^`{|}", *p);

		if (is_plain && (*p != '%' || is_escape((const char *)p)))
			r = buffer_append(out, p, 1);
		else
			r = buffer_append_format(out, "%%%02X", *p);
	}
	return r;
}

static int set_url(struct web_client *client, const char *url, struct error *err)
{
	_cleanup_buffer_ struct buffer encoded = BUFFER_SECRET(WEB_URL_MAX);
	const char *host, *end, *at;

	if (!text_has_prefix(url, "http://") && !text_has_prefix(url, "https://"))
		return error_set(err, -EINVAL,
				 "url: '%.*s' does not begin with http:// or https://",
				 (int)strcspn(url, "?@"), url);
	host = strstr(url, "://") + 3;
	end = host + strcspn(host, "/?#");
	at = memrchr(host, '@', (size_t)(end - host));
	host = at ? at + 1 : host;
	if (host == end)
		return error_set(err, -EINVAL, "url: has no host");
	for (const char *p = url; *p; p++)
		if (iscntrl((unsigned char)*p))
			return error_set(err, -EINVAL, "url: contains a control character");
	if (encode(url, &encoded) < 0 ||
	    asprintf(&client->shown, "%.*s%.*s", (int)(strstr(url, "://") + 3 - url), url,
		     (int)strcspn(host, "?#"), host) < 0) {
		buffer_done(&encoded);
		client->shown = NULL;
		return error_set(err, -EINVAL, "url: longer than %d bytes", WEB_URL_MAX);
	}
	client->url = buffer_take(&encoded);
	/* A fragment is the client's own (RFC 9110, 7.1). */
	client->url[strcspn(client->url, "#")] = '\0';
	return 0;
}

/* --- the client --------------------------------------------------------------------------- */

int web_client_new(const struct store_operations *operations, const struct store_context *context,
		   const char *url, struct web_client **ret, struct error *err)
{
	_cleanup_web_client_ struct web_client *client = calloc(1, sizeof(*client));
	int r;

	if (!client)
		return error_set(err, -ENOMEM, "out of memory");
	client->store.operations = operations;
	client->context = *context;
	if (!context->cache) {
		client->context.cache = client->own_cache = store_cache_new();
		if (!client->own_cache)
			return error_set(err, -ENOMEM, "out of memory");
	}
	r = set_url(client, url, err);
	if (r == 0)
		r = retry_policy_from_environment(&client->policy, err);
	if (r == 0)
		r = transient_pattern_from_environment(&client->transient, err);
	if (r < 0)
		return r;
	client->policy.transient = client->transient;
	client->policy.store = operations->type;
	client->policy.tells_class = true;
	client->policy.on_retry = context->observer.retried;
	client->policy.context = context->observer.context;
	*ret = TAKE_PTR(client);
	return 0;
}

void web_client_free(struct web_client *client)
{
	if (!client)
		return;
	transient_pattern_free(client->transient);
	free(client->url);
	free(client->shown);
	for (size_t i = 0; i < client->line_count; i++)
		secret_free_string(client->lines[i]);
	secret_free_string(client->authorization);
	store_cache_free(client->own_cache);
	secret_free((char *)client->tls.client_cert_pem, client->tls.client_cert_pem_size);
	secret_free((char *)client->tls.client_key_pem, client->tls.client_key_pem_size);
	free(client);
}

void web_close(struct store *store)
{
	web_client_free((struct web_client *)store);
}

/* RFC 9110, 5.6.2. */
static bool is_token(const char *s)
{
	if (*s == '\0')
		return false;
	for (; *s; s++)
		if (!isalnum((unsigned char)*s) && !strchr("!#$%&'*+-.^_`|~", *s))
			return false;
	return true;
}

static bool is_one_of(const char *name, const char *const *names)
{
	for (; *names; names++)
		if (strcasecmp(*names, name) == 0)
			return true;
	return false;
}

int web_client_add_header(struct web_client *client, const char *name, const char *value,
			  struct error *err)
{
	static const char *const framing[] = { "Host", "Content-Length", "Transfer-Encoding",
					       "Trailer", NULL };
	static const char *const encodings[] = { "Accept-Encoding", "Range", NULL };
	static const char *const versions[] = { "Range", "If-Match", "If-Range", NULL };
	struct buffer line = BUFFER_INIT(WEB_LINE_MAX);

	if (!is_token(name))
		return error_set(err, -EINVAL, "headers: '%.100s' is no name of a header", name);
	if (value[strcspn(value, "\r\n")])
		return error_set(err, -EINVAL, "headers: %s: the value has more than one line",
				 name);
	if (is_one_of(name, framing))
		return 0;
	if (client->line_count == WEB_HEADERS_MAX)
		return error_set(err, -E2BIG, "headers: more than %d", WEB_HEADERS_MAX);
	if (buffer_append_format(&line, "%s: %s", name, value) < 0) {
		buffer_done(&line);
		return error_set(err, -EMSGSIZE, "headers: %s: longer than %d bytes", name,
				 WEB_LINE_MAX);
	}
	client->lines[client->line_count++] = buffer_take(&line);
	client->has_own_encoding = client->has_own_encoding || is_one_of(name, encodings);
	client->has_own_range = client->has_own_range || is_one_of(name, versions);
	return 0;
}

/* --- credentials -------------------------------------------------------------------------- */

int web_client_authorize(struct web_client *client, const char *scheme, const char *credentials,
			 struct error *err)
{
	secret_free_string(TAKE_PTR(client->authorization));
	if (asprintf(&client->authorization, "Authorization: %s %s", scheme, credentials) < 0) {
		client->authorization = NULL;
		return error_set(err, -ENOMEM, "out of memory");
	}
	sensitive_lock(client->authorization, strlen(client->authorization));
	return 0;
}

int web_client_authorize_basic(struct web_client *client, const char *user, const char *password,
			       struct error *err)
{
	_cleanup_buffer_ struct buffer plain = BUFFER_SECRET(2 * SECRET_BYTES_MAX + 2);
	_cleanup_buffer_ struct buffer encoded = BUFFER_SECRET(4 * SECRET_BYTES_MAX);
	int r = buffer_append_format(&plain, "%s:%s", user, password);

	if (r == 0)
		r = digest_base64_encode(plain.data, plain.size, &encoded);
	if (r < 0)
		error_errno(err, r, "encode user and password");
	else
		r = web_client_authorize(client, "Basic", encoded.data, err);
	return r;
}

int web_client_secret(const struct web_client *client, struct json_object *object,
		      const char *field, bool want_trim, char **ret, size_t *ret_size,
		      struct error *err)
{
	int r;

	r = secret_read(&client->context, object, field, want_trim, ret, ret_size, err);
	if (r == 0 && !*ret && json_get(object, field))
		return error_set(err, -EINVAL, "%s: names no secret", field);
	return r;
}

/* --- a request ---------------------------------------------------------------------------- */

static bool is_authorization(const char *line)
{
	return strncasecmp(line, "Authorization:", strlen("Authorization:")) == 0;
}

int web_request_init(struct web_request *request, struct web_client *client, const char *method,
		     const char *const *extra, struct error *err)
{
	size_t count = 0, room = client->line_count + 2;
	int r = 0;

	if (client->token)
		r = web_token_use(client->token, client, err);
	if (r < 0)
		return r;
	while (extra && extra[count])
		count++;
	request->lines = calloc(room + count, sizeof(*request->lines));
	if (!request->lines)
		return error_set(err, -ENOMEM, "out of memory");
	count = 0;
	for (size_t i = 0; i < client->line_count; i++)
		if (!client->authorization || !is_authorization(client->lines[i]))
			request->lines[count++] = client->lines[i];
	if (client->authorization)
		request->lines[count++] = client->authorization;
	while (extra && *extra)
		request->lines[count++] = *extra++;
	request->http = (struct http_request){
		.method = method,
		.url = client->url,
		.headers = request->lines,
		.tls = client->tls,
		.proxy = client->is_direct ? "" : NULL,
		.redirects_max = WEB_REDIRECTS_MAX,
	};
	return 0;
}

void web_request_done(struct web_request *request)
{
	free(request->lines);
	*request = (struct web_request){ 0 };
}

/* --- an answer ---------------------------------------------------------------------------- */

/* Over what holds for all stores. */
static const struct classify_row rows[] = {
	{ .status = 401, .class = ERROR_EXPIRED_CREDENTIALS },
	{ .status = 410, .is_object = true, .class = ERROR_NOT_FOUND },
};
static const struct classify_table table = CLASSIFY_TABLE(rows);

/* Only a token can be renewed, and once. */
static enum error_class judge(const struct web_client *client, bool is_get, int status,
			      const struct retry *retry)
{
	const struct classify_answer answer = {
		.status = status, .code = "", .message = "", .is_object = is_get
	};
	enum error_class class = classify(&table, &answer);

	if (class == ERROR_EXPIRED_CREDENTIALS && (!client->token || retry->count[class] > 0))
		return ERROR_PERMANENT;
	return class;
}

int web_client_judge(struct web_client *client, const char *what, bool is_get,
		     const struct http_response *response, struct retry *retry, struct error *err)
{
	int status = response->status;
	enum error_class class = judge(client, is_get, status, retry);
	const char *phrase = http_status_text(status);

	if (status >= 200 && status <= 299)
		return 0;
	retry->retry_after_ms = retry_after_of(response);
	if (class == ERROR_EXPIRED_CREDENTIALS)
		web_token_refuse(client->token, client);
	if (class == ERROR_NOT_FOUND)
		return error_set_class(err, -ENOENT, class, "%d %s", status, phrase);
	return error_set_class(err, status == 401 || status == 403 ? -EACCES : -EIO, class,
			       "%s failed with reason: %d%s%s (%s)", what, status,
			       *phrase ? " " : "", phrase, error_class_name(class));
}
