#include "executor/artifact/s3/s3.h"

#include "executor/artifact/object/store.h"
#include "executor/artifact/s3/client.h"

#include <errno.h>
#include <stdlib.h>

struct s3_store {
	struct object_store base; /* first */
	struct s3_client client;
};

static void s3_close(struct store *base)
{
	struct s3_store *self = (struct s3_store *)base;

	if (!self)
		return;
	s3_client_done(&self->client);
	free(self);
}

static int s3_open(const struct store_context *context, struct json_object *location,
		   struct store **ret, struct error *err)
{
	struct s3_store *self = calloc(1, sizeof(*self));
	struct s3_client *client;
	int r;

	if (!self)
		return error_set(err, -ENOMEM, "out of memory");
	client = &self->client;
	self->base.store.operations = &s3_store_operations;
	self->base.client = &client->base;
	r = object_client_init(&client->base, &s3_protocol, context, err);
	if (r == 0)
		r = s3_config_parse(&client->config, location, context, err);
	if (r == 0)
		r = s3_labels_from_environment(&client->labels, err);
	if (r == 0)
		r = s3_client_share(client, err);
	if (r < 0) {
		s3_close(&self->base.store);
		return r;
	}
	client->base.bucket = client->config.bucket;
	client->base.key = client->config.key;
	*ret = &self->base.store;
	return 0;
}

const struct store_operations s3_store_operations = {
	.type = "s3",
	.open = s3_open,
	.close = s3_close,
	.get = object_store_get,
	.get_done = object_store_get_done,
	.list = object_store_list,
	.get_below = object_store_get_below,
	.put_file = object_store_put_file,
	.put_stream = object_store_put_stream,
	.put_stream_done = object_store_put_stream_done,
	.remove = object_store_remove,
	.remove_all = object_store_remove_all,
	.sweep = object_store_sweep,
};
