/* Which of many keys are there, found with few requests. */
#pragma once

#include "executor/artifact/object/client.h"

#include <stdint.h>

enum object_place {
	OBJECT_UNKNOWN, /* not seen: missing, or not looked for */
	OBJECT_SEEN,
	OBJECT_SEEN_BELOW, /* not itself, but something below it */
};

struct object_survey {
	const char *const *keys;
	size_t count;
	uint8_t *places; /* of each key: what was seen of it */
	/* An object was seen at keys[i], for the first time; may wait. A failure ends the survey. */
	int (*seen)(void *context, size_t i, struct error *err);
	void *context;
};

/* Lists what the keys have in common. Ends early where that finds less than it costs. What was not seen
 * need not be missing (listings of some servers are late). A server that does not list is no failure;
 * -ECANCELED or -ENOMEM is. */
int object_survey(struct object_client *client, const struct object_survey *survey,
		  struct error *err);
