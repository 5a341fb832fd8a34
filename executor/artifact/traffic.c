#include "executor/artifact/traffic.h"

#include "executor/base/cleanup.h"

#include <errno.h>
#include <stdio.h>
#include <string.h>

/* Limits of a gate are told in thousandths. */
#define LIMIT_UNIT 1000

static int set_count(struct json_object *object, const char *name, uint64_t value)
{
	return json_set(object, name, json_new_int((int64_t)value));
}

static struct json_object *encode_classes(const uint64_t *numbers)
{
	_cleanup_json_ struct json_object *array = json_new_array();

	for (int class = 0; array && class < ERROR_CLASS_COUNT; class ++)
		if (json_append(array, json_new_int((int64_t)numbers[class])) < 0)
			return NULL;
	return TAKE_PTR(array);
}

static struct json_object *encode_store(const struct http_store_counts *store)
{
	_cleanup_json_ struct json_object *object = json_new_object();

	if (!object || json_set_string(object, "store", store->store) < 0 ||
	    set_count(object, "requests", store->requests) < 0 ||
	    set_count(object, "sent", store->sent_bytes) < 0 ||
	    set_count(object, "received", store->received_bytes) < 0 ||
	    json_set(object, "failures", encode_classes(store->failures)) < 0 ||
	    json_set(object, "retries", encode_classes(store->retries)) < 0)
		return NULL;
	return TAKE_PTR(object);
}

static struct json_object *encode_endpoint(const struct http_endpoint_counts *endpoint)
{
	_cleanup_json_ struct json_object *object = json_new_object();

	if (!object || json_set_string(object, "endpoint", endpoint->endpoint) < 0 ||
	    set_count(object, "state", (uint64_t)endpoint->state) < 0 ||
	    set_count(object, "limit", (uint64_t)(endpoint->limit * LIMIT_UNIT)) < 0 ||
	    set_count(object, "running", endpoint->running) < 0 ||
	    set_count(object, "waiting", endpoint->waiting) < 0 ||
	    set_count(object, "slowed", endpoint->slowed) < 0 ||
	    set_count(object, "failed", endpoint->failed) < 0)
		return NULL;
	return TAKE_PTR(object);
}

int traffic_encode(const struct http_counts *counts, struct json_object **ret)
{
	_cleanup_json_ struct json_object *message = json_new_object();
	struct json_object *stores = json_new_array(), *endpoints = json_new_array();
	int r = message ? 0 : -ENOMEM;

	for (unsigned i = 0; r == 0 && stores && i < counts->store_count; i++)
		r = json_append(stores, encode_store(&counts->stores[i]));
	for (unsigned i = 0; r == 0 && endpoints && i < counts->endpoint_count; i++)
		r = json_append(endpoints, encode_endpoint(&counts->endpoints[i]));
	if (r < 0) {
		json_free(stores);
		json_free(endpoints);
		return r;
	}
	r = json_set(message, "stores", stores);
	if (r < 0)
		json_free(endpoints);
	else
		r = json_set(message, "endpoints", endpoints);
	if (r == 0)
		*ret = TAKE_PTR(message);
	return r;
}

static uint64_t get_count(struct json_object *object, const char *name)
{
	int64_t value = json_get_int(object, name, 0);

	return value > 0 ? (uint64_t)value : 0;
}

static void decode_classes(struct json_object *array, uint64_t *numbers)
{
	for (size_t i = 0; i < json_length(array) && i < ERROR_CLASS_COUNT; i++) {
		_cleanup_json_ struct json_object *one = json_new_object();

		if (one && json_set(one, "n", json_ref(json_at(array, i))) == 0)
			numbers[i] = get_count(one, "n");
	}
}

static void decode_store(struct json_object *object, struct http_store_counts *store)
{
	snprintf(store->store, sizeof(store->store), "%s", json_get_string(object, "store", ""));
	store->requests = get_count(object, "requests");
	store->sent_bytes = get_count(object, "sent");
	store->received_bytes = get_count(object, "received");
	decode_classes(json_get(object, "failures"), store->failures);
	decode_classes(json_get(object, "retries"), store->retries);
}

static void decode_endpoint(struct json_object *object, struct http_endpoint_counts *endpoint)
{
	uint64_t state = get_count(object, "state");

	snprintf(endpoint->endpoint, sizeof(endpoint->endpoint), "%s",
		 json_get_string(object, "endpoint", ""));
	endpoint->state = state < GATE_STATE_COUNT ? (enum gate_state)state : GATE_OPEN;
	endpoint->limit = (double)get_count(object, "limit") / LIMIT_UNIT;
	endpoint->running = (unsigned)get_count(object, "running");
	endpoint->waiting = (unsigned)get_count(object, "waiting");
	endpoint->slowed = get_count(object, "slowed");
	endpoint->failed = get_count(object, "failed");
}

void traffic_decode(struct json_object *message, struct http_counts *ret)
{
	struct json_object *stores = json_get(message, "stores");
	struct json_object *endpoints = json_get(message, "endpoints");

	*ret = (struct http_counts){ .store_count = 0 };
	for (size_t i = 0; i < json_length(stores) && i < HTTP_COUNTS_STORES_MAX; i++)
		decode_store(json_at(stores, i), &ret->stores[ret->store_count++]);
	for (size_t i = 0; i < json_length(endpoints) && i < HTTP_COUNTS_ENDPOINTS_MAX; i++)
		decode_endpoint(json_at(endpoints, i), &ret->endpoints[ret->endpoint_count++]);
}

static struct http_store_counts *find_store(struct http_counts *counts, const char *name)
{
	struct http_store_counts *store;

	for (unsigned i = 0; i < counts->store_count; i++)
		if (strcmp(counts->stores[i].store, name) == 0)
			return &counts->stores[i];
	if (counts->store_count == HTTP_COUNTS_STORES_MAX)
		return NULL;
	store = &counts->stores[counts->store_count++];
	*store = (struct http_store_counts){ .requests = 0 };
	snprintf(store->store, sizeof(store->store), "%s", name);
	return store;
}

static struct http_endpoint_counts *find_endpoint(struct http_counts *counts,
						  const struct http_endpoint_counts *earlier)
{
	struct http_endpoint_counts *endpoint;

	for (unsigned i = 0; i < counts->endpoint_count; i++)
		if (strcmp(counts->endpoints[i].endpoint, earlier->endpoint) == 0)
			return &counts->endpoints[i];
	if (counts->endpoint_count == HTTP_COUNTS_ENDPOINTS_MAX)
		return NULL;
	endpoint = &counts->endpoints[counts->endpoint_count++];
	*endpoint = (struct http_endpoint_counts){ .state = GATE_OPEN };
	memcpy(endpoint->endpoint, earlier->endpoint, sizeof(endpoint->endpoint));
	return endpoint;
}

void traffic_add(struct http_counts *counts, const struct http_counts *earlier)
{
	for (unsigned i = 0; i < earlier->store_count; i++) {
		const struct http_store_counts *from = &earlier->stores[i];
		struct http_store_counts *to = find_store(counts, from->store);

		if (!to)
			continue;
		to->requests += from->requests;
		to->sent_bytes += from->sent_bytes;
		to->received_bytes += from->received_bytes;
		for (int class = 0; class < ERROR_CLASS_COUNT; class ++) {
			to->failures[class] += from->failures[class];
			to->retries[class] += from->retries[class];
		}
	}
	for (unsigned i = 0; i < earlier->endpoint_count; i++) {
		const struct http_endpoint_counts *from = &earlier->endpoints[i];
		struct http_endpoint_counts *to = find_endpoint(counts, from);

		if (!to)
			continue;
		to->slowed += from->slowed;
		to->failed += from->failed;
	}
}
