/*
 * The counts of requests to stores (executor/http/counts.h) as a message between processes: whoever
 * makes the requests tells them from time to time, whoever is asked shows them.
 */
#pragma once

#include "executor/http/counts.h"
#include "executor/json/json.h"

/* A JSON object of all that is counted; at most TRAFFIC_BYTES_MAX when it is printed. -ENOMEM. */
#define TRAFFIC_BYTES_MAX (16 * 1024)
int traffic_encode(const struct http_counts *counts, struct json_object **ret);

/* The counts of such an object; what it does not have, or has too much of, is left out. */
void traffic_decode(struct json_object *message, struct http_counts *ret);

/* What a process that is no more had counted goes on to count; the endpoints' states are those of
 * `counts`. */
void traffic_add(struct http_counts *counts, const struct http_counts *earlier);
