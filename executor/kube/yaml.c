#include "executor/kube/yaml.h"

#include <errno.h>
#include <string.h>
#include <yaml.h>

struct yaml_reader {
	yaml_parser_t parser;
	const char *what;
	unsigned values;
};

static int fail_at(const struct yaml_reader *reader, size_t line, const char *why,
		   struct error *err)
{
	return error_set(err, -EINVAL, "%s:%zu: not valid YAML: %s", reader->what, line + 1, why);
}

static int next_event(struct yaml_reader *reader, yaml_event_t *event, struct error *err)
{
	const yaml_parser_t *parser = &reader->parser;

	if (yaml_parser_parse(&reader->parser, event))
		return 0;
	memset(event, 0, sizeof(*event));
	if (parser->error == YAML_MEMORY_ERROR)
		return error_set(err, -ENOMEM, "%s: out of memory", reader->what);
	return fail_at(reader, parser->problem_mark.line,
		       parser->problem ? parser->problem : "unreadable", err);
}

static int scalar_value(const yaml_event_t *event, struct json_object **ret)
{
	const char *s = (const char *)event->data.scalar.value;
	size_t size = event->data.scalar.length;
	bool is_plain = event->data.scalar.style == YAML_PLAIN_SCALAR_STYLE;

	*ret = NULL;
	if (is_plain && (size == 0 || !strcmp(s, "~") || !strcasecmp(s, "null")))
		return 0;
	if (is_plain && (!strcasecmp(s, "true") || !strcasecmp(s, "false")))
		*ret = json_new_bool(s[0] == 't' || s[0] == 'T');
	else
		*ret = json_new_string(s, size);
	return *ret ? 0 : -ENOMEM;
}

static const yaml_char_t *anchor_of(const yaml_event_t *event)
{
	switch (event->type) {
	case YAML_ALIAS_EVENT:
		return event->data.alias.anchor;
	case YAML_SCALAR_EVENT:
		return event->data.scalar.anchor;
	case YAML_SEQUENCE_START_EVENT:
		return event->data.sequence_start.anchor;
	case YAML_MAPPING_START_EVENT:
		return event->data.mapping_start.anchor;
	default:
		return NULL;
	}
}

static int read_value(struct yaml_reader *reader, const yaml_event_t *event, unsigned depth,
		      struct json_object **ret, struct error *err);

/* A NULL value is YAML's null: readers of JSON see no difference between that and absence. */
static int read_mapping(struct yaml_reader *reader, unsigned depth, struct json_object *into,
			struct error *err)
{
	for (;;) {
		_cleanup_(yaml_event_delete) yaml_event_t key = { 0 };
		_cleanup_(yaml_event_delete) yaml_event_t event = { 0 };
		struct json_object *value = NULL;
		int r = next_event(reader, &key, err);

		if (r < 0)
			return r;
		if (key.type == YAML_MAPPING_END_EVENT)
			return 0;
		if (key.type != YAML_SCALAR_EVENT)
			return fail_at(reader, key.start_mark.line, "a key must be a plain word",
				       err);
		if (strlen((const char *)key.data.scalar.value) != key.data.scalar.length)
			return fail_at(reader, key.start_mark.line, "NUL in a key", err);
		if (!strcmp((const char *)key.data.scalar.value, "<<") || anchor_of(&key))
			return fail_at(reader, key.start_mark.line,
				       "anchors and merge keys are not accepted", err);
		r = next_event(reader, &event, err);
		if (r == 0)
			r = read_value(reader, &event, depth, &value, err);
		if (r == 0 && value &&
		    json_set(into, (const char *)key.data.scalar.value, value) < 0)
			r = error_set(err, -ENOMEM, "%s: out of memory", reader->what);
		if (r < 0)
			return r;
	}
}

static int read_sequence(struct yaml_reader *reader, unsigned depth, struct json_object *into,
			 struct error *err)
{
	for (;;) {
		_cleanup_(yaml_event_delete) yaml_event_t event = { 0 };
		struct json_object *value = NULL;
		int r = next_event(reader, &event, err);

		if (r < 0)
			return r;
		if (event.type == YAML_SEQUENCE_END_EVENT)
			return 0;
		r = read_value(reader, &event, depth, &value, err);
		if (r == 0 && value && json_append(into, value) < 0)
			r = error_set(err, -ENOMEM, "%s: out of memory", reader->what);
		if (r < 0)
			return r;
	}
}

static int read_value(struct yaml_reader *reader, const yaml_event_t *event, unsigned depth,
		      struct json_object **ret, struct error *err)
{
	_cleanup_json_ struct json_object *value = NULL;
	size_t line = event->start_mark.line;
	int r;

	if (anchor_of(event))
		return fail_at(reader, line,
			       "anchors and aliases are not accepted, write the value out", err);
	if (depth >= JSON_DEPTH_MAX)
		return fail_at(reader, line, "nested too deeply", err);
	if (++reader->values > YAML_VALUES_MAX)
		return fail_at(reader, line, "too many values", err);
	switch (event->type) {
	case YAML_SCALAR_EVENT:
		r = scalar_value(event, &value);
		break;
	case YAML_SEQUENCE_START_EVENT:
		value = json_new_array();
		r = value ? read_sequence(reader, depth + 1, value, err) : -ENOMEM;
		break;
	case YAML_MAPPING_START_EVENT:
		value = json_new_object();
		r = value ? read_mapping(reader, depth + 1, value, err) : -ENOMEM;
		break;
	default:
		return fail_at(reader, line, "a value is missing", err);
	}
	if (r == -ENOMEM)
		return error_set(err, r, "%s: out of memory", reader->what);
	if (r < 0)
		return r;
	*ret = TAKE_PTR(value);
	return 0;
}

static int read_document(struct yaml_reader *reader, struct json_object **ret, struct error *err)
{
	for (;;) {
		_cleanup_(yaml_event_delete) yaml_event_t event = { 0 };
		int r = next_event(reader, &event, err);

		if (r < 0)
			return r;
		switch (event.type) {
		case YAML_STREAM_START_EVENT:
		case YAML_DOCUMENT_START_EVENT:
			continue;
		case YAML_STREAM_END_EVENT:
			*ret = NULL;
			return 0;
		default:
			return read_value(reader, &event, 0, ret, err);
		}
	}
}

int yaml_parse(const char *text, size_t size, const char *what, struct json_object **ret,
	       struct error *err)
{
	struct yaml_reader reader = { .what = what };
	int r;

	if (!yaml_parser_initialize(&reader.parser))
		return error_set(err, -ENOMEM, "%s: out of memory", what);
	yaml_parser_set_input_string(&reader.parser, (const unsigned char *)text, size);
	r = read_document(&reader, ret, err);
	yaml_parser_delete(&reader.parser);
	return r;
}
