#include "executor/artifact/object/store.h"

#include "executor/artifact/object/content_type.h"
#include "executor/artifact/object/get.h"
#include "executor/artifact/object/leftover.h"
#include "executor/artifact/object/list.h"
#include "executor/artifact/object/put_file.h"
#include "executor/artifact/object/put_stream.h"
#include "executor/artifact/object/remove.h"
#include "executor/base/cleanup.h"
#include "executor/base/path.h"
#include "executor/base/text.h"

#include <errno.h>
#include <stdio.h>
#include <string.h>

static struct object_client *client_of(struct store *base)
{
	return ((struct object_store *)base)->client;
}

static int check_key(const struct object_client *client, struct error *err)
{
	return client->key[0] ?
		       0 :
		       error_set(err, -EINVAL, "%s: key: is required", client->protocol->type);
}

/* --- Reading ---------------------------------------------------------------------------------- */

int object_store_get(struct store *base, struct reader **ret, int64_t *ret_size, struct error *err)
{
	struct object_client *client = client_of(base);
	int r = check_key(client, err);

	return r < 0 ? r : object_get(client, client->key, ret, ret_size, err);
}

void object_store_get_done(struct store *base, struct reader *reader)
{
	(void)base;
	object_get_done(reader);
}

int object_store_list(struct store *base,
		      int (*visit)(void *context, const char *relative, int64_t size,
				   struct error *err),
		      void *context, struct error *err)
{
	struct object_client *client = client_of(base);
	_cleanup_free_ char *prefix = object_list_prefix(client->key);

	if (!prefix)
		return error_set(err, -ENOMEM, "out of memory");
	return object_list(client, prefix, visit, context, err);
}

int object_store_get_below(struct store *base, const char *relative, struct reader **ret,
			   int64_t *ret_size, struct error *err)
{
	struct object_client *client = client_of(base);
	_cleanup_free_ char *prefix = object_list_prefix(client->key);
	_cleanup_free_ char *key = NULL;

	if (!object_list_is_safe(relative))
		return error_set(err, -EINVAL, "illegal object key '%s'", relative);
	if (!prefix || asprintf(&key, "%s%s", prefix, relative) < 0)
		return error_set(err, -ENOMEM, "out of memory");
	return object_get(client, key, ret, ret_size, err);
}

/* --- Writing ---------------------------------------------------------------------------------- */

static int prepare_put(struct object_client *client, struct error *err)
{
	int r = check_key(client, err);

	return r < 0 ? r : object_client_make_ready(client, true, err);
}

static int key_below(const struct object_client *client, const char *relative, const char *suffix,
		     char **ret, struct error *err)
{
	_cleanup_free_ char *key = *relative ? path_join(client->key, relative) :
					       strdup(client->key);

	if (!key || asprintf(ret, "%s%s", key, text_has_suffix(key, "/") ? "" : suffix) < 0) {
		*ret = NULL;
		return error_set(err, -ENOMEM, "out of memory");
	}
	if (strlen(*ret) > OBJECT_KEY_BYTES_MAX)
		return error_set(err, -ENAMETOOLONG, "put object %s/%s: key longer than %d bytes",
				 client->bucket, *ret, OBJECT_KEY_BYTES_MAX);
	return 0;
}

int object_store_put_file(struct store *base, const char *relative, int fd, uint64_t size,
			  const char *name, struct error *err)
{
	struct object_client *client = client_of(base);
	_cleanup_free_ char *key = NULL;
	int r = prepare_put(client, err);

	if (r == 0)
		r = key_below(client, relative, "", &key, err);
	return r < 0 ? r : object_put_file(client, key, object_content_type(name), fd, size, err);
}

int object_store_put_directory(struct store *base, const char *relative, struct error *err)
{
	const struct http_body nothing = { .data = "" };
	struct object_client *client = client_of(base);
	_cleanup_free_ char *key = NULL;
	int r = prepare_put(client, err);

	if (r == 0)
		r = key_below(client, relative, "/", &key, err);
	return r < 0 ? r : object_put_object(client, key, NULL, &nothing, err);
}

int object_store_put_stream(struct store *base, const char *name, struct writer **ret,
			    struct error *err)
{
	struct object_client *client = client_of(base);
	int r = prepare_put(client, err);

	return r < 0 ? r :
		       object_put_stream(client, client->key, object_content_type(name), ret, err);
}

void object_store_put_stream_done(struct store *base, struct writer *writer)
{
	(void)base;
	object_put_stream_done(writer);
}

/* --- Removing --------------------------------------------------------------------------------- */

int object_store_remove(struct store *base, const char *relative, struct error *err)
{
	struct object_client *client = client_of(base);
	_cleanup_free_ char *key = NULL;
	int r = check_key(client, err);

	if (r == 0)
		r = key_below(client, relative, "", &key, err);
	return r < 0 ? r : object_remove(client, key, err);
}

int object_store_remove_all(struct store *base, const struct store_removal *removal,
			    struct error *err)
{
	return object_remove_all(client_of(base), removal, err);
}

/* --- Cleaning up ------------------------------------------------------------------------------ */

int object_store_sweep(struct store *base, bool is_below_too, struct error *err)
{
	struct object_client *client = client_of(base);
	int r = check_key(client, err);

	return r < 0 ? r : object_leftover_sweep(client, is_below_too, err);
}
