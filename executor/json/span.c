#include "executor/json/span.h"

#include "executor/base/cleanup.h"
#include "executor/json/strict.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

/* Of a document that has not been checked for structure yet; its characters have. */
struct cursor {
	const char *p, *end;
	const char *reason; /* why it is none */
	unsigned depth;
};

/* Nothing has no end either: C knows no NULL + 0. */
static struct cursor cursor_at(struct json_span span)
{
	return (struct cursor){ .p = span.text, .end = span.text ? span.text + span.size : NULL };
}

static bool refuse(struct cursor *cursor, const char *reason)
{
	if (!cursor->reason)
		cursor->reason = reason;
	return false;
}

static void skip_space(struct cursor *cursor)
{
	while (cursor->p < cursor->end && strchr(" \t\r\n", *cursor->p) && *cursor->p)
		cursor->p++;
}

static bool take(struct cursor *cursor, char c)
{
	skip_space(cursor);
	if (cursor->p == cursor->end || *cursor->p != c)
		return false;
	cursor->p++;
	return true;
}

static bool skip_escape(struct cursor *cursor)
{
	unsigned digits = 0;

	if (cursor->end - cursor->p < 2 || !*cursor->p || !strchr("\"\\/bfnrtu", *cursor->p))
		return refuse(cursor, "invalid string sequence");
	if (*cursor->p++ != 'u')
		return true;
	while (digits < 4 && cursor->p < cursor->end && *cursor->p &&
	       strchr("0123456789abcdefABCDEF", *cursor->p)) {
		cursor->p++;
		digits++;
	}
	return digits == 4 || refuse(cursor, "invalid string sequence");
}

static bool skip_string(struct cursor *cursor)
{
	if (!take(cursor, '"'))
		return refuse(cursor, "quoted object property name expected");
	while (cursor->p < cursor->end && *cursor->p != '"')
		if (*cursor->p++ == '\\' && !skip_escape(cursor))
			return false;
	return take(cursor, '"') || refuse(cursor, "unexpected end");
}

static void skip_any(struct cursor *cursor, const char *characters)
{
	while (cursor->p < cursor->end && *cursor->p && strchr(characters, *cursor->p))
		cursor->p++;
}

/* strict_check() has judged what stands behind each sign, point and exponent. */
static bool skip_number(struct cursor *cursor)
{
	const char *start = cursor->p;

	if (cursor->p < cursor->end && *cursor->p == '-')
		cursor->p++;
	skip_any(cursor, "0123456789");
	if (cursor->p > start && cursor->p < cursor->end && *cursor->p == '.') {
		cursor->p++;
		skip_any(cursor, "0123456789");
	}
	if (cursor->p > start && cursor->p < cursor->end && (*cursor->p | ' ') == 'e') {
		cursor->p++;
		cursor->p += cursor->p < cursor->end && (*cursor->p == '-' || *cursor->p == '+');
		skip_any(cursor, "0123456789");
	}
	if (cursor->p > start)
		return true;
	return refuse(cursor, start == cursor->end ? "unexpected end" : "unexpected character");
}

static bool skip_word(struct cursor *cursor)
{
	static const char *const words[] = { "true", "false", "null" };
	const char *start = cursor->p;

	for (size_t i = 0; i < sizeof(words) / sizeof(words[0]); i++) {
		size_t size = strlen(words[i]);

		if ((size_t)(cursor->end - start) >= size && !memcmp(start, words[i], size)) {
			cursor->p += size;
			return true;
		}
	}
	return skip_number(cursor);
}

static bool skip_value(struct cursor *cursor);

/* Behind the opening bracket. */
static bool skip_members(struct cursor *cursor, char close)
{
	if (take(cursor, close))
		return true;
	do {
		if (close == '}' && !skip_string(cursor))
			return false;
		if (close == '}' && !take(cursor, ':'))
			return refuse(cursor, "object property name separator ':' expected");
		if (!skip_value(cursor))
			return false;
	} while (take(cursor, ','));
	return take(cursor, close) ||
	       refuse(cursor, cursor->p == cursor->end ? "unexpected end" :
			      close == '}'             ? "object value separator ',' expected" :
							 "array value separator ',' expected");
}

static bool skip_value(struct cursor *cursor)
{
	bool is_object;

	skip_space(cursor);
	if (cursor->depth >= JSON_DEPTH_MAX)
		return refuse(cursor, "nesting too deep");
	if (cursor->p < cursor->end && *cursor->p == '"')
		return skip_string(cursor);
	is_object = take(cursor, '{');
	if (!is_object && !take(cursor, '['))
		return skip_word(cursor);
	cursor->depth++;
	if (!skip_members(cursor, is_object ? '}' : ']'))
		return false;
	cursor->depth--;
	return true;
}

int json_span_check(const char *text, size_t size, const char *what, struct json_span *ret,
		    struct error *err)
{
	struct cursor cursor = cursor_at((struct json_span){ text, size });
	struct json_span span;
	const char *reason;
	size_t offset;

	reason = strict_check(text, size, &offset);
	if (!reason) {
		skip_space(&cursor);
		span.text = cursor.p;
		skip_value(&cursor);
		span.size = (size_t)(cursor.p - span.text);
		skip_space(&cursor);
		if (!cursor.reason && cursor.p < cursor.end)
			refuse(&cursor, "unexpected character");
		reason = cursor.reason;
		offset = (size_t)(cursor.p - text);
	}
	if (reason)
		return error_set(err, -EINVAL, "%s: not valid JSON: %s at byte %zu", what, reason,
				 offset);
	*ret = span;
	return 0;
}

/* --- Walking ---------------------------------------------------------------------------------- */

static struct json_span next_value(struct cursor *cursor)
{
	struct json_span span;

	skip_space(cursor);
	span.text = cursor->p;
	skip_value(cursor);
	span.size = (size_t)(cursor->p - span.text);
	return span;
}

static bool is_null(struct json_span span)
{
	return !span.text || (span.size == 4 && !memcmp(span.text, "null", 4));
}

static int visit_members(struct json_span object, bool has_nulls,
			 int (*visit)(const char *key, struct json_span value, void *context),
			 void *context)
{
	struct cursor cursor = cursor_at(object);
	int r = 0;

	if (!object.text || !take(&cursor, '{') || take(&cursor, '}'))
		return 0;
	do {
		_cleanup_free_ char *key = json_span_string(next_value(&cursor), "");
		struct json_span value;

		if (!key)
			return -ENOMEM;
		take(&cursor, ':');
		value = next_value(&cursor);
		if (!is_null(value))
			r = visit(key, value, context);
		else if (has_nulls)
			r = visit(key, (struct json_span){ .text = NULL }, context);
	} while (r == 0 && take(&cursor, ','));
	return r;
}

int json_span_each(struct json_span object,
		   int (*visit)(const char *key, struct json_span value, void *context),
		   void *context)
{
	return visit_members(object, false, visit, context);
}

int json_span_each_name(struct json_span object,
			int (*visit)(const char *key, struct json_span value, void *context),
			void *context)
{
	return visit_members(object, true, visit, context);
}

int json_span_elements(struct json_span array, int (*visit)(struct json_span value, void *context),
		       void *context)
{
	struct cursor cursor = cursor_at(array);
	int r = 0;

	if (!array.text || !take(&cursor, '[') || take(&cursor, ']'))
		return 0;
	do
		r = visit(next_value(&cursor), context);
	while (r == 0 && take(&cursor, ','));
	return r;
}

struct wanted {
	const char *key;
	struct json_span found;
};

static int look_at(const char *key, struct json_span value, void *context)
{
	struct wanted *wanted = context;

	if (strcmp(key, wanted->key) != 0)
		return 0;
	wanted->found = value;
	return 1;
}

struct json_span json_span_get(struct json_span object, const char *key)
{
	struct wanted wanted = { .key = key };

	json_span_each(object, look_at, &wanted);
	return wanted.found;
}

int json_span_parse(struct json_span span, const char *what, struct json_object **ret,
		    struct error *err)
{
	*ret = NULL;
	return is_null(span) ? 0 : json_parse(span.text, span.size, what, ret, err);
}

char *json_span_string(struct json_span span, const char *fallback)
{
	_cleanup_json_ struct json_object *value = NULL;
	const char *text;
	char *copy;

	if (span.text && *span.text == '"' && !memchr(span.text, '\\', span.size)) {
		copy = malloc(span.size - 1);
		if (copy)
			*(char *)mempcpy(copy, span.text + 1, span.size - 2) = '\0';
		return copy;
	}
	if (json_span_parse(span, "string", &value, NULL) < 0)
		return NULL;
	text = json_string(value, NULL);
	return strdup(text ? text : fallback);
}
