#include "executor/artifact/http/http.h"

#include "executor/artifact/http/client.h"
#include "executor/artifact/http/token.h"
#include "executor/artifact/secret.h"

#include <errno.h>
#include <string.h>

static int add_headers(struct web_client *client, struct json_object *headers, struct error *err)
{
	int r = 0;

	for (size_t i = 0; r == 0 && i < json_length(headers); i++)
		r = web_client_add_header(client, json_get_string(json_at(headers, i), "name", ""),
					  json_get_string(json_at(headers, i), "value", ""), err);
	return r;
}

/* Only with both: an empty password is nobody's. */
static int use_basic(struct web_client *client, struct json_object *basic, struct error *err)
{
	char *user = NULL, *password = NULL;
	int r = web_client_secret(client, basic, "usernameSecret", true, &user, NULL, err);

	if (r == 0)
		r = web_client_secret(client, basic, "passwordSecret", true, &password, NULL, err);
	if (r == 0 && user && *user && password && *password)
		r = web_client_authorize_basic(client, user, password, err);
	secret_free_string(user);
	secret_free_string(password);
	return r;
}

static int use_certificate(struct web_client *client, struct json_object *certificate,
			   struct error *err)
{
	struct http_tls *tls = &client->tls;
	int r = web_client_secret(client, certificate, "clientCertSecret", false,
				  (char **)&tls->client_cert_pem, &tls->client_cert_pem_size, err);

	if (r == 0)
		r = web_client_secret(client, certificate, "clientKeySecret", false,
				      (char **)&tls->client_key_pem, &tls->client_key_pem_size,
				      err);
	/* A proxy between would be the one who sees the certificate. */
	client->is_direct = true;
	return r;
}

static bool has_all(struct json_object *object, const char *const *fields)
{
	while (*fields && json_get(object, *fields))
		fields++;
	return *fields == NULL;
}

/* A certificate comes before a token; user and password go with either, a token in their place. */
static int use_credentials(struct web_client *client, struct json_object *auth, struct error *err)
{
	static const char *const pair[] = { "clientCertSecret", "clientKeySecret", NULL };
	static const char *const grant[] = { "clientIDSecret", "clientSecretSecret",
					     "tokenURLSecret", NULL };
	struct json_object *certificate = json_get(auth, "clientCert");
	struct json_object *oauth2 = json_get(auth, "oauth2");
	int r = use_basic(client, json_get(auth, "basicAuth"), err);

	if (r < 0)
		return r;
	if (has_all(certificate, pair))
		return use_certificate(client, certificate, err);
	if (!has_all(oauth2, grant))
		return 0;
	secret_free_string(TAKE_PTR(client->authorization));
	return web_token_share(client, oauth2, &client->token, err);
}

static int http_open(const struct store_context *context, struct json_object *location,
		     struct store **ret, struct error *err)
{
	_cleanup_web_client_ struct web_client *client = NULL;
	int r = web_client_new(&http_store_operations, context,
			       json_get_string(location, "url", ""), &client, err);

	if (r == 0)
		r = add_headers(client, json_get(location, "headers"), err);
	if (r == 0)
		r = use_credentials(client, json_get(location, "auth"), err);
	if (r < 0)
		return error_prefix(err, r, "http");
	*ret = &TAKE_PTR(client)->store;
	return 0;
}

const struct store_operations http_store_operations = {
	.type = "http",
	.open = http_open,
	WEB_OPERATIONS,
};
