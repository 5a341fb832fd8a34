/* The first message to a staging process: its pod, the places, the ways to log, and how much it may do
 * at a time. */
#pragma once

#include "executor/stage/stage.h"

/* What `stage` says. NULL = no memory. */
struct json_object *engine_setup_print(const struct stage *stage);

/* Adds to it: so many requests may come at a time, and what is done at a time is to be halved as often
 * as said. 0 or -ENOMEM. */
int engine_setup_set_limits(struct json_object *setup, unsigned workers, unsigned halvings);

#define ENGINE_WORKERS_MAX 1024

struct engine_limits {
	unsigned workers, halvings;
	bool has_inputs; /* in the role's ledger: entries go by their number */
};

/* In the child. *stage is what the role's was, as far as it can be sent: the template is the caller's to
 * free, strings are lent by `setup`. 0, or a negative errno with err filled. */
int engine_setup_read(struct json_object *setup, struct log *log, struct template **template,
		      struct stage *stage, struct engine_limits *limits, struct error *err);
