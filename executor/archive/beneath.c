#include "executor/archive/beneath.h"

#include "executor/base/buffer.h"
#include "executor/base/path.h"

#include <errno.h>
#include <fcntl.h>
#include <linux/openat2.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/syscall.h>

/* As many as the kernel follows in one path (MAXSYMLINKS). */
#define LINKS_MAX 40
/* openat2 answers EAGAIN when any rename or mount happened while it crossed a `..`. */
#define AGAIN_MAX 32
#define DIRECTORY_FLAGS (O_PATH | O_DIRECTORY | O_CLOEXEC)

static int open_in_kernel(int root_fd, const char *path, unsigned long long flags,
			  unsigned long long resolve)
{
	struct open_how how = { .flags = flags, .resolve = resolve | RESOLVE_NO_MAGICLINKS };
	long fd;
	int tries = 0;

	do
		fd = syscall(SYS_openat2, root_fd, path, &how, sizeof(how));
	while (fd < 0 && (errno == EINTR || (errno == EAGAIN && ++tries < AGAIN_MAX)));
	return fd < 0 ? -errno : (int)fd;
}

static bool is_refused(int r)
{
	return r == -ENOSYS || r == -EPERM || r == -EAGAIN;
}

/* A walk by hand: where it is, and what it has yet to go. */
struct walk {
	int root_fd;
	int fd; /* owned; the directory reached */
	struct buffer done; /* its real path below the root */
	struct buffer rest;
	int links;
};

static void walk_done(struct walk *walk)
{
	cleanup_close(&walk->fd);
	buffer_done(&walk->done);
	buffer_done(&walk->rest);
}

static int enter(struct walk *walk, const char *name)
{
	int fd = openat(walk->fd, name, DIRECTORY_FLAGS | O_NOFOLLOW);

	if (fd < 0)
		return -errno;
	close(walk->fd);
	walk->fd = fd;
	return 0;
}

/* Going up through `..` would trust a directory that somebody may be moving; so start again. */
static int go_up(struct walk *walk)
{
	_cleanup_free_ char *parent = NULL;
	char *slash, *save = NULL;
	int r = 0;

	if (walk->done.size == 0)
		return -EXDEV;
	slash = strrchr(walk->done.data, '/');
	walk->done.size = slash ? (size_t)(slash - walk->done.data) : 0;
	walk->done.data[walk->done.size] = '\0';
	parent = strdup(walk->done.data);
	close(walk->fd);
	walk->fd = fcntl(walk->root_fd, F_DUPFD_CLOEXEC, 0);
	if (!parent || walk->fd < 0)
		return -ENOMEM;
	for (char *name = strtok_r(parent, "/", &save); name && r == 0;
	     name = strtok_r(NULL, "/", &save))
		r = enter(walk, name);
	return r;
}

/* Puts the text of the link in front of the rest of the way. */
static int follow(struct walk *walk, const char *text)
{
	_cleanup_buffer_ struct buffer rest = BUFFER_INIT(2 * PATH_MAX_BYTES);

	if (++walk->links > LINKS_MAX)
		return -ELOOP;
	if (text[0] == '/')
		return -EXDEV;
	if (buffer_append_format(&rest, "%s/%s", text, buffer_string(&walk->rest)) < 0)
		return -ENAMETOOLONG;
	buffer_done(&walk->rest);
	walk->rest = rest;
	rest = BUFFER_INIT(0);
	return 0;
}

static int step(struct walk *walk, const char *name)
{
	char text[PATH_MAX_BYTES];
	ssize_t n;
	int r;

	if (strcmp(name, "") == 0 || strcmp(name, ".") == 0)
		return 0;
	if (strcmp(name, "..") == 0)
		return go_up(walk);
	n = readlinkat(walk->fd, name, text, sizeof(text) - 1);
	if (n >= 0) {
		text[n] = '\0';
		return follow(walk, text);
	}
	if (errno != EINVAL)
		return -errno;
	r = enter(walk, name);
	if (r < 0)
		return r;
	return buffer_append_format(&walk->done, "%s%s", walk->done.size ? "/" : "", name);
}

static int open_by_hand(int root_fd, const char *path, bool *ret_has_links)
{
	_cleanup_(walk_done) struct walk walk = {
		.root_fd = root_fd,
		.fd = fcntl(root_fd, F_DUPFD_CLOEXEC, 0),
		.done = BUFFER_INIT(PATH_MAX_BYTES),
		.rest = BUFFER_INIT(2 * PATH_MAX_BYTES),
	};
	char name[PATH_MAX_BYTES];
	int r = walk.fd < 0 ? -errno : buffer_append_string(&walk.rest, path);

	while (r == 0 && walk.rest.size > 0) {
		size_t n = strcspn(walk.rest.data, "/");

		if (n >= sizeof(name))
			return -ENAMETOOLONG;
		memcpy(name, walk.rest.data, n);
		name[n] = '\0';
		buffer_consume(&walk.rest, walk.rest.data[n] ? n + 1 : n);
		r = step(&walk, name);
	}
	if (r < 0)
		return r;
	if (ret_has_links)
		*ret_has_links = walk.links > 0;
	return TAKE_FD(walk.fd);
}

int beneath_open_directory(struct beneath *beneath, const char *path, bool *ret_has_links)
{
	const char *at = *path ? path : ".";
	int fd;

	if (!beneath->by_hand) {
		fd = open_in_kernel(beneath->root_fd, at, DIRECTORY_FLAGS,
				    RESOLVE_BENEATH | RESOLVE_NO_SYMLINKS);
		if (ret_has_links)
			*ret_has_links = fd == -ELOOP;
		if (fd == -ELOOP)
			fd = open_in_kernel(beneath->root_fd, at, DIRECTORY_FLAGS, RESOLVE_BENEATH);
		if (!is_refused(fd))
			return fd;
		beneath->by_hand = fd != -EAGAIN;
	}
	return open_by_hand(beneath->root_fd, path, ret_has_links);
}

bool beneath_leaves(struct beneath *beneath, const char *path)
{
	_cleanup_close_ int fd = -1;

	if (!beneath->by_hand) {
		fd = open_in_kernel(beneath->root_fd, path, O_PATH | O_CLOEXEC, RESOLVE_BENEATH);
		if (!is_refused(fd))
			return fd == -EXDEV;
		beneath->by_hand = fd != -EAGAIN;
	}
	fd = open_by_hand(beneath->root_fd, path, NULL);
	return fd == -EXDEV;
}

int beneath_depth(const struct beneath *beneath, int fd, int max)
{
	_cleanup_close_ int at = fcntl(fd, F_DUPFD_CLOEXEC, 0);
	struct stat root, st;

	if (at < 0 || fstat(beneath->root_fd, &root) < 0)
		return -errno;
	for (int depth = 0; depth <= max; depth++) {
		int up;

		if (fstat(at, &st) < 0)
			return -errno;
		if (st.st_dev == root.st_dev && st.st_ino == root.st_ino)
			return depth;
		up = openat(at, "..", DIRECTORY_FLAGS);
		if (up < 0)
			return -errno;
		close(at);
		at = up;
	}
	return -ELOOP;
}
