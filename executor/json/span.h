/*
 * JSON left as the text that it came in: for documents of thousands of members that are looked at one
 * by one. As values they would need some twenty times their size; as spans they need nothing, and each
 * member becomes a value (json_span_parse) for the moment in which it is used.
 *
 * A span points into the document, which its owner keeps. Only spans of a document that has passed
 * json_span_check() may be walked.
 */
#pragma once

#include "executor/json/json.h"

#include <stdbool.h>
#include <stddef.h>

struct json_span {
	const char *text; /* NULL = nothing there */
	size_t size;
};

/* Checks that the text is exactly one JSON value, by the rules of json_parse(), whose errors it has.
 * *ret is the value without the white space around it. */
int json_span_check(const char *text, size_t size, const char *what, struct json_span *ret,
		    struct error *err);

/* The member; nothing when it is absent or null, or when `object` is no object. Of several of that name
 * the first. */
struct json_span json_span_get(struct json_span object, const char *key);

/* Calls visit for each member of an object until it returns non-zero, and returns that; -ENOMEM. */
int json_span_each(struct json_span object,
		   int (*visit)(const char *key, struct json_span value, void *context),
		   void *context);

/* The same, also for members that are null: a span of nothing. */
int json_span_each_name(struct json_span object,
			int (*visit)(const char *key, struct json_span value, void *context),
			void *context);

/* The same for the elements of an array. */
int json_span_elements(struct json_span array, int (*visit)(struct json_span value, void *context),
		       void *context);

/* The value; NULL with 0 for a span of nothing. */
int json_span_parse(struct json_span span, const char *what, struct json_object **ret,
		    struct error *err);

/* A copy of a string's characters, `fallback` for anything else; the caller frees it. NULL = no memory. */
char *json_span_string(struct json_span span, const char *fallback);
