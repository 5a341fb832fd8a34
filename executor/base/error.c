#include "executor/base/error.h"

#include "executor/base/text.h"

#include <ctype.h>
#include <errno.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>

static enum error_class class_of(int code)
{
	switch (code) {
	case -ENOENT:
		return ERROR_NOT_FOUND;
	case -ECANCELED:
		return ERROR_CANCELLED;
	default:
		return ERROR_PERMANENT;
	}
}

static void fill(struct error *err, int code, enum error_class class, const char *format,
		 va_list ap)
{
	err->code = code;
	err->class = class;
	vsnprintf(err->message, sizeof(err->message), format, ap);
	text_trim_partial_utf8(err->message);
	text_make_line(err->message);
}

int error_set(struct error *err, int code, const char *format, ...)
{
	va_list ap;

	if (!err)
		return code;
	va_start(ap, format);
	fill(err, code, class_of(code), format, ap);
	va_end(ap);
	return code;
}

int error_set_class(struct error *err, int code, enum error_class class, const char *format, ...)
{
	va_list ap;

	if (!err)
		return code;
	va_start(ap, format);
	fill(err, code, class, format, ap);
	va_end(ap);
	return code;
}

int error_append(struct error *err, const char *format, ...)
{
	va_list ap;
	size_t used;

	if (!err)
		return 0;
	used = strlen(err->message);
	va_start(ap, format);
	vsnprintf(err->message + used, sizeof(err->message) - used, format, ap);
	va_end(ap);
	text_trim_partial_utf8(err->message);
	text_make_line(err->message + used);
	return err->code;
}

int error_errno(struct error *err, int code, const char *format, ...)
{
	char text[128];
	va_list ap;

	if (!err)
		return code;
	va_start(ap, format);
	fill(err, code, class_of(code), format, ap);
	va_end(ap);
	error_append(err, ": %s", error_text(code, text, sizeof(text)));
	return code;
}

int error_prefix(struct error *err, int code, const char *format, ...)
{
	char context[ERROR_MESSAGE_MAX];
	char inner[ERROR_MESSAGE_MAX];
	va_list ap;

	if (!err)
		return code;
	va_start(ap, format);
	vsnprintf(context, sizeof(context), format, ap);
	va_end(ap);
	memcpy(inner, err->message, sizeof(inner));
	if ((size_t)snprintf(err->message, sizeof(err->message), "%s: %s", context, inner) >=
	    sizeof(err->message))
		text_trim_partial_utf8(err->message);
	text_make_line(err->message);
	return err->code;
}

bool error_is_retryable(const struct error *err)
{
	return err->class >= ERROR_TRANSIENT && err->class <= ERROR_CLOCK_SKEW;
}

const char *error_class_name(enum error_class class)
{
	static const char *const names[ERROR_CLASS_COUNT] = {
		[ERROR_PERMANENT] = "permanent",
		[ERROR_NOT_FOUND] = "not found",
		[ERROR_TRANSIENT] = "transient",
		[ERROR_THROTTLED] = "throttled",
		[ERROR_EXPIRED_CREDENTIALS] = "expired credentials",
		[ERROR_WRONG_REGION] = "wrong region",
		[ERROR_CLOCK_SKEW] = "clock skew",
		[ERROR_CANCELLED] = "cancelled",
	};

	return class < ERROR_CLASS_COUNT ? names[class] : "unknown";
}

bool error_tells_class(const struct error *err)
{
	/* Only there: a key may be called like a class. */
	const char *brackets = strrchr(err->message, '(');

	return brackets && strstr(brackets, error_class_name(err->class));
}

void error_tell_class(struct error *err)
{
	if (err && err->class != ERROR_NOT_FOUND && err->class != ERROR_CANCELLED &&
	    !error_tells_class(err))
		error_append(err, " (%s)", error_class_name(err->class));
}

const char *error_text(int code, char *buffer, int size)
{
	const char *known = strerrordesc_np(code < 0 ? -code : code);

	snprintf(buffer, (size_t)size, "%s", known ? known : "unknown error");
	if (isupper((unsigned char)buffer[0]) && !isupper((unsigned char)buffer[1]))
		buffer[0] = (char)tolower((unsigned char)buffer[0]);
	return buffer;
}
