#include "executor/archive/hooks.h"

#include <errno.h>
#include <stdarg.h>
#include <stdio.h>

void hooks_warn(const struct hooks *hooks, const char *format, ...)
{
	char message[ERROR_MESSAGE_MAX];
	va_list ap;

	if (!hooks->warn)
		return;
	va_start(ap, format);
	vsnprintf(message, sizeof(message), format, ap);
	va_end(ap);
	hooks->warn(hooks->context, message);
}

int hooks_check(const struct hooks *hooks, struct error *err)
{
	if (hooks->is_cancelled && hooks->is_cancelled(hooks->context))
		return error_set(err, -ECANCELED, "cancelled");
	return 0;
}
