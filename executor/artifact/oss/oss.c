#include "executor/artifact/oss/oss.h"

#include "executor/artifact/object/store.h"
#include "executor/artifact/oss/client.h"
#include "executor/artifact/oss/identity.h"

#include <errno.h>
#include <stdlib.h>

struct oss_store {
	struct object_store base; /* first */
	struct oss_client client;
};

static void oss_close(struct store *base)
{
	struct oss_store *self = (struct oss_store *)base;

	if (!self)
		return;
	object_client_done(&self->client.base);
	oss_config_done(&self->client.config);
	free(self);
}

static int oss_open(const struct store_context *context, struct json_object *location,
		    struct store **ret, struct error *err)
{
	struct oss_store *self = calloc(1, sizeof(*self));
	struct oss_client *client;
	int r;

	if (!self)
		return error_set(err, -ENOMEM, "out of memory");
	client = &self->client;
	self->base.store.operations = &oss_store_operations;
	self->base.client = &client->base;
	r = object_client_init(&client->base, &oss_protocol, context, err);
	if (r == 0)
		r = oss_config_parse(&client->config, location, context, err);
	if (r == 0 && client->config.want_chain)
		r = object_chain_share(&client->base.context, "oss keys", oss_identity_new, NULL,
				       &client->chain, err);
	if (r < 0) {
		oss_close(&self->base.store);
		return r;
	}
	client->is_v1 = client->config.region[0] == '\0';
	client->base.bucket = client->config.bucket;
	client->base.key = client->config.key;
	*ret = &self->base.store;
	return 0;
}

const struct store_operations oss_store_operations = {
	.type = "oss",
	.open = oss_open,
	.close = oss_close,
	.get = object_store_get,
	.get_done = object_store_get_done,
	.list = object_store_list,
	.get_below = object_store_get_below,
	.put_file = object_store_put_file,
	.put_directory = object_store_put_directory,
	.put_stream = object_store_put_stream,
	.put_stream_done = object_store_put_stream_done,
	.remove = object_store_remove,
	.remove_all = object_store_remove_all,
	.sweep = object_store_sweep,
};
