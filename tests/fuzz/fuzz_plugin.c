/*
 * What an artifact plugin answers, and what it is asked. The first byte says what the rest is: f, the body
 * of an answer, with its frame; t, the text of a refusal; j, an artifact as JSON; anything else, a message.
 * Required: every field lies in the message, behind the one before; what is read of a message and written
 * again is read as the same; success is what the last field says; a refusal is a line; and whoever reads
 * what we ask finds the members of the artifact.
 */
#include "executor/artifact/plugin/grpc.h"
#include "executor/artifact/plugin/message.h"
#include "executor/artifact/plugin/protobuf.h"
#include "executor/base/cleanup.h"
#include "tests/fuzz/fuzz.h"
#include "tests/fuzz/targets.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

#define REQUEST_BYTES_MAX (1024 * 1024)
#define NUMBER_MAX ((1u << 29) - 1)
/* Also of one with zeros in front, which says no more than a short one. */
#define VARINT_BYTES_MAX 10
#define PATH "/tmp/x"

static struct protobuf_reader reader_of(const char *data, size_t size)
{
	return (struct protobuf_reader){ .data = (const unsigned char *)data, .size = size };
}

/* Where the field lies: behind what was read before, and before what is left. */
static void check_field(const struct protobuf_reader *before, const struct protobuf_reader *after,
			const struct protobuf_field *field)
{
	size_t used = before->size - after->size;

	fuzz_require(after->size < before->size && after->data == before->data + used);
	fuzz_require(field->number >= 1 && field->number <= NUMBER_MAX);
	switch (field->type) {
	case PROTOBUF_VARINT:
		fuzz_require(used >= 2 && used <= 2 * VARINT_BYTES_MAX);
		break;
	case PROTOBUF_FIXED32:
		fuzz_require(used >= 1 + 4 && used <= VARINT_BYTES_MAX + 4);
		break;
	case PROTOBUF_FIXED64:
		fuzz_require(used >= 1 + 8 && used <= VARINT_BYTES_MAX + 8);
		break;
	case PROTOBUF_BYTES:
		fuzz_require(field->data + field->size == (const char *)after->data);
		fuzz_require(field->size < used);
		break;
	}
}

/* Numbers and bytes are written by ourselves, too; what has its default is left out. */
static void check_written(const struct protobuf_field *field)
{
	_cleanup_buffer_ struct buffer out = BUFFER_INIT(REQUEST_BYTES_MAX);
	struct protobuf_field again;
	struct protobuf_reader reader;
	bool is_number = field->type == PROTOBUF_VARINT;

	if (!is_number && field->type != PROTOBUF_BYTES)
		return;
	if (is_number)
		fuzz_require(protobuf_add_integer(&out, field->number, (int64_t)field->value) == 0);
	else
		fuzz_require(protobuf_add_bytes(&out, field->number, field->data, field->size) ==
			     0);
	reader = reader_of(out.data, out.size);
	if (is_number ? field->value == 0 : field->size == 0) {
		fuzz_require(out.size == 0);
		return;
	}
	fuzz_require(protobuf_next(&reader, &again) == 1 && reader.size == 0);
	fuzz_require(again.number == field->number && again.type == field->type);
	fuzz_require(again.value == field->value && again.size == field->size);
	fuzz_require(is_number || memcmp(again.data, field->data, field->size) == 0);
}

static void check_message(const char *data, size_t size)
{
	struct protobuf_reader reader = reader_of(data, size), before = reader;
	struct protobuf_field field;
	const struct buffer response = { .data = (char *)data, .size = size };
	struct error err = ERROR_NONE;
	bool is_success = false;
	int r, judged;

	for (; (r = protobuf_next(&reader, &field)) > 0; before = reader) {
		check_field(&before, &reader, &field);
		check_written(&field);
		if (field.number == 1 && field.type == PROTOBUF_VARINT)
			is_success = field.value != 0;
	}
	fuzz_require(r == -EBADMSG || (r == 0 && reader.size == 0));
	judged = message_judge_response(&response, &err);
	fuzz_require(judged == (r < 0 ? r : is_success ? 0 : -EREMOTEIO));
	if (judged < 0)
		fuzz_check_error(judged, &err);
}

static void check_frame(const char *data, size_t size)
{
	const struct buffer body = { .data = (char *)data, .size = size };
	struct error err = ERROR_NONE;
	const char *message = NULL;
	size_t message_size = 0;
	int r = grpc_unframe(&body, &message, &message_size, &err);

	if (r < 0) {
		fuzz_check_error(r, &err);
		fuzz_require(!message);
		return;
	}
	fuzz_require(message > data && message + message_size == data + size);
	check_message(message, message_size);
}

/* Decoding makes nothing longer, and leaves what has nothing to decode. */
static void check_text(const char *data, size_t size)
{
	_cleanup_free_ char *text = fuzz_text(data, size), *before = fuzz_text(data, size);

	grpc_decode_message(text);
	fuzz_require(strlen(text) <= strlen(before));
	fuzz_require(strchr(before, '%') || strcmp(text, before) == 0);
}

/* The member of that number in an artifact as it was encoded; NULL if it was left out. */
static const char *find(const char *data, size_t size, unsigned number, size_t *ret_size)
{
	struct protobuf_reader reader = reader_of(data, size);
	struct protobuf_field field;
	const char *found = NULL;
	int r;

	while ((r = protobuf_next(&reader, &field)) > 0)
		if (field.number == number && field.type == PROTOBUF_BYTES) {
			fuzz_require(!found);
			found = field.data;
			*ret_size = field.size;
		}
	fuzz_require(r == 0);
	return found;
}

static void check_request(struct json_object *artifact, unsigned artifact_number,
			  unsigned path_number,
			  int (*encode)(struct json_object *, const char *, struct buffer *))
{
	_cleanup_buffer_ struct buffer out = BUFFER_INIT(REQUEST_BYTES_MAX);
	size_t size = 0, name_size = 0, expected_size = 0;
	const char *message, *name, *expected;

	fuzz_require(encode(artifact, PATH, &out) == 0);
	message = find(out.data, out.size, path_number, &size);
	fuzz_require(path_number == 0 || (message && size == strlen(PATH)));
	message = find(out.data, out.size, artifact_number, &size);
	fuzz_require(message);
	expected = json_string(json_get(artifact, "name"), &expected_size);
	name = find(message, size, 1, &name_size);
	fuzz_require(!name == (expected_size == 0));
	fuzz_require(!name || (name_size == expected_size && !memcmp(name, expected, name_size)));
	message = find(message, size, 5, &size);
	fuzz_require(!message == !json_get(artifact, "plugin"));
	if (message)
		find(message, size, 1, &name_size);
}

static void check_artifact(const char *data, size_t size)
{
	_cleanup_json_ struct json_object *artifact = NULL;

	if (json_parse(data, size, "artifact", &artifact, NULL) < 0)
		return;
	check_request(artifact, 1, 2, message_load_request);
	check_request(artifact, 2, 1, message_save_request);
	check_request(artifact, 1, 0, message_delete_request);
}

void fuzz_plugin(const char *data, size_t size)
{
	struct fuzz_input input = { data, size };
	unsigned char kind = fuzz_take_byte(&input);
	/* A block of its own, so that a sanitizer sees every byte too many. */
	_cleanup_free_ char *rest = malloc(input.size ?: 1);

	fuzz_require(rest);
	memcpy(rest, input.data, input.size);
	if (kind == 'f')
		check_frame(rest, input.size);
	else if (kind == 't')
		check_text(rest, input.size);
	else if (kind == 'j')
		check_artifact(rest, input.size);
	else
		check_message(rest, input.size);
}
