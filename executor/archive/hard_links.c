#include "executor/archive/hard_links.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

#define ROOM_AT_FIRST 256

struct hard_links_file {
	struct timespec mtime;
	uint64_t dev, ino, size;
	size_t name; /* offset into names, and one: 0 = an empty place */
};

void hard_links_done(struct hard_links *links)
{
	free(links->files);
	buffer_done(&links->names);
	links->files = NULL;
	links->count = links->room = 0;
}

static bool is_same(const struct hard_links_file *file, const struct stat *st)
{
	return file->ino == st->st_ino && file->dev == st->st_dev &&
	       file->size == (uint64_t)st->st_size && file->mtime.tv_sec == st->st_mtim.tv_sec &&
	       file->mtime.tv_nsec == st->st_mtim.tv_nsec;
}

/* Where a file of that number is looked for first. Of a tree's files hardly any share it. */
static size_t place_of(uint64_t dev, uint64_t ino, size_t room)
{
	return (size_t)(((ino ^ (dev << 32)) * 0x9e3779b97f4a7c15) >> 32) & (room - 1);
}

const char *hard_links_find(const struct hard_links *links, const struct stat *st)
{
	size_t i;

	if (links->count == 0)
		return NULL;
	i = place_of(st->st_dev, st->st_ino, links->room);
	for (; links->files[i].name; i = (i + 1) & (links->room - 1))
		if (is_same(&links->files[i], st))
			return links->names.data + links->files[i].name - 1;
	return NULL;
}

static void put(struct hard_links_file *files, size_t room, const struct hard_links_file *file)
{
	size_t i = place_of(file->dev, file->ino, room);

	while (files[i].name)
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
		if (links->files[i].name)
			put(files, room, &links->files[i]);
	free(links->files);
	links->files = files;
	links->room = room;
	return 0;
}

int hard_links_remember(struct hard_links *links, const struct stat *st, const char *name)
{
	struct hard_links_file file = {
		.dev = st->st_dev,
		.ino = st->st_ino,
		.size = (uint64_t)st->st_size,
		.mtime = st->st_mtim,
		.name = links->names.size + 1,
	};
	int r = 0;

	if (links->count == HARD_LINKS_COUNT_MAX)
		return -ENOBUFS;
	if (2 * links->count >= links->room)
		r = grow(links);
	if (r == 0)
		r = buffer_append(&links->names, name, strlen(name) + 1);
	if (r < 0)
		return r == -EMSGSIZE ? -ENOBUFS : r;
	put(links->files, links->room, &file);
	links->count++;
	return 0;
}
