#include "executor/stage/volume.h"

#include "executor/base/cleanup.h"
#include "executor/base/fd.h"
#include "executor/base/path.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <string.h>

static int open_by_path(const char *path, struct error *err)
{
	int fd = open(path, O_PATH | O_DIRECTORY | O_CLOEXEC);

	return fd < 0 ? error_errno(err, -errno, "open %s", path) : fd;
}

int volume_open_own(const char *path, struct error *err)
{
	int r, fd = open_by_path(path, err);

	if (fd != -ENOENT)
		return fd;
	r = path_make_directories(path, VOLUME_DIRECTORY_MODE, err);
	return r < 0 ? r : open_by_path(path, err);
}

int volume_open(const struct stage *stage, const char *mount, bool is_made, struct error *err)
{
	const char *outer = template_find_outer_mount(stage->template, mount);
	_cleanup_close_ int outer_fd = -1;
	char path[PATH_MAX_BYTES];

	if ((size_t)snprintf(path, sizeof(path), "%s%s", stage->main_root, outer ? outer : mount) >=
	    sizeof(path))
		return error_set(err, -ENAMETOOLONG, "path %.200s… is too long", mount);
	if (!outer)
		return is_made ? volume_open_own(path, err) : open_by_path(path, err);
	outer_fd = volume_open(stage, outer, is_made, err);
	if (outer_fd < 0)
		return outer_fd;
	mount += strlen(outer);
	return is_made ? file_make_beneath(outer_fd, path, mount, VOLUME_DIRECTORY_MODE,
					   BENEATH_FOLLOW, err) :
			 file_open_beneath_at(outer_fd, path, mount, O_PATH | O_DIRECTORY,
					      BENEATH_FOLLOW, err);
}
