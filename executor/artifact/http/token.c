#include "executor/artifact/http/token.h"

#include "executor/artifact/cache.h"
#include "executor/artifact/secret.h"
#include "executor/base/clock.h"
#include "executor/base/sensitive.h"
#include "executor/base/text.h"
#include "executor/http/digest.h"

#include <ctype.h>
#include <errno.h>
#include <stdlib.h>
#include <string.h>

#define FORM_BYTES_MAX (8 * SECRET_BYTES_MAX)

/* A token is used until this is left, or a fifth of its time if that is shorter: it has to last for the way
 * to the server. */
#define TOKEN_SPARE_S 10
#define TOKEN_TIME_MAX_S (365 * 86400)

struct web_token {
	char *id, *secret, *url;
	struct buffer form; /* without the client's credentials */
	bool is_in_form; /* they go there */

	char *scheme, *value; /* of the token; NULL = there is none */
	unsigned number; /* of the token; 0 = none was there yet */
	int64_t expires_ms; /* monotonic; 0 = nobody has said when */
	bool is_free; /* nobody is fetching one */
	struct error error; /* of the last who did; code 0 = it came */
};

/* application/x-www-form-urlencoded (URL Standard, 5.2). */
static int append_escaped(struct buffer *out, const char *s)
{
	int r = 0;

	for (; *s && r == 0; s++) {
		if (isalnum((unsigned char)*s) || strchr("-._*", *s))
			r = buffer_append(out, s, 1);
		else if (*s == ' ')
			r = buffer_append(out, "+", 1);
		else
			r = buffer_append_format(out, "%%%02X", (unsigned char)*s);
	}
	return r;
}

static int append_pair(struct buffer *form, const char *key, const char *value)
{
	int r = form->size > 0 ? buffer_append(form, "&", 1) : 0;

	if (r == 0)
		r = append_escaped(form, key);
	if (r == 0)
		r = buffer_append(form, "=", 1);
	return r < 0 ? r : append_escaped(form, value);
}

static void wipe(struct buffer *buffer)
{
	secret_free(TAKE_PTR(buffer->data), buffer->size);
	buffer_done(buffer);
}

static int read_secrets(struct web_token *token, struct web_client *client,
			struct json_object *oauth2, struct error *err)
{
	const struct {
		const char *field;
		char **ret;
	} secrets[] = {
		{ "clientIDSecret", &token->id },
		{ "clientSecretSecret", &token->secret },
		{ "tokenURLSecret", &token->url },
	};

	for (size_t i = 0; i < sizeof(secrets) / sizeof(*secrets); i++) {
		int r = web_client_secret(client, oauth2, secrets[i].field, true, secrets[i].ret,
					  NULL, err);

		if (r < 0)
			return r;
	}
	return 0;
}

static int fill_form(struct web_token *token, struct json_object *oauth2)
{
	struct json_object *scopes = json_get(oauth2, "scopes");
	struct json_object *parameters = json_get(oauth2, "endpointParams");
	_cleanup_buffer_ struct buffer scope = BUFFER_INIT(64 * 1024);
	int r = append_pair(&token->form, "grant_type", "client_credentials");

	for (size_t i = 0; r == 0 && i < json_length(scopes); i++)
		r = buffer_append_format(&scope, "%s%s", i ? " " : "",
					 json_string(json_at(scopes, i), NULL) ?: "");
	if (r == 0 && scope.size > 0)
		r = append_pair(&token->form, "scope", scope.data);
	for (size_t i = 0; r == 0 && i < json_length(parameters); i++)
		r = append_pair(&token->form, json_get_string(json_at(parameters, i), "key", ""),
				json_get_string(json_at(parameters, i), "value", ""));
	return r;
}

static void drop(struct web_token *token)
{
	free(TAKE_PTR(token->scheme));
	secret_free_string(TAKE_PTR(token->value));
}

static void token_free(void *value)
{
	struct web_token *token = value;

	secret_free_string(token->id);
	secret_free_string(token->secret);
	secret_free_string(token->url);
	wipe(&token->form);
	drop(token);
	free(token);
}

/* Tells apart all that a token server may look at, and shows nothing of it. */
static int append_name(const struct web_token *token, struct buffer *name)
{
	const char *const parts[] = { token->url, token->id, token->secret, token->form.data };
	_cleanup_(digest_freep) struct digest *digest = digest_new(DIGEST_SHA256);
	uint8_t hash[DIGEST_SHA256_BYTES];
	char hex[2 * DIGEST_SHA256_BYTES + 1];
	int r = digest ? 0 : -errno;

	for (size_t i = 0; r == 0 && i < sizeof(parts) / sizeof(*parts); i++)
		r = digest_update(digest, parts[i], strlen(parts[i]) + 1);
	if (r == 0)
		r = digest_finish(digest, hash);
	return r < 0 ? r :
		       buffer_append_format(name, "oauth2 %s", digest_hex(hash, sizeof(hash), hex));
}

/* Takes the token, also on failure: the one that was there before comes in its place. */
static int share(struct store_cache *cache, struct web_token *token, struct web_token **ret,
		 struct error *err)
{
	_cleanup_buffer_ struct buffer name = BUFFER_INIT(256);
	int r = append_name(token, &name);
	struct web_token *known = r == 0 ? store_cache_find(cache, name.data) : NULL;

	if (r < 0 || known)
		token_free(token);
	else
		r = store_cache_add(cache, name.data, token, token_free);
	if (r < 0)
		return error_errno(err, r, "oauth2");
	*ret = known ? known : token;
	return 0;
}

int web_token_share(struct web_client *client, struct json_object *oauth2, struct web_token **ret,
		    struct error *err)
{
	struct web_token *token = calloc(1, sizeof(*token));
	int r;

	if (!token)
		return error_set(err, -ENOMEM, "out of memory");
	token->form = BUFFER_INIT(FORM_BYTES_MAX);
	token->is_free = true;
	r = read_secrets(token, client, oauth2, err);
	if (r == 0 && (r = fill_form(token, oauth2)) < 0)
		error_errno(err, r, "oauth2: scopes and endpointParams");
	if (r < 0) {
		token_free(token);
		return r;
	}
	return share(client->context.cache, token, ret, err);
}

/* --- one request -------------------------------------------------------------------------- */

/* "Authorization: Basic …" of the client's identifier and secret, each escaped first. */
static int append_basic(const struct web_token *token, struct buffer *line)
{
	struct buffer plain = BUFFER_INIT(FORM_BYTES_MAX);
	int r = append_escaped(&plain, token->id);

	if (r == 0)
		r = buffer_append(&plain, ":", 1);
	if (r == 0)
		r = append_escaped(&plain, token->secret);
	if (r == 0)
		r = buffer_append_string(line, "Authorization: Basic ");
	if (r == 0)
		r = digest_base64_encode(plain.data, plain.size, line);
	wipe(&plain);
	return r;
}

static int append_body(const struct web_token *token, struct buffer *body)
{
	int r = buffer_append(body, token->form.data, token->form.size);

	if (r == 0 && token->is_in_form)
		r = append_pair(body, "client_id", token->id);
	if (r == 0 && token->is_in_form)
		r = append_pair(body, "client_secret", token->secret);
	return r;
}

static int ask(const struct web_token *token, struct web_client *client, struct retry *retry,
	       struct http_response *response, struct error *err)
{
	struct buffer body = BUFFER_INIT(FORM_BYTES_MAX), basic = BUFFER_INIT(FORM_BYTES_MAX);
	const char *lines[] = { "Content-Type: application/x-www-form-urlencoded",
				"Accept: application/json", NULL, NULL };
	struct http_request request = {
		.method = "POST",
		.url = token->url,
		.headers = lines,
		.body_max = WEB_TOKEN_BYTES_MAX,
		.retry = retry,
	};
	int r = append_body(token, &body);

	if (r == 0 && !token->is_in_form)
		r = append_basic(token, &basic);
	lines[2] = basic.data;
	request.body.data = body.data;
	request.body.size = body.size;
	r = r < 0 ? error_errno(err, r, "make a request for a token") :
		    http_perform(client->context.http, &request, response, err);
	wipe(&body);
	wipe(&basic);
	return r;
}

/* Of what the server says is wrong only the code, which is of a fixed set (RFC 6749, 5.2). */
static int refuse(const struct http_response *response, struct retry *retry, struct error *err)
{
	_cleanup_json_ struct json_object *answer = NULL;
	int status = response->status;
	enum error_class class = ERROR_PERMANENT;
	const char *code;

	if (status == 429)
		class = ERROR_THROTTLED;
	else if (status == 408 || status == 425 || (status >= 500 && status <= 599))
		class = ERROR_TRANSIENT;
	retry->retry_after_ms = retry_after_of(response);
	json_parse(buffer_string(&response->body), response->body.size, "answer", &answer, NULL);
	code = json_get_string(answer, "error", "");
	return error_set_class(err, class == ERROR_PERMANENT ? -EACCES : -EIO, class,
			       "the token server answered: %.64s%sstatus %d (%s)", code,
			       *code ? ", " : "", status, error_class_name(class));
}

static void set_end(struct web_token *to, struct json_object *answer)
{
	int64_t seconds = json_get_int(answer, "expires_in", 0);

	to->expires_ms = 0;
	if (seconds == 0)
		return;
	if (seconds > TOKEN_TIME_MAX_S)
		seconds = TOKEN_TIME_MAX_S;
	else if (seconds < 0)
		seconds = 0;
	to->expires_ms = clock_now_ms() + 1000 * seconds -
			 (seconds < 5 * TOKEN_SPARE_S ? 200 * seconds : 1000 * TOKEN_SPARE_S);
}

static int take(struct web_token *to, const struct http_response *response, struct error *err)
{
	_cleanup_json_ struct json_object *answer = NULL;
	const char *token, *type;
	int r = json_parse(buffer_string(&response->body), response->body.size,
			   "answer of the token server", &answer, NULL);

	token = json_get_string(answer, "access_token", "");
	type = json_get_string(answer, "token_type", "");
	if (r < 0 || !*token)
		return error_set(err, -EPROTO,
				 "the answer of the token server has no access_token");
	if (token[strcspn(token, "\r\n")] || type[strcspn(type, "\r\n")])
		return error_set(err, -EPROTO, "the token server's token has more than one line");
	/* The name of the scheme as it is registered: some servers compare it as it is written. */
	if (*type == '\0' || strcasecmp(type, "bearer") == 0)
		type = "Bearer";
	drop(to);
	to->scheme = strdup(type);
	to->value = sensitive_copy(token);
	if (!to->scheme || !to->value) {
		drop(to);
		return error_set(err, -ENOMEM, "out of memory");
	}
	to->number++;
	set_end(to, answer);
	return 0;
}

static int attempt(struct web_token *token, struct web_client *client, struct retry *retry,
		   struct error *err)
{
	struct http_response response = { 0 };
	int r = ask(token, client, retry, &response, err);

	/* RFC 6749, 5.2: 400 or 401 for credentials that did not come in the way that it expects. */
	if (r == 0 && (response.status == 400 || response.status == 401) && !token->is_in_form) {
		http_response_done(&response);
		token->is_in_form = true;
		r = ask(token, client, retry, &response, err);
		if (r < 0 || response.status / 100 != 2)
			token->is_in_form = false;
	}
	if (r == 0)
		r = response.status / 100 == 2 ? take(token, &response, err) :
						 refuse(&response, retry, err);
	if (response.body.data)
		explicit_bzero(response.body.data, response.body.size);
	http_response_done(&response);
	return r;
}

static void fetch(struct web_token *token, struct web_client *client)
{
	struct error *err = &token->error;
	struct retry retry;
	int r;

	retry_begin(&retry, &client->policy, client->context.loop, client->context.log,
		    "fetch a token");
	do {
		*err = ERROR_NONE;
		r = attempt(token, client, &retry, err);
	} while (r < 0 && retry_again(&retry, err));
}

static bool is_valid(const struct web_token *token)
{
	return token->value && (token->expires_ms == 0 || clock_now_ms() < token->expires_ms);
}

/* Waits for somebody else who is fetching it. 1 = somebody was; 0 = nobody is. */
static int await(struct web_token *token, struct web_client *client, struct error *err)
{
	bool has_waited = false;
	int r;

	while (!token->is_free) {
		has_waited = true;
		r = event_loop_wait(client->context.loop, &token->is_free);
		if (r == -ECANCELED)
			return event_loop_cancelled_error(err);
		if (r < 0)
			return error_errno(err, r, "wait for a token");
	}
	return has_waited;
}

int web_token_use(struct web_token *token, struct web_client *client, struct error *err)
{
	int r = await(token, client, err);

	if (r < 0)
		return r;
	/* What came for all is good for all, and so is why it did not. */
	if (!is_valid(token) && (r == 0 || token->error.code == 0)) {
		token->is_free = false;
		fetch(token, client);
		token->is_free = true;
	}
	if (token->error.code != 0) {
		if (err)
			*err = token->error;
		return error_prefix(err, token->error.code, "fetch an OAuth2 token for %s",
				    client->shown);
	}
	client->token_number = token->number;
	return web_client_authorize(client, token->scheme, token->value, err);
}

void web_token_refuse(struct web_token *token, const struct web_client *client)
{
	if (token->number == client->token_number)
		drop(token);
}
