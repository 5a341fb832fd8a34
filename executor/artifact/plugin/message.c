#include "executor/artifact/plugin/message.h"

#include "executor/artifact/plugin/protobuf.h"

#include <errno.h>
#include <string.h>

enum kind { TEXT, INTEGER, TRUTH, OBJECT };

/* A message's field, and the member of the JSON object that it is filled from. */
struct field {
	unsigned number;
	enum kind kind;
	const char *member;
	const struct field *fields; /* of an OBJECT; ended by number 0 */
};

static const struct field plugin_artifact[] = {
	{ 1, TEXT, "name", NULL },
	{ 2, TEXT, "configuration", NULL },
	{ 3, INTEGER, "connectionTimeoutSeconds", NULL },
	{ 4, TEXT, "key", NULL },
	{ 0 },
};

static const struct field artifact[] = {
	{ 1, TEXT, "name", NULL },
	{ 2, TEXT, "path", NULL },
	{ 3, INTEGER, "mode", NULL },
	{ 4, TEXT, "from", NULL },
	{ 5, OBJECT, "plugin", plugin_artifact },
	{ 6, TRUTH, "optional", NULL },
	{ 7, TEXT, "subPath", NULL },
	{ 8, TRUTH, "recurseMode", NULL },
	{ 9, TEXT, "fromExpression", NULL },
	{ 10, TRUTH, "deleted", NULL },
	{ 0 },
};

static int add_object(struct buffer *out, unsigned number, const struct field *fields,
		      struct json_object *object);

static int add_field(struct buffer *out, const struct field *field, struct json_object *object)
{
	struct json_object *value = json_get(object, field->member);
	size_t size = 0;
	const char *text;

	switch (field->kind) {
	case TEXT:
		text = json_string(value, &size);
		return protobuf_add_bytes(out, field->number, text, text ? size : 0);
	case INTEGER:
		return protobuf_add_integer(out, field->number,
					    json_get_int(object, field->member, 0));
	case TRUTH:
		return protobuf_add_integer(out, field->number,
					    json_get_bool(object, field->member, false));
	case OBJECT:
		break;
	}
	return value ? add_object(out, field->number, field->fields, value) : 0;
}

static int add_object(struct buffer *out, unsigned number, const struct field *fields,
		      struct json_object *object)
{
	_cleanup_buffer_ struct buffer message = BUFFER_INIT(out->max);
	int r = 0;

	for (; r == 0 && fields->number; fields++)
		r = add_field(&message, fields, object);
	return r < 0 ? r : protobuf_add_message(out, number, &message);
}

int message_load_request(struct json_object *object, const char *path, struct buffer *out)
{
	int r = add_object(out, 1, artifact, object);

	return r < 0 ? r : protobuf_add_bytes(out, 2, path, strlen(path));
}

int message_save_request(struct json_object *object, const char *path, struct buffer *out)
{
	int r = protobuf_add_bytes(out, 1, path, strlen(path));

	return r < 0 ? r : add_object(out, 2, artifact, object);
}

int message_delete_request(struct json_object *object, const char *path, struct buffer *out)
{
	(void)path;
	return add_object(out, 1, artifact, object);
}

int message_judge_response(const struct buffer *response, struct error *err)
{
	struct protobuf_reader reader = { .data = (const unsigned char *)response->data,
					  .size = response->size };
	struct protobuf_field field, text = { .data = "", .size = 0 };
	bool is_success = false;
	int r;

	while ((r = protobuf_next(&reader, &field)) > 0) {
		if (field.number == 1 && field.type == PROTOBUF_VARINT)
			is_success = field.value != 0;
		else if (field.number == 2 && field.type == PROTOBUF_BYTES)
			text = field;
	}
	if (r < 0)
		return error_set(err, r, "the answer is malformed");
	if (is_success)
		return 0;
	if (text.size > ERROR_MESSAGE_MAX)
		text.size = ERROR_MESSAGE_MAX;
	error_set(err, -EREMOTEIO, "%.*s", (int)text.size, text.data);
	/* A NUL ends it, and half a character in front of that is dropped. */
	if (err && !*err->message)
		error_set(err, -EREMOTEIO, "no reason was given");
	return -EREMOTEIO;
}
