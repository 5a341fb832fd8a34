#include "executor/stage/handed.h"

#include "executor/base/cleanup.h"

#include <errno.h>
#include <limits.h>
#include <stdio.h>
#include <string.h>

static void item_free(struct handed_item *item)
{
	if (item->fd >= 0)
		close(item->fd);
	free(item->path);
	free(item);
}

void handed_done(struct handed *handed)
{
	while (handed->items) {
		struct handed_item *item = handed->items;

		handed->items = item->next;
		item_free(item);
	}
}

struct handed_item *handed_add(struct handed *handed, const char *path)
{
	struct handed_item *item = calloc(1, sizeof(*item));

	if (!item)
		return NULL;
	item->fd = -1;
	item->path = strdup(path);
	if (!item->path) {
		item_free(item);
		return NULL;
	}
	item->next = handed->items;
	handed->items = item;
	return item;
}

void handed_remove(struct handed *handed, const char *path)
{
	for (struct handed_item **link = &handed->items; *link; link = &(*link)->next) {
		struct handed_item *item = *link;

		if (strcmp(item->path, path) != 0)
			continue;
		*link = item->next;
		item_free(item);
		return;
	}
}

const struct handed_item *handed_find(const struct handed *handed, const char *path)
{
	for (const struct handed_item *item = handed->items; item; item = item->next)
		if (strcmp(item->path, path) == 0)
			return item;
	return NULL;
}

/* --- as a message ----------------------------------------------------------------------- */

static int set_int(struct json_object *object, const char *key, uint64_t value)
{
	return json_set(object, key, json_new_int((int64_t)value));
}

/* "10,20,30" */
#define GROUPS_TEXT_MAX (IDENTITY_GROUPS_MAX * 11 + 1)

static int set_groups(struct json_object *object, const struct identity *identity)
{
	char text[GROUPS_TEXT_MAX] = "";
	int used = 0;

	for (size_t i = 0; i < identity->group_count; i++)
		used += snprintf(text + used, sizeof(text) - (size_t)used, "%s%u", i ? "," : "",
				 identity->groups[i]);
	return json_set_string(object, "groups", text);
}

struct json_object *handed_describe(const struct handed_item *item)
{
	_cleanup_json_ struct json_object *object = json_new_object();

	if (!object || json_set_string(object, "path", item->path) < 0 ||
	    set_int(object, "code", (uint64_t)item->code) < 0 ||
	    set_int(object, "uid", item->identity.uid) < 0 ||
	    set_int(object, "gid", item->identity.gid) < 0 ||
	    set_groups(object, &item->identity) < 0 ||
	    set_int(object, "files", item->counts.files) < 0 ||
	    set_int(object, "directories", item->counts.directories) < 0 ||
	    set_int(object, "links", item->counts.links) < 0)
		return NULL;
	return TAKE_PTR(object);
}

static void read_identity(struct json_object *description, struct identity *ret)
{
	const char *text = json_get_string(description, "groups", "");
	gid_t groups[IDENTITY_GROUPS_MAX];
	size_t count = 0;

	while (*text && count < IDENTITY_GROUPS_MAX) {
		char *end;

		groups[count++] = (gid_t)strtoul(text, &end, 10);
		text = *end ? end + 1 : end;
	}
	identity_init(ret, (uid_t)json_get_int(description, "uid", (uid_t)-1),
		      (gid_t)json_get_int(description, "gid", (gid_t)-1), groups, count);
}

int handed_adopt(struct handed *handed, struct json_object *description, int *fd)
{
	const char *path = json_get_string(description, "path", "");
	int64_t code = json_get_int(description, "code", 0);
	struct handed_item *item;

	if (*path != '/' || code < 0 || code > INT_MAX || (code == 0) != (*fd >= 0))
		return -EINVAL;
	item = handed_add(handed, path);
	if (!item)
		return -ENOMEM;
	item->fd = TAKE_FD(*fd);
	item->code = (int)code;
	read_identity(description, &item->identity);
	item->counts.files = (uint64_t)json_get_int(description, "files", 0);
	item->counts.directories = (uint64_t)json_get_int(description, "directories", 0);
	item->counts.links = (uint64_t)json_get_int(description, "links", 0);
	return 0;
}
