#include "executor/stage/engine_counts.h"

#include "executor/base/cleanup.h"
#include "executor/stage/engine_message.h"

#include <errno.h>
#include <string.h>

/* A gate's limit goes as a whole number of these. */
#define LIMIT_PARTS 1000000.0

/* --- as a message ----------------------------------------------------------------------- */

static int set_list(struct json_object *object, const char *key, const uint64_t *list)
{
	struct json_object *array = json_new_array();
	int r = array ? 0 : -ENOMEM;

	for (size_t i = 0; r == 0 && i < ERROR_CLASS_COUNT; i++)
		r = json_append(array, json_new_int((int64_t)list[i]));
	if (r == 0)
		return json_set(object, key, array);
	json_free(array);
	return r;
}

static struct json_object *print_store(const struct http_store_counts *counts)
{
	_cleanup_json_ struct json_object *object = json_new_object();

	if (!object || json_set_string(object, "store", counts->store) < 0 ||
	    engine_set_number(object, "requests", counts->requests) < 0 ||
	    engine_set_number(object, "sent", counts->sent_bytes) < 0 ||
	    engine_set_number(object, "received", counts->received_bytes) < 0 ||
	    set_list(object, "failures", counts->failures) < 0 ||
	    set_list(object, "retries", counts->retries) < 0)
		return NULL;
	return TAKE_PTR(object);
}

static struct json_object *print_endpoint(const struct http_endpoint_counts *counts)
{
	_cleanup_json_ struct json_object *object = json_new_object();

	if (!object || json_set_string(object, "endpoint", counts->endpoint) < 0 ||
	    engine_set_number(object, "state", counts->state) < 0 ||
	    engine_set_number(object, "limit", (uint64_t)(counts->limit * LIMIT_PARTS + 0.5)) < 0 ||
	    engine_set_number(object, "running", counts->running) < 0 ||
	    engine_set_number(object, "waiting", counts->waiting) < 0 ||
	    engine_set_number(object, "slowed", counts->slowed) < 0 ||
	    engine_set_number(object, "failed", counts->failed) < 0)
		return NULL;
	return TAKE_PTR(object);
}

int engine_counts_print(struct json_object *message, const struct http_counts *counts)
{
	_cleanup_json_ struct json_object *stores = json_new_array(), *endpoints = json_new_array();
	int r = stores && endpoints ? 0 : -ENOMEM;

	for (unsigned i = 0; r == 0 && i < counts->store_count; i++)
		r = json_append(stores, print_store(&counts->stores[i]));
	for (unsigned i = 0; r == 0 && i < counts->endpoint_count; i++)
		r = json_append(endpoints, print_endpoint(&counts->endpoints[i]));
	if (r == 0)
		r = json_set(message, "stores", TAKE_PTR(stores));
	return r == 0 ? json_set(message, "endpoints", TAKE_PTR(endpoints)) : r;
}

static bool take_name(struct json_object *object, const char *key, char *ret, size_t ret_size)
{
	size_t size = 0;
	const char *name = json_string(json_get(object, key), &size);

	if (!name || size >= ret_size || strlen(name) != size)
		return false;
	memcpy(ret, name, size);
	return true;
}

static bool take_list(struct json_object *object, const char *key, uint64_t *ret)
{
	struct json_object *array = json_get(object, key);

	if (!json_is_array(array) || json_length(array) != ERROR_CLASS_COUNT)
		return false;
	for (size_t i = 0; i < ERROR_CLASS_COUNT; i++)
		if (!engine_number(json_at(array, i), 0, INT64_MAX, (int64_t *)&ret[i]))
			return false;
	return true;
}

static bool read_store(struct json_object *object, struct http_store_counts *ret)
{
	return take_name(object, "store", ret->store, sizeof(ret->store)) &&
	       engine_take_unsigned(object, "requests", &ret->requests) &&
	       engine_take_unsigned(object, "sent", &ret->sent_bytes) &&
	       engine_take_unsigned(object, "received", &ret->received_bytes) &&
	       take_list(object, "failures", ret->failures) &&
	       take_list(object, "retries", ret->retries);
}

static bool read_endpoint(struct json_object *object, struct http_endpoint_counts *ret)
{
	int64_t state, limit, running, waiting;

	if (!take_name(object, "endpoint", ret->endpoint, sizeof(ret->endpoint)) ||
	    !engine_take_number(object, "state", 0, GATE_STATE_COUNT - 1, &state) ||
	    !engine_take_number(object, "limit", 0, (int64_t)(GATE_LIMIT_MAX * LIMIT_PARTS),
				&limit) ||
	    !engine_take_number(object, "running", 0, INT32_MAX, &running) ||
	    !engine_take_number(object, "waiting", 0, INT32_MAX, &waiting) ||
	    !engine_take_unsigned(object, "slowed", &ret->slowed) ||
	    !engine_take_unsigned(object, "failed", &ret->failed))
		return false;
	ret->state = (enum gate_state)state;
	ret->limit = (double)limit / LIMIT_PARTS;
	ret->running = (unsigned)running;
	ret->waiting = (unsigned)waiting;
	return true;
}

int engine_counts_read(struct json_object *message, struct http_counts *ret)
{
	struct json_object *stores = json_get(message, "stores");
	struct json_object *endpoints = json_get(message, "endpoints");
	size_t store_count = json_length(stores), endpoint_count = json_length(endpoints);

	memset(ret, 0, sizeof(*ret));
	if (!json_is_array(stores) || store_count > HTTP_COUNTS_STORES_MAX ||
	    !json_is_array(endpoints) || endpoint_count > HTTP_COUNTS_ENDPOINTS_MAX)
		return -EPROTO;
	for (size_t i = 0; i < store_count; i++)
		if (!read_store(json_at(stores, i), &ret->stores[i]))
			return -EPROTO;
	for (size_t i = 0; i < endpoint_count; i++)
		if (!read_endpoint(json_at(endpoints, i), &ret->endpoints[i]))
			return -EPROTO;
	ret->store_count = (unsigned)store_count;
	ret->endpoint_count = (unsigned)endpoint_count;
	return 0;
}

/* --- sums ------------------------------------------------------------------------------- */

static struct http_store_counts *find_store(struct http_counts *sum, const char *name)
{
	for (unsigned i = 0; i < sum->store_count; i++)
		if (strcmp(sum->stores[i].store, name) == 0)
			return &sum->stores[i];
	if (sum->store_count == HTTP_COUNTS_STORES_MAX)
		return NULL;
	memset(&sum->stores[sum->store_count], 0, sizeof(sum->stores[0]));
	return &sum->stores[sum->store_count++];
}

static struct http_endpoint_counts *find_endpoint(struct http_counts *sum, const char *name)
{
	for (unsigned i = 0; i < sum->endpoint_count; i++)
		if (strcmp(sum->endpoints[i].endpoint, name) == 0)
			return &sum->endpoints[i];
	if (sum->endpoint_count == HTTP_COUNTS_ENDPOINTS_MAX)
		return NULL;
	memset(&sum->endpoints[sum->endpoint_count], 0, sizeof(sum->endpoints[0]));
	return &sum->endpoints[sum->endpoint_count++];
}

static void add_store(struct http_counts *sum, const struct http_store_counts *now)
{
	struct http_store_counts *store = find_store(sum, now->store);

	if (!store)
		return;
	memcpy(store->store, now->store, sizeof(store->store));
	store->requests += now->requests;
	store->sent_bytes += now->sent_bytes;
	store->received_bytes += now->received_bytes;
	for (size_t i = 0; i < ERROR_CLASS_COUNT; i++) {
		store->failures[i] += now->failures[i];
		store->retries[i] += now->retries[i];
	}
}

static void add_endpoint(struct http_counts *sum, const struct http_endpoint_counts *now)
{
	struct http_endpoint_counts *endpoint = find_endpoint(sum, now->endpoint);
	uint64_t slowed, failed;

	if (!endpoint)
		return;
	slowed = endpoint->slowed + now->slowed;
	failed = endpoint->failed + now->failed;
	*endpoint = *now;
	endpoint->slowed = slowed;
	endpoint->failed = failed;
}

void engine_counts_add(struct http_counts *sum, const struct http_counts *now)
{
	/* Of a process that is gone nothing runs. */
	for (unsigned i = 0; i < sum->endpoint_count; i++)
		sum->endpoints[i].running = sum->endpoints[i].waiting = 0;
	for (unsigned i = 0; i < now->store_count; i++)
		add_store(sum, &now->stores[i]);
	for (unsigned i = 0; i < now->endpoint_count; i++)
		add_endpoint(sum, &now->endpoints[i]);
}
