#include "emissary/attempts.h"

#include "executor/base/clock.h"
#include "executor/base/text.h"

#include <errno.h>

static int load_count(struct json_object *retries, int64_t *ret, struct error *err)
{
	_cleanup_buffer_ struct buffer text = BUFFER_INIT(64);

	if (!retries)
		return 0;
	if (json_scalar_text(retries, &text) < 0 ||
	    text_parse_int64(buffer_string(&text), ret) < 0 || *ret < 0)
		return error_set(err, -EINVAL,
				 "field containerSet.retryStrategy.retries: \"%.64s\" is not a "
				 "number of retries",
				 buffer_string(&text));
	if (*ret == 0)
		*ret = 1;
	return 0;
}

int attempts_load(const struct template *template, struct attempts *ret, struct error *err)
{
	struct json_object *strategy =
		json_find(template->json, "containerSet", "retryStrategy", NULL);
	const char *duration = json_get_string(strategy, "duration", "");
	int64_t ns = 0;

	*ret = (struct attempts){ .count = 1 };
	if (*duration && (clock_parse_duration(duration, &ns) < 0 || ns < 0))
		return error_set(err, -EINVAL,
				 "field containerSet.retryStrategy.duration: \"%.64s\" is not a "
				 "duration",
				 duration);
	ret->pause_ms = ns / 1000000;
	return load_count(json_get(strategy, "retries"), &ret->count, err);
}
