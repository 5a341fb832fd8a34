/* What the requests to stores came to (http/counts.h), as part of a message, and over the lives of
 * several staging processes. */
#pragma once

#include "executor/http/counts.h"
#include "executor/json/json.h"

/* Sets "stores" and "endpoints". 0 or -ENOMEM. */
int engine_counts_print(struct json_object *message, const struct http_counts *counts);

/* Everything that is not exactly as it should be is -EPROTO. */
int engine_counts_read(struct json_object *message, struct http_counts *ret);

/* Adds what another process has counted; how an endpoint is doing is what `now` says. */
void engine_counts_add(struct http_counts *sum, const struct http_counts *now);
