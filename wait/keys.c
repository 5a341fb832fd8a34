#include "wait/keys.h"

#include "executor/base/buffer.h"
#include "executor/template/location.h"

#include <string.h>

#define NAMES_BYTES_MAX 1024

static bool names(const char *key, const char *own)
{
	return *own && strstr(key, own);
}

void keys_warn(const struct template *template, const struct environment *environment,
	       const struct log *log)
{
	_cleanup_buffer_ struct buffer fixed = BUFFER_INIT(NAMES_BYTES_MAX);

	for (size_t i = 0; i < template->output_count; i++) {
		const struct template_artifact *artifact = &template->outputs[i];
		const char *key = location_key(artifact->json);

		if (!key || !*key || names(key, environment->pod_name) ||
		    names(key, environment->node_id))
			continue;
		/* As many as there is room for. */
		if (buffer_append_format(&fixed, fixed.size ? ", %s" : "%s", artifact->name) < 0)
			break;
	}
	if (fixed.size > 0)
		log_warn(
			log,
			"Stored under a key that a retry of this step shares: the last attempt wins",
			log_string("artifacts", buffer_string(&fixed)));
}
