/* file_open_beneath, file_make_beneath: openat2(2) where the kernel and the container's seccomp filter
 * allow it, else the same walk by hand. */
#include "executor/base/cleanup.h"
#include "executor/base/fd.h"

#include <errno.h>
#include <fcntl.h>
#include <linux/openat2.h>
#include <stdio.h>
#include <string.h>
#include <sys/syscall.h>

/* openat2 refuses the last two beside O_PATH, which opens nothing that could block. */
static int add_common(int flags)
{
	return flags & O_PATH ? flags | O_CLOEXEC : flags | O_CLOEXEC | O_NONBLOCK | O_NOCTTY;
}

/* Attempts before the walk is done by hand, which has no such doubts. */
#define ROUNDS_MAX 32

/* As many links as the kernel follows in one path (path_resolution(7)). */
#define LINKS_MAX 40

static int open_by_kernel(int root_fd, const char *relative, int flags, enum beneath_links links)
{
	struct open_how how = {
		.flags = (uint64_t)(unsigned)add_common(flags),
		.resolve = RESOLVE_BENEATH | RESOLVE_NO_MAGICLINKS |
			   (links == BENEATH_REFUSE ? RESOLVE_NO_SYMLINKS : 0),
	};
	long fd;

	/* EAGAIN: a rename, anywhere, made the kernel unsure of a `..`. Somebody may do it on purpose. */
	for (unsigned i = 0; i < ROUNDS_MAX; i++) {
		fd = syscall(SYS_openat2, root_fd, relative, &how, sizeof(how));
		if (fd >= 0 || (errno != EAGAIN && errno != EINTR))
			break;
	}
	return fd < 0 ? -errno : (int)fd;
}

/*
 * By hand: `left` is what is still to be walked; each component is opened without following, a
 * link's text is put in front of what is left. Descriptors of the directories walked through are
 * kept on a stack, so that `..` means what it meant when we came by, and never passes the root.
 */
#define DEPTH_MAX 256

struct walk {
	int stack[DEPTH_MAX];
	size_t depth; /* stack[0] is the root */
	char left[8192];
	unsigned links;
};

/* `rest` is empty or starts with the slash behind the component. */
static int step_into_link(struct walk *walk, const char *component, const char *rest)
{
	char target[4096], combined[sizeof(walk->left)];
	ssize_t n = readlinkat(walk->stack[walk->depth - 1], component, target, sizeof(target) - 1);

	if (n < 0)
		return -errno;
	target[n] = '\0';
	if (target[0] == '/')
		return -EXDEV;
	if (++walk->links > LINKS_MAX)
		return -ELOOP;
	if ((size_t)snprintf(combined, sizeof(combined), "%s%s", target, rest) >= sizeof(combined))
		return -ENAMETOOLONG;
	memcpy(walk->left, combined, sizeof(combined));
	return 0;
}

static int push(struct walk *walk, int fd)
{
	if (walk->depth == DEPTH_MAX) {
		close(fd);
		return -ELOOP;
	}
	walk->stack[walk->depth++] = fd;
	return 0;
}

static int pop(struct walk *walk)
{
	if (walk->depth == 1)
		return -EXDEV;
	close(walk->stack[--walk->depth]);
	return 0;
}

static int open_last(struct walk *walk, const char *component, int flags)
{
	int parent_fd = walk->stack[walk->depth - 1];
	int fd = openat(parent_fd, component, add_common(flags) | O_NOFOLLOW);
	int r = fd < 0 ? -errno : fd;
	char target;

	/* O_DIRECTORY hides that it is a link. */
	if (r == -ENOTDIR && readlinkat(parent_fd, component, &target, 1) >= 0)
		return -ELOOP;
	return r;
}

/* One component; 0 is "go on", negative an errno. *ret_fd is set at the end of the way. */
static int walk_one(struct walk *walk, int flags, enum beneath_links links, int *ret_fd)
{
	char component[256];
	const char *start = walk->left + strspn(walk->left, "/");
	size_t size = strcspn(start, "/");
	const char *rest = start + size;
	bool is_last = rest[strspn(rest, "/")] == '\0';
	int fd, r = 0;

	if (size >= sizeof(component))
		return -ENAMETOOLONG;
	memcpy(component, start, size);
	component[size] = '\0';
	if (strcmp(component, "..") == 0) {
		r = pop(walk);
	} else if (size > 0 && strcmp(component, ".") != 0) {
		fd = open_last(walk, component,
			       is_last ? flags | (*rest ? O_DIRECTORY : 0) : O_PATH | O_DIRECTORY);
		if (fd == -ELOOP && links == BENEATH_FOLLOW)
			return step_into_link(walk, component, rest);
		if (fd < 0)
			return fd;
		if (is_last) {
			*ret_fd = fd;
			return 0;
		}
		r = push(walk, fd);
	}
	if (r < 0)
		return r;
	if (is_last) { /* the path ended in `.` or `..`: it is this directory */
		fd = open_last(walk, ".", flags);
		if (fd < 0)
			return fd;
		*ret_fd = fd;
		return 0;
	}
	memmove(walk->left, rest, strlen(rest) + 1);
	return 0;
}

static int open_by_hand(int root_fd, const char *relative, int flags, enum beneath_links links)
{
	struct walk walk = { .depth = 0 };
	int fd = -1, r = 0;

	if (relative[0] == '/')
		return -EXDEV;
	if ((size_t)snprintf(walk.left, sizeof(walk.left), "%s", relative) >= sizeof(walk.left))
		return -ENAMETOOLONG;
	walk.stack[walk.depth++] = root_fd;
	while (r == 0 && fd < 0)
		r = walk_one(&walk, flags, links, &fd);
	while (walk.depth > 1)
		close(walk.stack[--walk.depth]);
	return r < 0 ? r : fd;
}

static int open_beneath(int root_fd, const char *relative, int flags, enum beneath_links links)
{
	int fd = open_by_kernel(root_fd, relative, flags, links);

	/* An outer seccomp filter answers EPERM; a real EPERM comes again from the walk. */
	if (fd == -ENOSYS || fd == -EPERM || fd == -EAGAIN)
		fd = open_by_hand(root_fd, relative, flags, links);
	return fd;
}

static const char *without_root(const char *relative)
{
	while (*relative == '/')
		relative++;
	return *relative ? relative : ".";
}

static int explain(int r, const char *root, const char *relative, enum beneath_links links,
		   struct error *err)
{
	if (r == -EXDEV)
		return error_set(err, -EXDEV,
				 "open %s/%s: a symbolic link on the way leads out of %s", root,
				 relative, root);
	if (r == -ELOOP && links == BENEATH_REFUSE)
		return error_set(err, -ELOOP, "open %s/%s: symbolic links are not followed here",
				 root, relative);
	return error_errno(err, r, "open %s/%s", root, relative);
}

int file_open_beneath_at(int root_fd, const char *root, const char *relative, int flags,
			 enum beneath_links links, struct error *err)
{
	int fd;

	relative = without_root(relative);
	fd = open_beneath(root_fd, relative, flags, links);
	return fd < 0 ? explain(fd, root, relative, links, err) : fd;
}

int file_open_beneath(const char *root, const char *relative, int flags, enum beneath_links links,
		      struct error *err)
{
	_cleanup_close_ int root_fd = open(root, O_PATH | O_DIRECTORY | O_CLOEXEC);

	if (root_fd < 0)
		return error_errno(err, -errno, "open %s", root);
	return file_open_beneath_at(root_fd, root, relative, flags, links, err);
}

/* How often a name that is there and not there is looked at, while somebody else makes and removes it. */
#define MAKE_TRIES 8

/* `way` ends in `name`, which is missing from the directory `above_fd`. */
static int make_one(int root_fd, int above_fd, const char *way, const char *name, mode_t mode,
		    enum beneath_links links)
{
	int r = -ENOENT;

	for (int i = 0; i < MAKE_TRIES && r == -ENOENT; i++) {
		_cleanup_close_ int fd = -1;

		if (mkdirat(above_fd, name, 0700) < 0) {
			if (errno != EEXIST)
				return -errno;
			r = open_beneath(root_fd, way, O_PATH | O_DIRECTORY, links);
			continue;
		}
		fd = openat(above_fd, name, O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC);
		if (fd < 0 || fchmod(fd, mode) < 0)
			return -errno;
		return TAKE_FD(fd);
	}
	return r;
}

/* Each directory of the way in turn, as some of them is missing. `way` is changed, and put back. */
static int make_all(int root_fd, char *way, mode_t mode, enum beneath_links links)
{
	_cleanup_close_ int above = open_beneath(root_fd, ".", O_PATH | O_DIRECTORY, links);
	char *end = way;

	while (above >= 0 && *end) {
		char *name = end + strspn(end, "/"), saved;
		int fd;

		end = name + strcspn(name, "/");
		if (end == name)
			break;
		saved = *end;
		*end = '\0';
		fd = open_beneath(root_fd, way, O_PATH | O_DIRECTORY, links);
		if (fd == -ENOENT)
			fd = make_one(root_fd, above, way, name, mode, links);
		*end = saved;
		cleanup_close(&above);
		above = fd;
	}
	return TAKE_FD(above);
}

int file_make_beneath(int root_fd, const char *root, const char *relative, mode_t mode,
		      enum beneath_links links, struct error *err)
{
	_cleanup_free_ char *way = strdup(without_root(relative));
	int fd;

	if (!way)
		return error_set(err, -ENOMEM, "out of memory");
	/* Nearly always it is there; and where it is, nothing has to be writable. */
	fd = open_beneath(root_fd, way, O_PATH | O_DIRECTORY, links);
	if (fd == -ENOENT)
		fd = make_all(root_fd, way, mode, links);
	if (fd == -EXDEV || fd == -ELOOP)
		return explain(fd, root, way, links, err);
	return fd < 0 ? error_errno(err, fd, "mkdir %s/%s", root, way) : fd;
}

static int read_regular(int fd, const char *root, const char *relative, struct buffer *out,
			struct error *err)
{
	struct stat st;
	int r;

	relative = without_root(relative);
	if (fstat(fd, &st) < 0 || !S_ISREG(st.st_mode))
		return error_set(err, -EINVAL, "read %s/%s: not a regular file", root, relative);
	r = fd_read_all(fd, out);
	if (r == -EMSGSIZE)
		return error_set(err, r, "read %s/%s: larger than the limit of %zu bytes", root,
				 relative, out->max);
	return r < 0 ? error_errno(err, r, "read %s/%s", root, relative) : 0;
}

int file_read_beneath(const char *root, const char *relative, enum beneath_links links,
		      struct buffer *out, struct error *err)
{
	_cleanup_close_ int fd = file_open_beneath(root, relative, O_RDONLY, links, err);

	return fd < 0 ? fd : read_regular(fd, root, relative, out, err);
}

int file_read_beneath_at(int root_fd, const char *root, const char *relative,
			 enum beneath_links links, struct buffer *out, struct error *err)
{
	_cleanup_close_ int fd =
		file_open_beneath_at(root_fd, root, relative, O_RDONLY, links, err);

	return fd < 0 ? fd : read_regular(fd, root, relative, out, err);
}
