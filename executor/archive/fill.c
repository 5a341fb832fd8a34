#include "executor/archive/fill.h"

#include <errno.h>
#include <string.h>
#include <unistd.h>

bool fill_is_zeros(const void *data, size_t size)
{
	const char *bytes = data;

	return size > 0 && bytes[0] == '\0' && memcmp(bytes, bytes + 1, size - 1) == 0;
}

/* The reader ends content at its announced size; the room was measured by that. */
int fill_check_part(const struct tar_part *part, const struct member *member, struct error *err)
{
	if (part->offset > member->size || part->size > member->size - part->offset)
		return error_set(err, -EBADMSG, "tar: more content than announced");
	return 0;
}

int fill_part(struct filling *file, const struct tar_part *part, const struct member *member,
	      struct error *err)
{
	char printable[MEMBER_PRINTABLE_MAX];
	const char *p = part->data;
	uint64_t offset = part->offset;
	size_t size = part->size;
	int r = fill_check_part(part, member, err);

	/* The file is new, and gets its size at the end: a sparse one becomes sparse again, although
	 * most archives spell out its holes. */
	if (r < 0 || fill_is_zeros(p, size))
		return r;
	while (size > 0) {
		ssize_t n = pwrite(file->fd, p, size, (off_t)offset);

		if (n < 0 && errno == EINTR)
			continue;
		if (n < 0)
			return error_errno(err, -errno, "write %s",
					   member_printable(member->name, printable));
		p += n;
		offset += (uint64_t)n;
		size -= (size_t)n;
	}
	if (offset > file->end)
		file->end = offset;
	return 0;
}

int fill_from_tar(struct tar_reader *tar, struct filling *file, const struct member *member,
		  const struct hooks *hooks, struct error *err)
{
	struct tar_part part;
	int r;

	while ((r = tar_reader_data(tar, &part, err)) > 0) {
		r = fill_part(file, &part, member, err);
		if (r == 0)
			r = hooks_check(hooks, err);
		if (r < 0)
			return r;
	}
	return r;
}
