#include "executor/artifact/s3/s3.h"

#include "executor/artifact/s3/bucket.h"
#include "executor/artifact/s3/content_type.h"
#include "executor/artifact/s3/get.h"
#include "executor/artifact/s3/list.h"
#include "executor/artifact/s3/put_file.h"
#include "executor/artifact/s3/put_stream.h"
#include "executor/base/cleanup.h"
#include "executor/base/path.h"

#include <errno.h>
#include <string.h>

struct s3_store {
	struct store store;
	struct s3_client client;
	struct transient_pattern *transient; /* the policy's */
	bool is_bucket_ready;
};

static struct s3_client *client_of(struct store *base)
{
	return &((struct s3_store *)base)->client;
}

static void s3_close(struct store *base)
{
	if (!base)
		return;
	s3_config_done(&client_of(base)->config);
	transient_pattern_free(((struct s3_store *)base)->transient);
	free(base);
}

static int s3_open(const struct store_context *context, struct json_object *location,
		   struct store **ret, struct error *err)
{
	struct s3_store *self = calloc(1, sizeof(*self));
	int r;

	if (!self)
		return error_set(err, -ENOMEM, "out of memory");
	self->store.operations = &s3_store_operations;
	self->client.context = *context;
	r = retry_policy_from_environment(&self->client.policy, err);
	if (r == 0)
		r = transient_pattern_from_environment(&self->transient, err);
	self->client.policy.transient = self->transient;
	self->client.policy.on_retry = context->observer.retried;
	self->client.policy.context = context->observer.context;
	if (r == 0)
		r = s3_config_parse(&self->client.config, location, context->secret_directory, err);
	if (r < 0) {
		s3_close(&self->store);
		return r;
	}
	*ret = &self->store;
	return 0;
}

static int check_key(const struct s3_client *client, struct error *err)
{
	return client->config.key[0] ? 0 : error_set(err, -EINVAL, "s3: key: is required");
}

/* --- Reading ---------------------------------------------------------------------------------- */

static int get(struct store *base, struct reader **ret, int64_t *ret_size, struct error *err)
{
	struct s3_client *client = client_of(base);
	int r = check_key(client, err);

	return r < 0 ? r : s3_get(client, client->config.key, ret, ret_size, err);
}

static void get_done(struct store *base, struct reader *reader)
{
	(void)base;
	s3_get_done(reader);
}

static int list(struct store *base,
		int (*visit)(void *context, const char *relative, int64_t size, struct error *err),
		void *context, struct error *err)
{
	struct s3_client *client = client_of(base);
	_cleanup_free_ char *prefix = s3_list_prefix(client->config.key);

	if (!prefix)
		return error_set(err, -ENOMEM, "out of memory");
	return s3_list(client, prefix, visit, context, err);
}

static int get_below(struct store *base, const char *relative, struct reader **ret,
		     int64_t *ret_size, struct error *err)
{
	struct s3_client *client = client_of(base);
	_cleanup_free_ char *prefix = s3_list_prefix(client->config.key);
	_cleanup_free_ char *key = NULL;

	if (!s3_list_is_safe(relative))
		return error_set(err, -EINVAL, "illegal object key '%s'", relative);
	if (!prefix || asprintf(&key, "%s%s", prefix, relative) < 0)
		return error_set(err, -ENOMEM, "out of memory");
	return s3_get(client, key, ret, ret_size, err);
}

/* --- Writing ---------------------------------------------------------------------------------- */

/* What comes before the first request that stores something. */
static int prepare_put(struct store *base, struct error *err)
{
	struct s3_store *self = (struct s3_store *)base;
	int r = check_key(&self->client, err);

	if (r == 0 && self->client.config.want_bucket && !self->is_bucket_ready) {
		r = s3_bucket_create(&self->client, err);
		self->is_bucket_ready = r == 0;
	}
	return r < 0 ? r : s3_client_find_region(&self->client, err);
}

static int put_file(struct store *base, const char *relative, int fd, uint64_t size,
		    const char *name, struct error *err)
{
	struct s3_client *client = client_of(base);
	_cleanup_free_ char *key = NULL;
	int r = prepare_put(base, err);

	if (r < 0)
		return r;
	key = *relative ? path_join(client->config.key, relative) : strdup(client->config.key);
	if (!key)
		return error_set(err, -ENOMEM, "out of memory");
	if (strlen(key) > S3_KEY_BYTES_MAX)
		return error_set(err, -ENAMETOOLONG, "put object %s/%s: key longer than %d bytes",
				 client->config.bucket, key, S3_KEY_BYTES_MAX);
	return s3_put_file(client, key, s3_content_type(name), fd, size, err);
}

static int put_stream(struct store *base, const char *name, struct writer **ret, struct error *err)
{
	struct s3_client *client = client_of(base);
	int r = prepare_put(base, err);

	return r < 0 ? r :
		       s3_put_stream(client, client->config.key, s3_content_type(name), ret, err);
}

static void put_stream_done(struct store *base, struct writer *writer)
{
	(void)base;
	s3_put_stream_done(writer);
}

const struct store_operations s3_store_operations = {
	.type = "s3",
	.open = s3_open,
	.close = s3_close,
	.get = get,
	.get_done = get_done,
	.list = list,
	.get_below = get_below,
	.put_file = put_file,
	.put_stream = put_stream,
	.put_stream_done = put_stream_done,
};
