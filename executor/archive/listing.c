#include "executor/archive/listing.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <string.h>

static void close_directory(DIR **dir)
{
	if (*dir)
		closedir(*dir);
}

static int compare(const void *a, const void *b, void *names)
{
	return strcmp((char *)names + *(const uint32_t *)a, (char *)names + *(const uint32_t *)b);
}

static int add(struct listing *listing, const char *name)
{
	uint32_t offset = (uint32_t)listing->names.size;
	int r = buffer_append(&listing->names, name, strlen(name) + 1);

	if (r == 0)
		r = buffer_append(&listing->offsets, &offset, sizeof(offset));
	if (r == 0)
		listing->count++;
	return r;
}

int listing_read(struct listing *listing, int fd)
{
	_cleanup_(close_directory) DIR *dir = NULL;
	_cleanup_close_ int own = fcntl(fd, F_DUPFD_CLOEXEC, 0);
	struct dirent *entry;

	if (own < 0)
		return -errno;
	dir = fdopendir(own);
	if (!dir)
		return -errno;
	own = -1;
	rewinddir(dir); /* the position is shared with whoever gave us the descriptor */
	for (;;) {
		int r;

		errno = 0;
		entry = readdir(dir);
		if (!entry)
			break;
		if (strcmp(entry->d_name, ".") == 0 || strcmp(entry->d_name, "..") == 0)
			continue;
		r = add(listing, entry->d_name);
		if (r < 0)
			return r;
	}
	if (errno != 0)
		return -errno;
	if (listing->count > 1)
		qsort_r(listing->offsets.data, listing->count, sizeof(uint32_t), compare,
			listing->names.data);
	return 0;
}

const char *listing_name(const struct listing *listing, size_t index)
{
	return listing->names.data + ((const uint32_t *)(const void *)listing->offsets.data)[index];
}

void listing_done(struct listing *listing)
{
	buffer_done(&listing->names);
	buffer_done(&listing->offsets);
	listing->count = 0;
}
