#include "executor/stage/handed.h"

#include "executor/base/cleanup.h"

#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>

static void item_free(struct handed_item *item)
{
	if (item->fd >= 0)
		close(item->fd);
	opened_free(item->opened);
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
	item->number = ++handed->last;
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

int handed_pass(const struct handed_item *item)
{
	int fd;

	if (item->fd < 0)
		return -EBADF;
	if (item->opened)
		return opened_bundle(item->opened, item->fd);
	fd = fcntl(item->fd, F_DUPFD_CLOEXEC, 0);
	return fd < 0 ? -errno : fd;
}

/* A file or a directory, or with a socket the parts of it as well. */
static int take_descriptor(struct handed_item *item, int fd)
{
	struct stat st;

	if (fd >= 0 && fstat(fd, &st) == 0 && S_ISSOCK(st.st_mode))
		return opened_unbundle(fd, &item->opened, &item->fd);
	item->fd = fd;
	return 0;
}

int handed_adopt(struct handed *handed, struct json_object *description, int *fd)
{
	const char *path = json_get_string(description, "path", "");
	int64_t code = json_get_int(description, "code", 0);
	struct handed_item *item;
	int r;

	if (*path != '/' || code < 0 || code > INT_MAX || (code == 0) != (*fd >= 0))
		return -EINVAL;
	item = handed_add(handed, path);
	if (!item)
		return -ENOMEM;
	r = take_descriptor(item, TAKE_FD(*fd));
	if (r < 0) {
		handed_remove(handed, path);
		return r;
	}
	item->code = (int)code;
	read_identity(description, &item->identity);
	item->identity.opened = item->opened;
	item->counts.files = (uint64_t)json_get_int(description, "files", 0);
	item->counts.directories = (uint64_t)json_get_int(description, "directories", 0);
	item->counts.links = (uint64_t)json_get_int(description, "links", 0);
	return 0;
}
