#include "executor/artifact/object/survey.h"

#include "executor/artifact/object/list.h"
#include "executor/base/cleanup.h"
#include "executor/base/text.h"

#include <errno.h>
#include <string.h>

/* Pages of a thousand that may show nothing of use, and a visit for each key that may. */
#define STRANGERS_MAX 4000

struct survey {
	const char *const *keys;
	uint8_t *places;
	size_t *order; /* of the keys */
	size_t count;
	size_t strangers;
	const char *prefix;
	struct buffer key; /* the one looked at */
};

static int compare(const void *a, const void *b, void *context)
{
	const char *const *keys = context;

	return strcmp(keys[*(const size_t *)a], keys[*(const size_t *)b]);
}

/* The first of the keys that is these characters; count if none is. */
static size_t find(const struct survey *survey, const char *s, size_t size)
{
	size_t low = 0, high = survey->count;

	while (low < high) {
		size_t middle = low + (high - low) / 2;
		const char *key = survey->keys[survey->order[middle]];
		int order = strncmp(key, s, size);

		if (order < 0)
			low = middle + 1;
		else
			high = middle;
	}
	/* Longer keys that begin so come behind it. */
	if (low < survey->count && strncmp(survey->keys[survey->order[low]], s, size) == 0 &&
	    survey->keys[survey->order[low]][size] == '\0')
		return low;
	return survey->count;
}

static bool note(struct survey *survey, const char *s, size_t size, enum object_place place)
{
	bool is_any = false;

	for (size_t i = find(survey, s, size); i < survey->count; i++) {
		const char *key = survey->keys[survey->order[i]];

		if (strlen(key) != size || memcmp(key, s, size) != 0)
			break;
		if (survey->places[survey->order[i]] != OBJECT_SEEN)
			survey->places[survey->order[i]] = (uint8_t)place;
		is_any = true;
	}
	return is_any;
}

static int visit(void *context, const char *relative, int64_t size, struct error *err)
{
	struct survey *survey = context;
	const char *key;
	bool is_any;
	int r;

	(void)size;
	buffer_reset(&survey->key);
	r = buffer_append_format(&survey->key, "%s%s", survey->prefix, relative);
	if (r < 0)
		return error_errno(err, r, "note the key");
	key = buffer_string(&survey->key);
	is_any = note(survey, key, strlen(key), OBJECT_SEEN);
	for (const char *p = strchr(key, '/'); p; p = strchr(p + 1, '/'))
		is_any |= note(survey, key, (size_t)(p - key), OBJECT_SEEN_BELOW);
	if (is_any)
		return 0;
	return ++survey->strangers > STRANGERS_MAX + survey->count ?
		       error_set(err, -E2BIG, "others lie there") :
		       0;
}

/* Up to the last slash of what all keys begin with. Caller frees; NULL = no memory. */
static char *common_prefix(const struct survey *survey)
{
	const char *first = survey->keys[survey->order[0]];
	const char *last = survey->keys[survey->order[survey->count - 1]];
	size_t size = 0, end = 0;

	/* They are in order: what the first and the last share, all do. */
	for (; first[size] && first[size] == last[size]; size++)
		if (first[size] == '/')
			end = size + 1;
	return strndup(first, end);
}

int object_survey(struct object_client *client, const char *const *keys, size_t count,
		  uint8_t *places, struct error *err)
{
	_cleanup_free_ size_t *order = calloc(count, sizeof(*order));
	_cleanup_free_ char *prefix = NULL;
	struct survey survey = {
		.keys = keys,
		.places = places,
		.order = order,
		.count = count,
		.key = BUFFER_INIT(4 * OBJECT_KEY_BYTES_MAX),
	};
	struct error cause = ERROR_NONE;
	int r;

	if (!order)
		return error_set(err, -ENOMEM, "out of memory");
	for (size_t i = 0; i < count; i++)
		order[i] = i;
	qsort_r(order, count, sizeof(*order), compare, (void *)keys);
	prefix = common_prefix(&survey);
	if (!prefix)
		return error_set(err, -ENOMEM, "out of memory");
	survey.prefix = prefix;
	r = object_list_all(client, prefix, visit, &survey, &cause);
	buffer_done(&survey.key);
	if (r != -ECANCELED && r != -ENOMEM)
		return 0;
	*err = cause;
	return r;
}
