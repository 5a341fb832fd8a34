#include "executor/artifact/raw.h"

#include <errno.h>
#include <stdlib.h>

struct raw_store {
	struct store store;
	struct json_object *location; /* keeps `data` alive */
	const char *data;
	size_t size;
};

static void raw_close(struct store *base)
{
	struct raw_store *self = (struct raw_store *)base;

	if (!self)
		return;
	json_free(self->location);
	free(self);
}

static int raw_open(const struct store_context *context, struct json_object *location,
		    struct store **ret, struct error *err)
{
	struct json_object *data = json_get(location, "data");
	struct raw_store *self;

	(void)context;
	if (data && !json_is_string(data))
		return error_set(err, -EINVAL, "raw: data: expected a string, found %s",
				 json_kind_name(data));
	self = calloc(1, sizeof(*self));
	if (!self)
		return error_set(err, -ENOMEM, "out of memory");
	self->store.operations = &raw_store_operations;
	self->location = json_ref(location);
	self->data = data ? json_string(data, &self->size) : "";
	*ret = &self->store;
	return 0;
}

static int raw_get(struct store *base, struct reader **ret, int64_t *ret_size, struct error *err)
{
	struct raw_store *self = (struct raw_store *)base;
	struct memory_reader *reader = malloc(sizeof(*reader));

	if (!reader)
		return error_set(err, -ENOMEM, "out of memory");
	memory_reader_init(reader, self->data, self->size);
	*ret = &reader->reader;
	*ret_size = (int64_t)self->size;
	return 0;
}

static void raw_get_done(struct store *base, struct reader *reader)
{
	(void)base;
	free(reader);
}

const struct store_operations raw_store_operations = {
	.type = "raw",
	.open = raw_open,
	.close = raw_close,
	.get = raw_get,
	.get_done = raw_get_done,
};
