/*
 * JSON that stays text, and the same JSON as values. Required: whatever one of the two refuses, the
 * other does; what is found in a span is what json_parse() finds there; a span lies within the
 * document, and there is no white space around it.
 *
 * Of several members of one name the first is found in a span, the last in a value.
 */
#include "executor/base/cleanup.h"
#include "executor/json/span.h"
#include "tests/fuzz/fuzz.h"
#include "tests/fuzz/targets.h"

#include <stdlib.h>
#include <string.h>

#define STOPPED 7

static void check_same(struct json_span span, struct json_object *value);

struct walk {
	struct json_span whole;
	struct json_object *value; /* of the same */
	bool has_twins; /* members of one name */
	size_t visited, stop_at;
};

static void check_lies_in(struct json_span part, struct json_span whole)
{
	fuzz_require(part.size > 0 && part.text >= whole.text);
	fuzz_require(part.text + part.size <= whole.text + whole.size);
	fuzz_require(!strchr(" \t\r\n", part.text[0]));
	fuzz_require(!strchr(" \t\r\n", part.text[part.size - 1]));
}

static int visit_member(const char *key, struct json_span span, void *context)
{
	struct walk *walk = context;
	struct json_span found = json_span_get(walk->whole, key);

	check_lies_in(span, walk->whole);
	fuzz_require(*span.text != 'n'); /* null */
	fuzz_require(found.text && found.text <= span.text);
	if (!walk->has_twins) {
		fuzz_require(found.text == span.text && found.size == span.size);
		check_same(span, json_get(walk->value, key));
	}
	return ++walk->visited == walk->stop_at ? STOPPED : 0;
}

static int visit_element(struct json_span span, void *context)
{
	struct walk *walk = context;

	check_lies_in(span, walk->whole);
	fuzz_require(walk->visited < json_length(walk->value));
	check_same(span, json_at(walk->value, walk->visited));
	return ++walk->visited == walk->stop_at ? STOPPED : 0;
}

static int count_member(const char *key, struct json_span span, void *context)
{
	(void)key;
	(void)span;
	++*(size_t *)context;
	return 0;
}

static int count_value(const char *key, struct json_object *value, void *context)
{
	(void)key;
	*(size_t *)context += value != NULL;
	return 0;
}

/* In a value the last one of several is left, even if it is null. */
static bool has_twins(struct json_span span, struct json_object *value)
{
	size_t spans = 0, values = 0;

	fuzz_require(json_span_each(span, count_member, &spans) == 0);
	json_each(value, count_value, &values);
	fuzz_require(spans >= values);
	return spans > values;
}

static void check_string(struct json_span span, struct json_object *value)
{
	_cleanup_free_ char *text = json_span_string(span, "fallback");
	const char *expected = json_string(value, NULL);

	fuzz_require(text);
	fuzz_require(strcmp(text, expected ? expected : "fallback") == 0);
}

static void check_members(struct json_span span, struct json_object *value)
{
	struct walk walk = { .whole = span, .value = value };
	int r;

	walk.has_twins = has_twins(span, value);
	r = json_span_each(span, visit_member, &walk);
	fuzz_require(r == 0 && (walk.visited == 0 || json_is_object(value)));
	walk.stop_at = walk.visited;
	walk.visited = 0;
	walk.has_twins = true; /* looked at once */
	r = json_span_each(span, visit_member, &walk);
	fuzz_require(r == (walk.stop_at ? STOPPED : 0) && walk.visited == walk.stop_at);
}

static void check_elements(struct json_span span, struct json_object *value)
{
	struct walk walk = { .whole = span, .value = value };

	fuzz_require(json_span_elements(span, visit_element, &walk) == 0);
	fuzz_require(walk.visited == (json_is_array(value) ? json_length(value) : 0));
}

/* `span` may be nothing, which is null. */
static void check_same(struct json_span span, struct json_object *value)
{
	_cleanup_json_ struct json_object *parsed = NULL;
	struct error err = ERROR_NONE;

	fuzz_require(json_span_parse(span, "span", &parsed, &err) == 0);
	fuzz_require(json_equal(parsed, value));
	check_string(span, value);
	check_members(span, value);
	check_elements(span, value);
}

void fuzz_span(const char *data, size_t size)
{
	_cleanup_json_ struct json_object *value = NULL;
	struct json_span span = { .text = NULL };
	struct error err = ERROR_NONE, other = ERROR_NONE;
	int r = json_span_check(data, size, "document", &span, &err);

	fuzz_require(r == json_parse(data, size, "document", &value, &other));
	if (r < 0) {
		fuzz_require(!span.text);
		fuzz_check_error(r, &err);
		fuzz_require(err.class == other.class);
	} else {
		check_lies_in(span, (struct json_span){ data, size });
		check_same(span, value);
	}
}
