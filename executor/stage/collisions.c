#include "executor/stage/collisions.h"

#include "executor/base/buffer.h"
#include "executor/base/cleanup.h"
#include "executor/stage/save.h"
#include "executor/stage/source.h"
#include "executor/template/location.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

/* A location of a template, whose size is limited. */
#define PLACE_BYTES_MAX (16 * 1024 * 1024)

struct claim {
	size_t item;
	char *place; /* as text; owned */
};

enum presence { ABSENT, DIRECTORY, FILE_OR_UNKNOWN };

/* 0 or -ENOMEM. *ret stays NULL where there is no place: whoever saves it says why. */
static int find_place(const struct saving *saving, const struct saving_item *item, char **ret)
{
	_cleanup_json_ struct json_object *reported = NULL, *relocated = NULL;
	_cleanup_buffer_ struct buffer text = BUFFER_INIT(PLACE_BYTES_MAX);
	const struct stage *stage = saving->stage;
	int r = item->artifact ? save_describe_artifact(stage, item->artifact, &reported, NULL) :
				 save_describe_log(stage, item->name, &reported, NULL);

	if (r == 0)
		r = location_relocate(reported, template_archive_location(stage->template),
				      &relocated, NULL);
	if (r == 0)
		r = location_print_place(relocated, &text, NULL);
	if (r == 0 && text.size > 0)
		*ret = buffer_take(&text);
	return r == -ENOMEM ? r : 0;
}

static enum presence look(const struct saving *saving, const struct saving_item *item)
{
	_cleanup_source_ struct source source = { .fd = -1 };
	char path[SAVE_LOG_PATH_MAX];
	int r;

	if (item->artifact) {
		r = source_open(saving->stage, item->artifact, &source, NULL);
	} else {
		save_log_path(item->name, path);
		r = source_open_collected(saving->stage, path, &source, NULL);
	}
	if (r == -ENOENT)
		return ABSENT;
	/* Whoever shares /var/run/argo may have put a directory in the place of a log. */
	return r == 0 && source.is_directory && item->artifact &&
			       item->artifact->archive == ARCHIVE_NONE ?
		       DIRECTORY :
		       FILE_OR_UNKNOWN;
}

static bool is_tar(const struct template_artifact *artifact)
{
	return artifact->archive == ARCHIVE_TAR || artifact->archive == ARCHIVE_UNSET;
}

/* What is stored is the same, whoever comes last. */
static bool is_same(const struct saving_item *x, const struct saving_item *y)
{
	const struct template_artifact *a = x->artifact, *b = y->artifact;

	if (!a || !b)
		return !a && !b && strcmp(x->name, y->name) == 0;
	if (strcmp(a->path, b->path) != 0 || a->compression_level != b->compression_level)
		return false;
	return a->archive == b->archive || (is_tar(a) && is_tar(b));
}

static int by_place(const void *a, const void *b)
{
	const struct claim *x = a, *y = b;
	int order = strcmp(x->place, y->place);

	if (order != 0)
		return order;
	return x->item < y->item ? -1 : x->item > y->item;
}

static void warn_of_merging(const struct saving *saving, size_t first, size_t second)
{
	log_warn(saving->stage->log,
		 "Two output directories are stored below one key: of files of one name, one stays",
		 log_string("artifactName", saving->items[first].name),
		 log_string("otherName", saving->items[second].name));
}

/* `count` claims to one place, in the order of the items. */
static void judge(const struct saving *saving, const struct claim *claims, size_t count,
		  size_t *over)
{
	enum presence held = ABSENT;
	size_t holder = SIZE_MAX;

	for (size_t i = 0; i < count && holder == SIZE_MAX; i++)
		if (saving->items[claims[i].item].stored) {
			holder = claims[i].item;
			held = look(saving, &saving->items[holder]);
		}
	for (size_t i = 0; i < count; i++) {
		size_t number = claims[i].item;
		const struct saving_item *item = &saving->items[number];
		enum presence presence = number == holder ? ABSENT : look(saving, item);

		if (item->stored || presence == ABSENT)
			continue;
		if (holder == SIZE_MAX) {
			holder = number;
			held = presence;
		} else if (held == DIRECTORY && presence == DIRECTORY) {
			warn_of_merging(saving, holder, number);
		} else if (!is_same(&saving->items[holder], item)) {
			over[number] = holder;
		}
	}
}

static int find_places(const struct saving *saving, struct claim *claims, size_t *ret_count)
{
	int r = 0;

	for (size_t i = 0; r == 0 && i < saving->count; i++) {
		struct claim *claim = &claims[*ret_count];

		r = find_place(saving, &saving->items[i], &claim->place);
		claim->item = i;
		*ret_count += claim->place != NULL;
	}
	return r;
}

static void judge_all(const struct saving *saving, struct claim *claims, size_t count, size_t *over)
{
	qsort(claims, count, sizeof(*claims), by_place);
	for (size_t i = 0, end; i < count; i = end) {
		for (end = i + 1; end < count; end++)
			if (strcmp(claims[i].place, claims[end].place) != 0)
				break;
		if (end > i + 1)
			judge(saving, claims + i, end - i, over);
	}
}

int collisions_find(const struct saving *saving, size_t **ret, struct error *err)
{
	_cleanup_free_ struct claim *claims = calloc(saving->count + 1, sizeof(*claims));
	_cleanup_free_ size_t *over = calloc(saving->count + 1, sizeof(*over));
	size_t count = 0;
	int r = claims && over ? find_places(saving, claims, &count) : -ENOMEM;

	for (size_t i = 0; over && i < saving->count; i++)
		over[i] = i;
	if (r == 0)
		judge_all(saving, claims, count, over);
	for (size_t i = 0; i < count; i++)
		free(claims[i].place);
	if (r < 0)
		return error_set(err, r, "out of memory");
	*ret = TAKE_PTR(over);
	return 0;
}
