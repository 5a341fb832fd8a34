#include "emissary/links.h"

#include "executor/base/cleanup.h"
#include "executor/base/path.h"
#include "executor/process/files.h"

#include <errno.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>

/* Without these nothing goes on: neither we nor the command. */
static const char *const indispensable[] = {
	FILES_VAR_RUN_ARGO, "/argo", "/argo-bin", "/proc", "/dev", "/sys"
};

/* The path with symbolic links above its last component resolved. A relative one starts at the
 * root, where we are, as it does for a kubelet that mounts something there. */
static int resolve(const char *path, char **ret, struct error *err)
{
	const char *slash = strrchr(path, '/');
	_cleanup_free_ char *parent = strndup(path, slash ? (size_t)(slash - path) + 1 : 0);
	_cleanup_free_ char *real = NULL;

	if (!parent)
		return error_set(err, -ENOMEM, "out of memory");
	real = realpath(*parent ? parent : "/", NULL);
	if (!real)
		return error_errno(err, -errno, "resolve %s", path);
	*ret = path_join(real, path_basename(path));
	return *ret ? 0 : error_set(err, -ENOMEM, "out of memory");
}

static int refuse_volumes(const struct template *template, const char *resolved, struct error *err)
{
	const char *mount = template_find_mount(template, resolved);

	for (size_t i = 0; !mount && i < template->mount_count; i++)
		if (path_is_at_or_below(template->mounts[i], resolved))
			mount = template->mounts[i];
	if (!mount)
		return 0;
	return error_set(err, -EPERM,
			 "%s cannot be replaced by a link: the volume mounted at %s is in the way",
			 resolved, mount);
}

static int refuse_indispensable(const char *resolved, struct error *err)
{
	for (size_t i = 0; i < sizeof(indispensable) / sizeof(indispensable[0]); i++) {
		const char *place = indispensable[i];
		_cleanup_free_ char *real = realpath(place, NULL);

		/* Both ways lead there, and `resolved` may be a link on one of them. */
		if (path_is_at_or_below(place, resolved) ||
		    (real && path_is_at_or_below(real, resolved)))
			return error_set(
				err, -EPERM,
				"%s cannot be replaced by a link: %s, which is needed, is in "
				"the way",
				resolved, place);
	}
	return 0;
}

static int replace(const struct template *template, const char *path, struct error *err)
{
	_cleanup_free_ char *resolved = NULL;
	int r = resolve(path, &resolved, err);

	if (r == 0)
		r = refuse_volumes(template, resolved, err);
	if (r == 0)
		r = refuse_indispensable(resolved, err);
	return r < 0 ? r : path_remove_tree(resolved, err);
}

static int link_one(const struct template *template, const struct template_artifact *artifact,
		    const char *inputs, struct error *err)
{
	char source[PATH_MAX_BYTES];
	struct stat st;
	int r;

	if ((size_t)snprintf(source, sizeof(source), "%s/%s", inputs, artifact->name) >=
	    sizeof(source))
		return error_set(err, -ENAMETOOLONG, "artifact name %.64s… is too long",
				 artifact->name);
	if (lstat(source, &st) < 0 || !*json_get_string(artifact->json, "path", ""))
		return 0;
	r = path_make_parents(artifact->path, 0755, err);
	if (r == 0 && lstat(artifact->path, &st) == 0)
		r = replace(template, artifact->path, err);
	if (r == 0 && symlink(source, artifact->path) < 0)
		r = error_errno(err, -errno, "link %s to %s", artifact->path, source);
	return r < 0 ? error_prefix(err, r, "input artifact %s", artifact->name) : 0;
}

int links_make(const struct template *template, const char *inputs, struct error *err)
{
	_cleanup_free_ char *directory = getcwd(NULL, 0);
	int r = 0;

	if (!directory)
		return error_errno(err, -errno, "getcwd");
	/* Nobody may stand in a directory that is replaced. */
	if (chdir("/") < 0)
		return error_errno(err, -errno, "chdir /");
	for (size_t i = 0; r == 0 && i < template->input_count; i++)
		r = link_one(template, &template->inputs[i], inputs, err);
	if (chdir(directory) < 0 && r == 0)
		r = error_errno(err, -errno, "chdir %s", directory);
	return r;
}
