#include "executor/report/result_merge.h"

#include "executor/base/cleanup.h"
#include "executor/report/outputs.h"

#include <errno.h>
#include <stdbool.h>

static const char *const arrays[] = { "parameters", "artifacts" };

/* --- one array --------------------------------------------------------------------------- */

static const char *name_of(struct json_object *entry)
{
	return json_get_string(entry, "name", "");
}

/* An object whose members are the names; NULL = no memory. */
static struct json_object *names_of(struct json_object *entries)
{
	struct json_object *names = json_new_object();

	for (size_t i = 0; names && i < json_length(entries); i++)
		if (json_set(names, name_of(json_at(entries, i)), json_new_bool(true)) < 0) {
			json_free(names);
			return NULL;
		}
	return names;
}

/* Where an entry of a name of ours is stored, the next of ours is put, whichever: they keep their order. */
static int merge_array(struct json_object *stored, struct json_object *ours,
		       struct json_object **ret)
{
	_cleanup_json_ struct json_object *merged = json_new_array(), *names = names_of(ours);
	size_t next = 0;
	int r = merged && names ? 0 : -ENOMEM;

	for (size_t i = 0; r == 0 && i < json_length(stored); i++) {
		struct json_object *entry = json_at(stored, i);
		bool is_ours = json_get(names, name_of(entry)) != NULL;

		if (is_ours)
			entry = json_at(ours, next++);
		if (entry)
			r = json_append(merged, json_ref(entry));
	}
	for (; r == 0 && next < json_length(ours); next++)
		if (json_at(ours, next))
			r = json_append(merged, json_ref(json_at(ours, next)));
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
