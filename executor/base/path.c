#include "executor/base/path.h"

#include "executor/base/cleanup.h"
#include "executor/base/spot.h"

#include <errno.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>

/* Drops the last component of out[0..size) down to `floor`; returns the new size. */
static size_t drop_component(const char *out, size_t size, size_t floor)
{
	while (size > floor && out[size - 1] != '/')
		size--;
	return size > floor ? size - 1 : size;
}

char *path_clean(const char *path)
{
	bool is_rooted = path[0] == '/';
	char *out = malloc(strlen(path) + 2);
	size_t size = 0, floor; /* `..` cannot go below floor */
	const char *p = path;

	if (!out)
		return NULL;
	if (is_rooted)
		out[size++] = '/';
	floor = size;
	while (*p) {
		const char *end = strchrnul(p, '/');
		size_t n = (size_t)(end - p);

		if (n == 2 && p[0] == '.' && p[1] == '.') {
			if (size > floor) {
				size = drop_component(out, size, floor);
			} else if (!is_rooted) {
				if (size > 0)
					out[size++] = '/';
				memcpy(out + size, "..", 2);
				size += 2;
				floor = size;
			}
		} else if (n > 0 && !(n == 1 && p[0] == '.')) {
			if (size > (is_rooted ? 1u : 0u))
				out[size++] = '/';
			memmove(out + size, p, n);
			size += n;
		}
		p = *end ? end + 1 : end;
	}
	if (size == 0)
		out[size++] = '.';
	out[size] = '\0';
	return out;
}

char *path_join(const char *a, const char *b)
{
	_cleanup_free_ char *joined = NULL;

	if (!*a)
		return path_clean(b);
	if (!*b)
		return path_clean(a);
	if (asprintf(&joined, "%s/%s", a, b) < 0) {
		joined = NULL;
		return NULL;
	}
	return path_clean(joined);
}

bool path_is_at_or_below(const char *path, const char *parent)
{
	size_t n = strlen(parent);

	if (strcmp(parent, "/") == 0)
		return path[0] == '/';
	return strncmp(path, parent, n) == 0 && (path[n] == '\0' || path[n] == '/');
}

const char *path_basename(const char *path)
{
	const char *slash = strrchr(path, '/');
	const char *base = slash ? slash + 1 : path;

	return *base ? base : ".";
}

static int make_one(const char *path, mode_t mode, struct error *err)
{
	if (mkdir(path, mode) == 0) {
		if (chmod(path, mode) < 0)
			return error_errno(err, -errno, "chmod %s", path);
		return 0;
	}
	if (errno == EEXIST || errno == EISDIR)
		return 0;
	return error_errno(err, -errno, "mkdir %s", path);
}

static int make_up_to(char *path, size_t size, mode_t mode, struct error *err)
{
	for (size_t i = 1; i <= size; i++) {
		char saved = path[i];
		struct stat st;
		int r;

		if (saved != '/' && saved != '\0')
			continue;
		path[i] = '\0';
		/* Ask first: mkdir on a read-only file system says EROFS even where it exists. */
		r = stat(path, &st) == 0 && S_ISDIR(st.st_mode) ? 0 : make_one(path, mode, err);
		path[i] = saved;
		if (r < 0)
			return r;
	}
	return 0;
}

int path_make_directories(const char *path, mode_t mode, struct error *err)
{
	_cleanup_free_ char *clean = path_clean(path);
	struct stat st;
	int r;

	if (!clean)
		return error_set(err, -ENOMEM, "mkdir %s: out of memory", path);
	r = make_up_to(clean, strlen(clean), mode, err);
	if (r < 0)
		return r;
	if (stat(clean, &st) < 0)
		return error_errno(err, -errno, "mkdir %s", clean);
	return S_ISDIR(st.st_mode) ? 0 : error_errno(err, -ENOTDIR, "mkdir %s", clean);
}

int path_make_parents(const char *path, mode_t mode, struct error *err)
{
	_cleanup_free_ char *clean = path_clean(path);
	char *slash;

	if (!clean)
		return error_set(err, -ENOMEM, "mkdir %s: out of memory", path);
	slash = strrchr(clean, '/');
	if (!slash || slash == clean)
		return 0;
	*slash = '\0';
	return path_make_directories(clean, mode, err);
}

int path_remove_tree(const char *path, struct error *err)
{
	return spot_remove_tree(spot_by_path(path), err);
}
