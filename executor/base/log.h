/*
 * Structured log records on stderr, one line each, in the two shapes that Argo's executor has:
 * logfmt-like text (`time=… level=INFO msg="…" k=v argo=true`) and JSON. A record of up to 4 KiB is
 * written with one write(2); when the reader of stderr takes nothing for LOG_PATIENCE_MS, it is
 * dropped: nothing that has to happen may hang on a log.
 *
 * Roles log; code below them takes a logger for debug records only.
 *
 *	log_info(log, "Saved artifact", log_string("artifactName", name), log_int("bytes", n));
 */
#pragma once

#include "executor/base/error.h"

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

enum log_level { LOG_DEBUG, LOG_INFO, LOG_WARN, LOG_ERROR };

struct log {
	int fd; /* usually 2; not owned */
	enum log_level level; /* records below it are dropped */
	bool is_json;
};

/* One line, newline included, is never longer: longer values are cut with "…". */
#define LOG_LINE_MAX 16384

#define LOG_PATIENCE_MS 1000

/* Accepts the words of Argo 4.x (case-insensitive: trace debug info print warn error fatal panic)
 * and of 3.x (also warning); -EINVAL for anything else. */
int log_parse_level(const char *s, enum log_level *ret);

/* "text" or "json", case-insensitive; -EINVAL. */
int log_parse_format(const char *s, bool *ret_is_json);

enum log_kind { LOG_KIND_STRING, LOG_KIND_INT, LOG_KIND_BOOL, LOG_KIND_DURATION, LOG_KIND_ERROR };

struct log_field {
	const char *name; /* NULL ends a list */
	enum log_kind kind;
	const char *string;
	int64_t number;
};

static inline struct log_field log_string(const char *name, const char *value)
{
	return (struct log_field){ .name = name, .kind = LOG_KIND_STRING, .string = value };
}

static inline struct log_field log_int(const char *name, int64_t value)
{
	return (struct log_field){ .name = name, .kind = LOG_KIND_INT, .number = value };
}

static inline struct log_field log_bool(const char *name, bool value)
{
	return (struct log_field){ .name = name, .kind = LOG_KIND_BOOL, .number = value };
}

/* Go text in the text format, integer nanoseconds in JSON. */
static inline struct log_field log_duration(const char *name, int64_t ns)
{
	return (struct log_field){ .name = name, .kind = LOG_KIND_DURATION, .number = ns };
}

/* key `error`; no error prints <nil> (text) or null (JSON). */
static inline struct log_field log_error_field(const struct error *err)
{
	return (struct log_field){ .name = "error",
				   .kind = LOG_KIND_ERROR,
				   .string = err && err->code ? err->message : NULL };
}

void log_write(const struct log *log, enum log_level level, const char *message,
	       const struct log_field *fields);

/* Text as it is, for the lines without a level that Argo's users know ("Error: …"); cut at
 * LOG_LINE_MAX. */
void log_text(const struct log *log, const char *format, ...) __attribute__((format(printf, 2, 3)));

#define log_at(log, level, message, ...) \
	log_write((log), (level), (message), \
		  (const struct log_field[]){ __VA_ARGS__ __VA_OPT__(, ){ .name = NULL } })
#define log_debug(log, ...) log_at(log, LOG_DEBUG, __VA_ARGS__)
#define log_info(log, ...) log_at(log, LOG_INFO, __VA_ARGS__)
#define log_warn(log, ...) log_at(log, LOG_WARN, __VA_ARGS__)
#define log_error(log, ...) log_at(log, LOG_ERROR, __VA_ARGS__)
