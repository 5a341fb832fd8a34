#include "executor/base/directory.h"

#include <dirent.h>
#include <errno.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdlib.h>
#include <string.h>
#include <sys/types.h>
#include <unistd.h>

/* As the C library has it. */
#define ENTRIES_BYTES 32768

struct directory {
	int fd;
	off_t next; /* where to go on when `entries` are used up */
	size_t at, size;
	_Alignas(struct dirent64) char entries[ENTRIES_BYTES];
};

int directory_new(int fd, struct directory **ret)
{
	struct directory *directory = malloc(sizeof(*directory));

	if (!directory) {
		close(fd);
		return -ENOMEM;
	}
	directory->fd = fd;
	directory->next = 0;
	directory->at = directory->size = 0;
	*ret = directory;
	return 0;
}

void directory_free(struct directory *directory)
{
	if (directory)
		close(directory->fd);
	free(directory);
}

static int fill(struct directory *directory)
{
	ssize_t n;

	if (lseek(directory->fd, directory->next, SEEK_SET) < 0)
		return -errno;
	n = getdents64(directory->fd, directory->entries, sizeof(directory->entries));
	if (n < 0)
		return -errno;
	directory->at = 0;
	directory->size = (size_t)n;
	return n > 0;
}

static bool is_dots(const char *name)
{
	return strcmp(name, ".") == 0 || strcmp(name, "..") == 0;
}

int directory_next(struct directory *directory, const char **ret)
{
	for (;;) {
		const struct dirent64 *entry;

		if (directory->at == directory->size) {
			int r = fill(directory);

			if (r <= 0)
				return r;
		}
		entry = (const struct dirent64 *)(const void *)(directory->entries + directory->at);
		directory->at += entry->d_reclen;
		directory->next = entry->d_off;
		if (!is_dots(entry->d_name)) {
			*ret = entry->d_name;
			return 1;
		}
	}
}

int directory_descriptor(const struct directory *directory)
{
	return directory->fd;
}
