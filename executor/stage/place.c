#include "executor/stage/place.h"

#include "executor/base/fd.h"
#include "executor/stage/merge.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>

/* Of directories above it. */
#define DIRECTORY_MODE 0755

static bool is_directory(const char *path)
{
	struct stat st;

	return lstat(path, &st) == 0 && S_ISDIR(st.st_mode);
}

/*
 * A volume may hold what others put there, also symbolic links: whatever of the way to the target
 * exists must lead to a place inside the volume.
 */
static int check_way(const struct stage *stage, const char *mount, const char *path,
		     struct error *err)
{
	_cleanup_free_ char *way = strdup(path + strlen(mount));
	char root[PATH_MAX_BYTES];
	int fd = -ENOENT;

	if (!way)
		return error_set(err, -ENOMEM, "out of memory");
	snprintf(root, sizeof(root), "%s%s", stage->main_root, mount);
	/* The last component is replaced, not followed; what is missing is made by us. */
	for (char *slash = strrchr(way, '/'); slash && fd == -ENOENT; slash = strrchr(way, '/')) {
		*slash = '\0';
		fd = file_open_beneath(root, way, O_PATH | O_DIRECTORY, BENEATH_FOLLOW, err);
	}
	if (fd >= 0)
		close(fd);
	return fd >= 0 || fd == -ENOENT ? 0 : fd;
}

/* What lies at the target already: in our own directory it is from an earlier attempt and goes, a
 * directory in a volume is the user's and stays. */
int place_prepare(const struct stage *stage, const struct template_artifact *artifact,
		  struct place *place, struct error *err)
{
	const char *mount = template_find_mount(stage->template, artifact->path);
	bool is_in_volume = mount != NULL;
	int r = is_in_volume ? check_way(stage, mount, artifact->path, err) : 0;

	if (r < 0)
		return r;
	snprintf(place->target, sizeof(place->target), "%s%s%s",
		 is_in_volume ? stage->main_root : stage->inputs, is_in_volume ? "" : "/",
		 is_in_volume ? artifact->path : artifact->name);
	place->joins = is_in_volume && is_directory(place->target);
	snprintf(place->landing, sizeof(place->landing), "%s%s%s", place->target,
		 place->joins ? "/.argo-" : "", place->joins ? artifact->name : "");
	/* A name that nobody else has: beside the target, `<target>.tmp` may be a file of the user's. */
	snprintf(place->temporary, sizeof(place->temporary), "%.*s/.argo-%s.tmp",
		 (int)(strrchr(place->landing, '/') - place->landing), place->landing,
		 artifact->name);
	r = path_make_parents(place->target, DIRECTORY_MODE, err);
	if (r == 0 && (place->joins || !is_in_volume))
		r = path_remove_tree(place->landing, err);
	return r;
}

int place_fill(const struct place *place, struct error *err)
{
	int r;

	if (rename(place->temporary, place->landing) == 0)
		return 0;
	r = error_errno(err, -errno, "rename %s to %s", place->temporary, place->landing);
	path_remove_tree(place->temporary, NULL);
	return r;
}

/* From where it was put together to where it is wanted. */
int place_settle(const struct place *place, struct error *err)
{
	int r;

	if (!place->joins)
		return 0;
	if (is_directory(place->landing))
		r = merge_directories(place->landing, place->target, err);
	else
		r = error_set(err, -EISDIR,
			      "%s is a directory that exists, and the artifact is a file",
			      place->target);
	if (r < 0)
		path_remove_tree(place->landing, NULL);
	return r;
}
