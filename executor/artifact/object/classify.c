#include "executor/artifact/object/classify.h"

#include <string.h>

/* Servers that throttle with a code of their own still use the words. */
static const char *const throttle_texts[] = { "Rate exceeded", "Please reduce your request rate" };

static enum error_class classify_status(int status, bool is_object)
{
	switch (status) {
	case 404:
		return is_object ? ERROR_NOT_FOUND : ERROR_PERMANENT;
	case 429:
		return ERROR_THROTTLED;
	case 408:
	case 499:
		return ERROR_TRANSIENT;
	default:
		return status >= 500 && status <= 599 ? ERROR_TRANSIENT : ERROR_PERMANENT;
	}
}

enum error_class object_classify(const struct object_code *codes, size_t count, int status,
				 const char *code, const char *message, bool is_object)
{
	for (size_t i = 0; i < count; i++)
		if (strcmp(codes[i].code, code) == 0)
			return codes[i].class;
	for (size_t i = 0; i < sizeof(throttle_texts) / sizeof(throttle_texts[0]); i++)
		if (strstr(message, throttle_texts[i]))
			return ERROR_THROTTLED;
	return classify_status(status, is_object && *code == '\0');
}
