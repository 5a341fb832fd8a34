#include "executor/base/log.h"

#include "executor/base/clock.h"
#include "executor/base/fd.h"
#include "executor/base/text.h"

#include <errno.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>
#include <strings.h>
#include <time.h>

/* A value longer than this is cut, so that what follows it still fits on the line. */
#define VALUE_MAX 6000

/* Values stop here and further fields are left out: the end of the record always fits. */
#define LINE_LIMIT (LOG_LINE_MAX - 256)

struct line {
	char text[LOG_LINE_MAX];
	size_t size;
};

static const struct {
	const char *name;
	enum log_level level;
} levels[] = {
	{ "trace", LOG_DEBUG }, { "debug", LOG_DEBUG }, { "info", LOG_INFO },
	{ "print", LOG_INFO },  { "warn", LOG_WARN },   { "warning", LOG_WARN },
	{ "error", LOG_ERROR }, { "fatal", LOG_ERROR }, { "panic", LOG_ERROR },
};

int log_parse_level(const char *s, enum log_level *ret)
{
	for (size_t i = 0; i < sizeof(levels) / sizeof(levels[0]); i++) {
		if (strcasecmp(s, levels[i].name) == 0) {
			*ret = levels[i].level;
			return 0;
		}
	}
	return -EINVAL;
}

int log_parse_format(const char *s, bool *ret_is_json)
{
	if (strcasecmp(s, "text") != 0 && strcasecmp(s, "json") != 0)
		return -EINVAL;
	*ret_is_json = strcasecmp(s, "json") == 0;
	return 0;
}

static void put(struct line *line, const char *format, ...) __attribute__((format(printf, 2, 3)));

static void put(struct line *line, const char *format, ...)
{
	size_t room = sizeof(line->text) - line->size;
	va_list ap;
	int n;

	va_start(ap, format);
	n = vsnprintf(line->text + line->size, room, format, ap);
	va_end(ap);
	if (n > 0)
		line->size += (size_t)n < room ? (size_t)n : room - 1;
}

/* One character of a quoted value; both formats accept these escapes. Bytes that are not UTF-8
 * become U+FFFD, so that a record is always valid text. */
static size_t put_escaped(struct line *line, const char *p, size_t left)
{
	unsigned char c = (unsigned char)*p;
	size_t n = text_utf8_length(p, left);

	if (n == 0) {
		put(line, "\xef\xbf\xbd");
		return 1;
	}
	if (c == '"' || c == '\\')
		put(line, "\\%c", c);
	else if (c == '\n')
		put(line, "\\n");
	else if (c == '\t')
		put(line, "\\t");
	else if (c == '\r')
		put(line, "\\r");
	else if (c < 0x20 || c == 0x7f)
		put(line, "\\u%04x", c);
	else
		put(line, "%.*s", (int)n, p);
	return n;
}

static void put_quoted(struct line *line, const char *s)
{
	size_t size = strlen(s);
	size_t shown = text_cut_utf8(s, size, VALUE_MAX);
	size_t i = 0;

	put(line, "\"");
	while (i < shown && line->size < LINE_LIMIT)
		i += put_escaped(line, s + i, size - i);
	put(line, i < size ? "…\"" : "\"");
}

static bool needs_quotes(const char *s)
{
	if (!*s)
		return true;
	for (; *s; s++)
		if ((unsigned char)*s <= ' ' || *s == '=' || *s == '"' || (unsigned char)*s >= 0x7f)
			return true;
	return false;
}

static void put_text_value(struct line *line, const char *s)
{
	size_t size = strlen(s);

	if (needs_quotes(s) || size > VALUE_MAX || line->size + size > LINE_LIMIT)
		put_quoted(line, s);
	else
		put(line, "%s", s);
}

static void put_value(struct line *line, const struct log_field *field, bool is_json)
{
	char duration[CLOCK_DURATION_MAX];

	switch (field->kind) {
	case LOG_KIND_INT:
		put(line, "%lld", (long long)field->number);
		return;
	case LOG_KIND_BOOL:
		put(line, "%s", field->number ? "true" : "false");
		return;
	case LOG_KIND_DURATION:
		if (is_json)
			put(line, "%lld", (long long)field->number);
		else
			put_text_value(line, clock_format_duration(field->number, duration));
		return;
	case LOG_KIND_ERROR:
		if (!field->string) {
			put(line, "%s", is_json ? "null" : "<nil>");
			return;
		}
		break;
	case LOG_KIND_STRING:
		break;
	}
	if (is_json)
		put_quoted(line, field->string ? field->string : "");
	else
		put_text_value(line, field->string ? field->string : "");
}

static void put_head(struct line *line, const struct log *log, enum log_level level,
		     const char *message)
{
	static const char *const names[] = { "DEBUG", "INFO", "WARN", "ERROR" };
	char stamp[CLOCK_RFC3339_MAX];
	struct timespec now;

	clock_gettime(CLOCK_REALTIME, &now);
	clock_format_rfc3339(&now, log->is_json ? 9 : 3, stamp);
	if (log->is_json) {
		put(line, "{\"time\":\"%s\",\"level\":\"%s\",\"msg\":", stamp, names[level]);
		put_quoted(line, message);
	} else {
		put(line, "time=%s level=%s msg=", stamp, names[level]);
		put_text_value(line, message);
	}
}

void log_write(const struct log *log, enum log_level level, const char *message,
	       const struct log_field *fields)
{
	struct line line = { .size = 0 };

	if (level < log->level)
		return;
	put_head(&line, log, level, message);
	for (; fields->name && line.size < LINE_LIMIT; fields++) {
		put(&line, log->is_json ? ",\"%s\":" : " %s=", fields->name);
		put_value(&line, fields, log->is_json);
	}
	put(&line, "%s", log->is_json ? ",\"argo\":true}\n" : " argo=true\n");
	/* Nobody is left to tell when stderr itself fails. */
	(void)fd_write_patiently(log->fd, line.text, line.size, LOG_PATIENCE_MS);
}

void log_text(const struct log *log, const char *format, ...)
{
	char text[LOG_LINE_MAX];
	va_list ap;
	int n;

	va_start(ap, format);
	n = vsnprintf(text, sizeof(text), format, ap);
	va_end(ap);
	if (n > 0)
		(void)fd_write_patiently(log->fd, text,
					 (size_t)n < sizeof(text) ? (size_t)n : sizeof(text) - 1,
					 LOG_PATIENCE_MS);
}
