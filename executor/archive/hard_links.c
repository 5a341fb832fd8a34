#include "executor/archive/hard_links.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

#define ROOM_AT_FIRST 256

void hard_links_done(struct hard_links *links)
{
	free(links->files);
	buffer_done(&links->names);
	links->files = NULL;
	links->count = links->room = 0;
}

static bool is_same(const struct hard_links_file *a, const struct hard_links_file *b)
{
	return a->ino == b->ino && a->dev == b->dev && a->size == b->size &&
	       a->mtime.tv_sec == b->mtime.tv_sec && a->mtime.tv_nsec == b->mtime.tv_nsec;
}

/* Where a file of that number is looked for first. Of a tree's files hardly any share it. */
static size_t place_of(uint64_t dev, uint64_t ino, size_t room)
{
	return (size_t)(((ino ^ (dev << 32)) * 0x9e3779b97f4a7c15) >> 32) & (room - 1);
}

const struct hard_links_file *hard_links_find(const struct hard_links *links,
					      const struct hard_links_file *key)
{
	size_t i;

	if (links->count == 0)
		return NULL;
	i = place_of(key->dev, key->ino, links->room);
	for (; links->files[i].number; i = (i + 1) & (links->room - 1))
		if (is_same(&links->files[i], key))
			return &links->files[i];
	return NULL;
}

static void put(struct hard_links_file *files, size_t room, const struct hard_links_file *file)
{
	size_t i = place_of(file->dev, file->ino, room);

	while (files[i].number)
		i = (i + 1) & (room - 1);
	files[i] = *file;
}

/* At most half of the places are taken. */
static int grow(struct hard_links *links)
{
	size_t room = links->room ? 2 * links->room : ROOM_AT_FIRST;
	struct hard_links_file *files = calloc(room, sizeof(*files));

	if (!files)
		return -ENOMEM;
	for (size_t i = 0; i < links->room; i++)
		if (links->files[i].number)
			put(files, room, &links->files[i]);
	free(links->files);
	links->files = files;
	links->room = room;
	return 0;
}

int hard_links_remember(struct hard_links *links, struct hard_links_file *file, const char *name)
{
	int r = 0;

	if (links->count == HARD_LINKS_COUNT_MAX)
		return -ENOBUFS;
	file->name = (uint32_t)links->names.size;
	if (2 * links->count >= links->room)
		r = grow(links);
	if (r == 0)
		r = buffer_append(&links->names, name, strlen(name) + 1);
	if (r < 0)
		return r == -EMSGSIZE ? -ENOBUFS : r;
	file->number = (uint32_t)++links->count;
	put(links->files, links->room, file);
	return 0;
}

const char *hard_links_name(const struct hard_links *links, const struct hard_links_file *file)
{
	return links->names.data + file->name;
}
