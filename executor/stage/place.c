#include "executor/stage/place.h"

#include "executor/base/cleanup.h"
#include "executor/base/fd.h"
#include "executor/stage/merge.h"
#include "executor/stage/volume.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>

static struct spot spot_of(const struct place *place, const char *path)
{
	return (struct spot){ .directory_fd = place->directory_fd,
			      .name = path_basename(path),
			      .path = path };
}

struct spot place_landing(const struct place *place)
{
	return spot_of(place, place->landing);
}

struct spot place_temporary(const struct place *place)
{
	return spot_of(place, place->temporary);
}

struct spot place_target(const struct place *place)
{
	struct spot spot = spot_of(place, place->target);

	if (place->joins)
		spot.name = ".";
	return spot;
}

/*
 * A volume may hold what others put there, also symbolic links: whatever of the way to the target
 * exists must lead to a place inside the volume.
 */
static int find_in_volume(const struct stage *stage, const char *mount, const char *path,
			  struct place *place, struct error *err)
{
	const char *relative = path + strlen(mount), *slash;
	_cleanup_close_ int root_fd = volume_open(stage, mount, true, err), above_fd = -1;
	_cleanup_free_ char *above = NULL;
	char root[PATH_MAX_BYTES];

	if (root_fd < 0)
		return root_fd;
	relative += strspn(relative, "/");
	place->joins = !*relative;
	if (place->joins) {
		place->directory_fd = TAKE_FD(root_fd);
		return 0;
	}
	slash = strrchr(relative, '/');
	above = strndup(relative, slash ? (size_t)(slash - relative) : 0);
	if (!above)
		return error_set(err, -ENOMEM, "out of memory");
	snprintf(root, sizeof(root), "%s%s", stage->main_root, mount);
	above_fd =
		file_make_beneath(root_fd, root, above, VOLUME_DIRECTORY_MODE, BENEATH_FOLLOW, err);
	if (above_fd < 0)
		return above_fd;
	/* The last component is replaced, not followed. */
	place->directory_fd = openat(above_fd, slash ? slash + 1 : relative,
				     O_PATH | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC);
	place->joins = place->directory_fd >= 0;
	if (!place->joins)
		place->directory_fd = TAKE_FD(above_fd);
	return 0;
}

static void set_names(const struct stage *stage, const struct template_artifact *artifact,
		      bool is_in_volume, struct place *place)
{
	snprintf(place->target, sizeof(place->target), "%s%s%s",
		 is_in_volume ? stage->main_root : stage->inputs, is_in_volume ? "" : "/",
		 is_in_volume ? artifact->path : artifact->name);
	snprintf(place->landing, sizeof(place->landing), "%s%s%s", place->target,
		 place->joins ? "/.argo-" : "", place->joins ? artifact->name : "");
	/* A name that nobody else has: beside the target, `<target>.tmp` may be a file of the user's. */
	snprintf(place->temporary, sizeof(place->temporary), "%.*s/.argo-%s.tmp",
		 (int)(strrchr(place->landing, '/') - place->landing), place->landing,
		 artifact->name);
}

/* What lies at the target already: in our own directory it is from an earlier attempt and goes, a
 * directory in a volume is the user's and stays. */
int place_prepare(const struct stage *stage, const struct template_artifact *artifact,
		  struct place *place, struct error *err)
{
	const char *mount = template_find_mount(stage->template, artifact->path);
	int r = 0;

	*place = (struct place){ .directory_fd = -1 };
	if (mount)
		r = find_in_volume(stage, mount, artifact->path, place, err);
	else
		r = place->directory_fd = volume_open_own(stage->inputs, err);
	if (r < 0)
		return r;
	set_names(stage, artifact, mount != NULL, place);
	return place->joins || !mount ? spot_remove_tree(place_landing(place), err) : 0;
}

void place_done(struct place *place)
{
	cleanup_close(&place->directory_fd);
	place->directory_fd = -1;
}

int place_fill(const struct place *place, struct error *err)
{
	struct spot from = place_temporary(place), to = place_landing(place);
	int r;

	if (renameat(from.directory_fd, from.name, to.directory_fd, to.name) == 0)
		return 0;
	r = error_errno(err, -errno, "rename %s to %s", from.path, to.path);
	spot_remove_tree(from, NULL);
	return r;
}

static bool is_directory(struct spot spot)
{
	struct stat st;

	return fstatat(spot.directory_fd, spot.name, &st, AT_SYMLINK_NOFOLLOW) == 0 &&
	       S_ISDIR(st.st_mode);
}

/* From where it was put together to where it is wanted. */
int place_settle(const struct place *place, struct error *err)
{
	struct spot landing = place_landing(place);
	int r;

	if (!place->joins)
		return 0;
	if (is_directory(landing))
		r = merge_directories(landing, place_target(place), err);
	else
		r = error_set(err, -EISDIR,
			      "%s is a directory that exists, and the artifact is a file",
			      place->target);
	if (r < 0)
		spot_remove_tree(landing, NULL);
	return r;
}
