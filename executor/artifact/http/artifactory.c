#include "executor/artifact/http/artifactory.h"

#include "executor/artifact/http/client.h"
#include "executor/artifact/secret.h"

#include <errno.h>

static int read_required(const struct web_client *client, struct json_object *location,
			 const char *field, char **ret, struct error *err)
{
	int r = web_client_secret(client, location, field, true, ret, NULL, err);

	return r == 0 && !*ret ? error_set(err, -EINVAL, "%s: is required", field) : r;
}

static int artifactory_open(const struct store_context *context, struct json_object *location,
			    struct store **ret, struct error *err)
{
	_cleanup_web_client_ struct web_client *client = NULL;
	char *user = NULL, *password = NULL;
	int r = web_client_new(&artifactory_store_operations, context,
			       json_get_string(location, "url", ""), &client, err);

	if (r == 0)
		r = read_required(client, location, "usernameSecret", &user, err);
	if (r == 0)
		r = read_required(client, location, "passwordSecret", &password, err);
	if (r == 0)
		r = web_client_authorize_basic(client, user, password, err);
	secret_free_string(user);
	secret_free_string(password);
	if (r < 0)
		return error_prefix(err, r, "artifactory");
	*ret = &TAKE_PTR(client)->store;
	return 0;
}

const struct store_operations artifactory_store_operations = {
	.type = "artifactory",
	.open = artifactory_open,
	WEB_OPERATIONS,
};
