#include "executor/artifact/object/keys.h"

#include "executor/artifact/object/field.h"
#include "executor/artifact/secret.h"
#include "executor/base/sensitive.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

void object_keys_done(struct object_keys *keys)
{
	secret_free_string(keys->access_key);
	secret_free_string(keys->secret_key);
	secret_free_string(keys->token);
	*keys = (struct object_keys){ 0 };
}

int object_keys_check(const struct object_keys *keys, struct error *err)
{
	if (field_has_control(keys->access_key) || field_has_control(keys->token))
		return error_set(err, -EINVAL, "access key or token contains control characters");
	return 0;
}

int object_keys_set(struct object_keys *keys, const char *access_key, const char *secret_key,
		    const char *token, struct error *err)
{
	int r;

	*keys = (struct object_keys){ 0 };
	if (*access_key == '\0' || *secret_key == '\0')
		return error_set(err, -EINVAL, "the access key or its secret is missing");
	keys->access_key = sensitive_copy(access_key);
	keys->secret_key = sensitive_copy(secret_key);
	keys->token = *token ? sensitive_copy(token) : NULL;
	if (!keys->access_key || !keys->secret_key || (*token && !keys->token))
		r = error_set(err, -ENOMEM, "out of memory");
	else
		r = object_keys_check(keys, err);
	if (r < 0)
		object_keys_done(keys);
	return r;
}

int object_keys_read(struct object_keys *keys, struct json_object *location,
		     const struct store_context *context, struct error *err)
{
	int r = secret_read(context, location, "accessKeySecret", true, &keys->access_key, NULL,
			    err);

	return r < 0 ? r :
		       secret_read(context, location, "secretKeySecret", true, &keys->secret_key,
				   NULL, err);
}
