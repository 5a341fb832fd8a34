#include "executor/stage/place.h"

#include "executor/base/cleanup.h"
#include "executor/base/fd.h"
#include "executor/stage/merge.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>

/* Of directories above it. */
#define DIRECTORY_MODE 0755

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

/* Our own container's files lead there, and nobody else has a hand in those. */
static int open_root(const char *path, struct error *err)
{
	int fd = open(path, O_PATH | O_DIRECTORY | O_CLOEXEC);

	if (fd < 0 && errno == ENOENT) {
		int r = path_make_directories(path, DIRECTORY_MODE, err);

		if (r < 0)
			return r;
		fd = open(path, O_PATH | O_DIRECTORY | O_CLOEXEC);
	}
	return fd < 0 ? error_errno(err, -errno, "open %s", path) : fd;
}

/* A volume that is mounted inside another one is found beneath that: others may write there. */
static int open_volume(const struct stage *stage, const char *mount, struct error *err)
{
	const char *outer = template_find_outer_mount(stage->template, mount);
	_cleanup_close_ int outer_fd = -1;
	char path[PATH_MAX_BYTES];

	if ((size_t)snprintf(path, sizeof(path), "%s%s", stage->main_root, outer ? outer : mount) >=
	    sizeof(path))
		return error_set(err, -ENAMETOOLONG, "path %.200s… is too long", mount);
	if (!outer)
		return open_root(path, err);
	outer_fd = open_volume(stage, outer, err);
	return outer_fd < 0 ? outer_fd :
			      file_make_beneath(outer_fd, path, mount + strlen(outer),
						DIRECTORY_MODE, BENEATH_FOLLOW, err);
}

/*
 * A volume may hold what others put there, also symbolic links: whatever of the way to the target
 * exists must lead to a place inside the volume.
 */
static int find_in_volume(const struct stage *stage, const char *mount, const char *path,
			  struct place *place, struct error *err)
{
	const char *relative = path + strlen(mount), *slash;
	_cleanup_close_ int root_fd = open_volume(stage, mount, err), above_fd = -1;
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
	above_fd = file_make_beneath(root_fd, root, above, DIRECTORY_MODE, BENEATH_FOLLOW, err);
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
		r = place->directory_fd = open_root(stage->inputs, err);
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
