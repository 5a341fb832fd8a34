/* Which of many keys are there, found with few requests. */
#pragma once

#include "executor/artifact/object/client.h"

#include <stdint.h>

enum object_place {
	OBJECT_UNKNOWN, /* not seen: missing, or not looked for */
	OBJECT_SEEN,
	OBJECT_SEEN_BELOW, /* not itself, but something below it */
};

/* Lists what the keys have in common, and notes in places[i] what was seen of keys[i]. Ends early where
 * that finds less than it costs. What was not seen need not be missing (listings of some servers are late).
 * A server that does not list is no failure; -ECANCELED or -ENOMEM is. */
int object_survey(struct object_client *client, const char *const *keys, size_t count,
		  uint8_t *places, struct error *err);
