#include "executor/artifact/object/survey.h"

#include "executor/artifact/object/list.h"
#include "executor/base/cleanup.h"
#include "executor/base/text.h"

#include <errno.h>
#include <string.h>

/* Pages of a thousand that may show nothing of use, and a visit for each key that may. */
#define STRANGERS_MAX 4000

struct search {
	const struct object_survey *survey;
	const char *const *keys; /* the survey's */
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
static size_t find(const struct search *search, const char *s, size_t size)
{
	size_t low = 0, high = search->count;

	while (low < high) {
		size_t middle = low + (high - low) / 2;
		const char *key = search->keys[search->order[middle]];
		int order = strncmp(key, s, size);

		if (order < 0)
			low = middle + 1;
		else
			high = middle;
	}
	/* Longer keys that begin so come behind it. */
	if (low < search->count && strncmp(search->keys[search->order[low]], s, size) == 0 &&
	    search->keys[search->order[low]][size] == '\0')
		return low;
	return search->count;
}

/* 1 if it is one of the keys. */
static int note(struct search *search, const char *s, size_t size, enum object_place place,
		struct error *err)
{
	const struct object_survey *survey = search->survey;
	int r = 0;

	for (size_t i = find(search, s, size); i < search->count && r >= 0; i++) {
		size_t number = search->order[i];
		uint8_t *known = &survey->places[number];

		if (strlen(search->keys[number]) != size ||
		    memcmp(search->keys[number], s, size) != 0)
			break;
		r = 1;
		if (*known == OBJECT_SEEN)
			continue;
		*known = (uint8_t)place;
		if (place == OBJECT_SEEN && survey->seen(survey->context, number, err) < 0)
			r = -ECANCELED;
	}
	return r;
}

static int visit(void *context, const char *relative, int64_t size, struct error *err)
{
	struct search *search = context;
	const char *key;
	int r, is_any = 0;

	(void)size;
	buffer_reset(&search->key);
	r = buffer_append_format(&search->key, "%s%s", search->prefix, relative);
	if (r < 0)
		return error_errno(err, r, "note the key");
	key = buffer_string(&search->key);
	r = note(search, key, strlen(key), OBJECT_SEEN, err);
	is_any = r;
	for (const char *p = strchr(key, '/'); p && r >= 0; p = strchr(p + 1, '/')) {
		r = note(search, key, (size_t)(p - key), OBJECT_SEEN_BELOW, err);
		is_any |= r;
	}
	if (r < 0 || is_any)
		return r < 0 ? r : 0;
	return ++search->strangers > STRANGERS_MAX + search->count ?
		       error_set(err, -E2BIG, "others lie there") :
		       0;
}

/* Up to the last slash of what all keys begin with. Caller frees; NULL = no memory. */
static char *common_prefix(const struct search *search)
{
	const char *first = search->keys[search->order[0]];
	const char *last = search->keys[search->order[search->count - 1]];
	size_t size = 0, end = 0;

	/* They are in order: what the first and the last share, all do. */
	for (; first[size] && first[size] == last[size]; size++)
		if (first[size] == '/')
			end = size + 1;
	return strndup(first, end);
}

int object_survey(struct object_client *client, const struct object_survey *survey,
		  struct error *err)
{
	_cleanup_free_ size_t *order = calloc(survey->count, sizeof(*order));
	_cleanup_free_ char *prefix = NULL;
	struct search search = {
		.survey = survey,
		.keys = survey->keys,
		.order = order,
		.count = survey->count,
		.key = BUFFER_INIT(4 * OBJECT_KEY_BYTES_MAX),
	};
	struct error cause = ERROR_NONE;
	int r;

	if (!order)
		return error_set(err, -ENOMEM, "out of memory");
	for (size_t i = 0; i < survey->count; i++)
		order[i] = i;
	qsort_r(order, survey->count, sizeof(*order), compare, (void *)survey->keys);
	prefix = common_prefix(&search);
	if (!prefix)
		return error_set(err, -ENOMEM, "out of memory");
	search.prefix = prefix;
	r = object_list_all(client, prefix, visit, &search, &cause);
	buffer_done(&search.key);
	if (r != -ECANCELED && r != -ENOMEM)
		return 0;
	*err = cause;
	return r;
}
