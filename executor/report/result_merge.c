#include "executor/report/result_merge.h"

#include "executor/base/cleanup.h"
#include "executor/report/outputs.h"

#include <errno.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

static const char *const arrays[] = { "parameters", "artifacts" };

/* --- one array --------------------------------------------------------------------------- */

/* Our entries, which are found by name; each is taken once. */
struct own {
	struct json_object *entries;
	struct json_object *first; /* name → index of the first of that name */
	bool *taken;
};

static const char *name_of(struct json_object *entry)
{
	return json_get_string(entry, "name", "");
}

static void own_done(struct own *own)
{
	json_free(own->first);
	free(own->taken);
}

static int own_init(struct own *own, struct json_object *entries)
{
	size_t count = json_length(entries);

	*own = (struct own){
		.entries = entries,
		.first = json_new_object(),
		.taken = calloc(count + 1, sizeof(*own->taken)),
	};
	if (!own->first || !own->taken)
		return -ENOMEM;
	for (size_t i = count; i-- > 0;)
		if (json_set(own->first, name_of(json_at(entries, i)), json_new_int((int64_t)i)) <
		    0)
			return -ENOMEM;
	return 0;
}

/* The next of ours in place of what is stored under that name. NULL: *ret_is_ours says whether there was
 * one, of which all have been taken. */
static struct json_object *take(struct own *own, const char *name, bool *ret_is_ours)
{
	int64_t first = json_get_int(own->first, name, -1);

	*ret_is_ours = first >= 0;
	if (first < 0)
		return NULL;
	for (size_t i = (size_t)first; i < json_length(own->entries); i++) {
		struct json_object *entry = json_at(own->entries, i);

		if (own->taken[i] || strcmp(name_of(entry), name) != 0)
			continue;
		own->taken[i] = true;
		return entry;
	}
	return NULL;
}

static int append_stored(struct json_object *merged, struct own *own, struct json_object *stored)
{
	int r = 0;

	for (size_t i = 0; r == 0 && i < json_length(stored); i++) {
		struct json_object *entry = json_at(stored, i);
		bool is_ours;
		struct json_object *newer = take(own, name_of(entry), &is_ours);

		if (newer)
			r = json_append(merged, json_ref(newer));
		else if (entry && !is_ours)
			r = json_append(merged, json_ref(entry));
	}
	return r;
}

static int merge_array(struct json_object *stored, struct json_object *ours,
		       struct json_object **ret)
{
	_cleanup_json_ struct json_object *merged = json_new_array();
	struct own own;
	int r = own_init(&own, ours);

	if (r == 0 && !merged)
		r = -ENOMEM;
	if (r == 0)
		r = append_stored(merged, &own, stored);
	for (size_t i = 0; r == 0 && i < json_length(ours); i++)
		if (!own.taken[i] && json_at(ours, i))
			r = json_append(merged, json_ref(json_at(ours, i)));
	own_done(&own);
	if (r == 0)
		*ret = TAKE_PTR(merged);
	return r;
}

/* --- the object -------------------------------------------------------------------------- */

static int copy_member(const char *key, struct json_object *value, void *context)
{
	return value ? json_set(context, key, json_ref(value)) : 0;
}

static int merge(struct json_object *stored, struct json_object *ours, struct json_object **ret)
{
	_cleanup_json_ struct json_object *merged = json_new_object();
	int r = merged ? json_each(ours, copy_member, merged) : -ENOMEM;

	for (size_t i = 0; r == 0 && i < sizeof(arrays) / sizeof(*arrays); i++) {
		struct json_object *old = json_get(stored, arrays[i]);
		struct json_object *own = json_get(ours, arrays[i]), *array = NULL;

		if (!json_is_array(old) || !json_is_array(own))
			continue;
		r = merge_array(old, own, &array);
		if (r == 0)
			r = json_set(merged, arrays[i], array);
	}
	if (r == 0)
		*ret = TAKE_PTR(merged);
	return r;
}

/* Of the outputs that are stored when `merged` has been. */
static int measure(struct json_object *stored, struct json_object *merged, size_t *ret)
{
	_cleanup_json_ struct json_object *whole = json_new_object();
	int r = whole ? json_each(stored, copy_member, whole) : -ENOMEM;

	if (r == 0)
		r = json_each(merged, copy_member, whole);
	return r == 0 ? outputs_size(whole, ret) : r;
}

static int no_memory(struct error *err)
{
	return error_set(err, -ENOMEM, "outputs: out of memory");
}

int result_merge(struct json_object *stored, struct json_object *ours, size_t max,
		 struct json_object **ret, struct error *err)
{
	_cleanup_json_ struct json_object *merged = NULL, *less = NULL, *cut = NULL;
	size_t whole = 0, own = 0;
	int r = merge(stored, ours, &merged);

	if (r == 0)
		r = measure(stored, merged, &whole);
	if (r == 0 && whole > max)
		r = outputs_size(ours, &own);
	if (r < 0)
		return no_memory(err);
	if (whole <= max) {
		*ret = TAKE_PTR(merged);
		return 0;
	}
	less = json_copy(ours);
	if (!less)
		return no_memory(err);
	r = outputs_limit(less, whole > own ? whole - own : 0, max, err);
	if (r == -ENOMEM || merge(stored, less, &cut) < 0)
		return no_memory(err);
	*ret = TAKE_PTR(cut);
	return r;
}
