#include "executor/archive/tree.h"

#include "executor/base/fd.h"
#include "executor/base/path.h"

#include <errno.h>
#include <fcntl.h>
#include <string.h>
#include <sys/statvfs.h>

#define PERMISSIONS 0777
#define PARENT_MODE 0755
/* How often a name is cleared for a file while another process keeps filling it. */
#define CREATE_TRIES 8

static int fail(int code, const char *what, const char *name, struct error *err)
{
	char printable[MEMBER_PRINTABLE_MAX];

	error_errno(err, code, "%s %s", what, member_printable(name, printable));
	/* NOT_FOUND means that the artifact is absent, which it is not. */
	if (err && err->class == ERROR_NOT_FOUND)
		err->class = ERROR_PERMANENT;
	return code;
}

void tree_init(struct tree *tree, int root_fd, uint64_t max_bytes, const struct hooks *hooks)
{
	*tree = (struct tree){
		.beneath.root_fd = root_fd,
		.hooks = hooks,
		.max_bytes = max_bytes,
		.parent_fd = -1,
		.times = BUFFER_INIT(TREE_TIMES_BYTES_MAX),
		.links = BUFFER_INIT(TREE_LINKS_BYTES_MAX),
	};
}

static void forget_parent(struct tree *tree)
{
	cleanup_close(&tree->parent_fd);
	tree->parent_fd = -1;
	free(tree->parent);
	tree->parent = NULL;
}

void tree_done(struct tree *tree)
{
	forget_parent(tree);
	buffer_done(&tree->times);
	buffer_done(&tree->links);
}

/* Makes one directory (or finds it made) and opens it; its mode becomes `mode` if it is new. */
static int make_directory(int parent_fd, const char *base, mode_t mode, bool *ret_is_new)
{
	int fd;

	*ret_is_new = mkdirat(parent_fd, base, 0700) == 0;
	if (!*ret_is_new && errno != EEXIST)
		return -errno;
	fd = openat(parent_fd, base, O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_NONBLOCK | O_CLOEXEC);
	if (fd < 0)
		return -errno;
	if (*ret_is_new && fchmod(fd, mode) < 0) {
		int r = -errno;

		close(fd);
		return r;
	}
	return fd;
}

/* Opens the directory `path`, making what is missing of it. */
static int make_parents(struct tree *tree, char *path, bool *ret_has_links)
{
	_cleanup_close_ int above = -1;
	char *base = path;

	for (;;) {
		char *end = strchrnul(base, '/'), saved = *end;
		bool is_new;
		int fd;

		*end = '\0';
		fd = beneath_open_directory(&tree->beneath, path, ret_has_links);
		if (fd == -ENOENT)
			fd = make_directory(above < 0 ? tree->beneath.root_fd : above, base,
					    PARENT_MODE, &is_new);
		*end = saved;
		if (fd < 0)
			return fd;
		cleanup_close(&above);
		above = fd;
		if (!saved)
			return TAKE_FD(above);
		base = end + 1;
	}
}

int tree_open_parent(struct tree *tree, const char *location, const char **ret_base,
		     struct error *err)
{
	const char *slash = strrchr(location, '/');
	_cleanup_free_ char *parent = strndup(location, slash ? (size_t)(slash - location) : 0);
	char printable[MEMBER_PRINTABLE_MAX];
	bool has_links = false;
	int fd;

	if (!parent)
		return error_set(err, -ENOMEM, "out of memory");
	*ret_base = slash ? slash + 1 : location;
	if (tree->parent && strcmp(tree->parent, parent) == 0)
		return tree->parent_fd;
	fd = beneath_open_directory(&tree->beneath, parent, &has_links);
	if (fd == -ENOENT)
		fd = make_parents(tree, parent, &has_links);
	if (fd == -EXDEV)
		return error_set(err, fd,
				 "illegal file path after symlink resolution: %s resolves outside "
				 "destination",
				 member_printable(location, printable));
	if (fd < 0)
		return fail(fd, "open the directory of", location, err);
	forget_parent(tree);
	tree->parent_fd = fd;
	tree->parent_has_links = has_links;
	/* Names are bounded in depth; a link could add its own depth each time it is used. */
	if (has_links && beneath_depth(&tree->beneath, fd, MEMBER_DEPTH_MAX) < 0)
		return error_set(err, -ELOOP, "%s: deeper than the limit of %d directories",
				 member_printable(location, printable), MEMBER_DEPTH_MAX);
	tree->parent = TAKE_PTR(parent);
	return fd;
}

static void times_of(const struct member *member, struct timespec times[2])
{
	times[0] = member->atime;
	times[1] = member->mtime;
	if (!member->has_atime)
		times[0].tv_nsec = member->has_mtime ? UTIME_NOW : UTIME_OMIT;
	if (!member->has_mtime)
		times[1].tv_nsec = UTIME_OMIT;
}

/* A record: the time, then the location with its NUL. */
static int remember_time(struct tree *tree, const char *location, const struct member *member,
			 struct error *err)
{
	size_t before = tree->times.size;
	int r;

	if (!member->has_mtime || tree->is_times_full)
		return 0;
	r = buffer_append(&tree->times, &member->mtime, sizeof(member->mtime));
	if (r == 0)
		r = buffer_append(&tree->times, location, strlen(location) + 1);
	if (r == -EMSGSIZE) {
		tree->times.size = before;
		tree->is_times_full = true;
		hooks_warn(tree->hooks, "too many directories: not all get their times");
		return 0;
	}
	return r < 0 ? error_set(err, r, "out of memory") : 0;
}

/* Not every file system has them, or room for them: one warning an archive. */
static void set_attributes(struct tree *tree, int fd, const struct member *member)
{
	char printable[MEMBER_PRINTABLE_MAX], text[128];
	int r = member->attributes ? attributes_set(member->attributes, fd) : 0;

	if (r == 0 || tree->has_warned_of_attributes)
		return;
	tree->has_warned_of_attributes = true;
	hooks_warn(tree->hooks, "%s: extended attributes are not kept: %s",
		   member_printable(member->name, printable), error_text(r, text, sizeof(text)));
}

int tree_directory(struct tree *tree, const char *location, const struct member *member,
		   struct error *err)
{
	mode_t mode = (member->mode & PERMISSIONS) | PARENT_MODE;
	_cleanup_close_ int fd = -1;
	const char *base;
	struct stat st;
	bool is_new;
	int parent_fd = tree_open_parent(tree, location, &base, err);

	if (parent_fd < 0)
		return parent_fd;
	fd = make_directory(parent_fd, base, mode, &is_new);
	if ((fd == -ENOTDIR || fd == -ELOOP) &&
	    fstatat(parent_fd, base, &st, AT_SYMLINK_NOFOLLOW) == 0 && S_ISLNK(st.st_mode)) {
		fd = beneath_open_directory(&tree->beneath, location, NULL);
		return fd < 0 ? fail(fd, "mkdir", location, err) : 0;
	}
	if (fd < 0)
		return fail(fd, "mkdir", location, err);
	if (!is_new && fchmod(fd, mode) < 0)
		return fail(-errno, "chmod", location, err);
	set_attributes(tree, fd, member);
	return remember_time(tree, location, member, err);
}

int tree_symlink(struct tree *tree, const char *location, const struct member *member,
		 const char *target, struct error *err)
{
	char a[MEMBER_PRINTABLE_MAX], b[MEMBER_PRINTABLE_MAX];
	const char *base;
	struct timespec times[2];
	int parent_fd;

	if (!member_link_is_inside(location, target))
		return error_set(err, -EXDEV, "illegal symlink target: %s -> %s",
				 member_printable(member->name, a), member_printable(target, b));
	parent_fd = tree_open_parent(tree, location, &base, err);
	if (parent_fd < 0)
		return parent_fd;
	if (symlinkat(target, parent_fd, base) < 0)
		return fail(-errno, "symlink", location, err);
	/* Best effort: not every file system keeps times of links. */
	times_of(member, times);
	utimensat(parent_fd, base, times, AT_SYMLINK_NOFOLLOW);
	if (!tree->parent_has_links && !member_link_needs_resolving(target))
		return 0;
	/* Where it leads depends on other links, which may be yet to come. */
	if (buffer_append(&tree->links, location, strlen(location) + 1) < 0)
		return error_set(err, -EMSGSIZE,
				 "illegal symlink target: %s -> %s: too many like it",
				 member_printable(member->name, a), member_printable(target, b));
	return 0;
}

int tree_file_reserve(struct tree *tree, const char *location, uint64_t size, struct error *err)
{
	char printable[MEMBER_PRINTABLE_MAX];
	struct statvfs fs;

	if (tree->max_bytes && (size > tree->max_bytes || tree->bytes > tree->max_bytes - size))
		return error_set(err, -EFBIG,
				 "%s: unpacked, it would exceed the limit of %llu bytes",
				 member_printable(location, printable),
				 (unsigned long long)tree->max_bytes);
	if (size > tree->room_bytes || tree->bytes > tree->room_bytes - size) {
		/* Some file systems cannot tell and say 0 blocks; those say ENOSPC in time. */
		if (fstatvfs(tree->beneath.root_fd, &fs) < 0 || fs.f_blocks == 0)
			tree->room_bytes = UINT64_MAX;
		else
			tree->room_bytes = tree->bytes + (uint64_t)fs.f_bavail * fs.f_frsize;
	}
	if (size > tree->room_bytes || tree->bytes > tree->room_bytes - size)
		return error_set(err, -ENOSPC,
				 "%s: no space left on device: %llu bytes announced, "
				 "%llu free",
				 member_printable(location, printable), (unsigned long long)size,
				 (unsigned long long)(tree->room_bytes - tree->bytes));
	tree->bytes += size;
	return 0;
}

int tree_file_create_new(int directory_fd, const char *location)
{
	const char *slash = strrchr(location, '/');

	return openat(directory_fd, slash ? slash + 1 : location,
		      O_WRONLY | O_CREAT | O_EXCL | O_NOFOLLOW | O_NOCTTY | O_CLOEXEC, 0600);
}

int tree_file_create(struct tree *tree, const char *location, struct filling *ret,
		     struct error *err)
{
	const char *base;
	int parent_fd = tree_open_parent(tree, location, &base, err);

	if (parent_fd < 0)
		return parent_fd;
	for (int tries = 0; tries < CREATE_TRIES; tries++) {
		*ret = (struct filling){ .fd = tree_file_create_new(parent_fd, location) };
		if (ret->fd >= 0)
			return 0;
		if (errno != EEXIST)
			return fail(-errno, "create", location, err);
		if (unlinkat(parent_fd, base, 0) < 0 && errno != ENOENT)
			return fail(-errno, "create", location, err);
		/* A link that is gone may have been the way to the remembered parent. */
		free(tree->parent);
		tree->parent = NULL;
	}
	return fail(-EEXIST, "create", location, err);
}

int tree_file_open(struct tree *tree, const char *location, const struct member *member,
		   struct filling *ret, struct error *err)
{
	int r = tree_file_reserve(tree, location, member->size, err);

	return r < 0 ? r : tree_file_create(tree, location, ret, err);
}

bool tree_file_set_mode(int fd, const struct member *member)
{
	return fchmod(fd, member->mode & PERMISSIONS) == 0;
}

int tree_file_close(struct tree *tree, const struct filling *file, const struct member *member,
		    struct error *err)
{
	struct timespec times[2];
	int fd = file->fd, r = 0;

	times_of(member, times);
	set_attributes(tree, fd, member);
	/* A call that takes its time even if it changes nothing. */
	if (file->end != member->size && ftruncate(fd, (off_t)member->size) < 0)
		r = fail(-errno, "truncate", member->name, err);
	else if (!file->has_mode && !tree_file_set_mode(fd, member))
		r = fail(-errno, "chmod", member->name, err);
	else if (futimens(fd, times) < 0)
		r = fail(-errno, "set the time of", member->name, err);
	/* Some file systems report a full disk only here. */
	if (close(fd) < 0 && r == 0)
		r = fail(-errno, "close", member->name, err);
	return r;
}

static int copy_file(struct tree *tree, int from_fd, const char *from, const struct stat *st,
		     const char *location, struct error *err)
{
	struct member member = {
		.name = location,
		.mode = st->st_mode,
		.size = (uint64_t)st->st_size,
		.mtime = st->st_mtim,
		.has_mtime = true,
	};
	_cleanup_close_ int source =
		openat(from_fd, from, O_RDONLY | O_NOFOLLOW | O_NONBLOCK | O_NOCTTY | O_CLOEXEC);
	struct filling file;
	int r;

	if (source < 0)
		return fail(-errno, "open", location, err);
	r = tree_file_open(tree, location, &member, &file, err);
	if (r < 0)
		return r;
	r = fd_copy(source, file.fd);
	if (r < 0) {
		close(file.fd);
		return fail(r, "copy", location, err);
	}
	file.end = FILLING_UNKNOWN;
	return tree_file_close(tree, &file, &member, err);
}

/* The directory of the link's target; its own descriptor, as the tree remembers only one. */
static int open_source(struct tree *tree, const char *location, const char **ret_base)
{
	const char *slash = strrchr(location, '/');
	_cleanup_free_ char *parent = strndup(location, slash ? (size_t)(slash - location) : 0);

	*ret_base = slash ? slash + 1 : location;
	return parent ? beneath_open_directory(&tree->beneath, parent, NULL) : -ENOMEM;
}

/* What linkat() says is in *ret_code: 0 or an errno. */
static int make_link(struct tree *tree, int from_fd, const char *from, const struct stat *st,
		     const char *location, int *ret_code, struct error *err)
{
	const char *base;
	struct stat there;
	int parent_fd = tree_open_parent(tree, location, &base, err);

	*ret_code = 0;
	if (parent_fd < 0)
		return parent_fd;
	if (fstatat(parent_fd, base, &there, AT_SYMLINK_NOFOLLOW) == 0) {
		if (there.st_dev == st->st_dev && there.st_ino == st->st_ino)
			return 0;
		if (unlinkat(parent_fd, base, 0) < 0)
			return fail(-errno, "link", location, err);
		free(tree->parent);
		tree->parent = NULL;
	}
	if (linkat(from_fd, from, parent_fd, base, 0) < 0)
		*ret_code = errno;
	return 0;
}

static int link_file(struct tree *tree, int from_fd, const char *from, const struct stat *st,
		     const char *location, struct error *err)
{
	int code, r = make_link(tree, from_fd, from, st, location, &code, err);

	if (r < 0)
		return r;
	switch (code) {
	case 0:
		return 0;
	case EMLINK:
	case EPERM:
	case EXDEV:
	case EOPNOTSUPP:
	case ENOSYS:
		return copy_file(tree, from_fd, from, st, location, err);
	default:
		return fail(-code, "link", location, err);
	}
}

static bool is_as_told(const struct stat *st, const struct member *member,
		       const struct tree_file *file)
{
	return S_ISREG(st->st_mode) && st->st_dev == file->dev && st->st_ino == file->ino &&
	       (uint64_t)st->st_size == member->size &&
	       (st->st_mode & 07777) == (member->mode & PERMISSIONS) &&
	       (!member->has_mtime || (st->st_mtim.tv_sec == member->mtime.tv_sec &&
				       st->st_mtim.tv_nsec == member->mtime.tv_nsec));
}

int tree_name_again(struct tree *tree, const char *location, const struct member *member,
		    const struct tree_file *file, int *ret_fd, struct error *err)
{
	const char *base;
	_cleanup_close_ int from_fd = open_source(tree, file->location, &base), fd = -1;
	struct stat st, made;
	int code, r;

	if (from_fd >= 0)
		fd = openat(from_fd, base,
			    O_RDONLY | O_NOFOLLOW | O_NONBLOCK | O_NOCTTY | O_CLOEXEC);
	if (fd < 0 || fstat(fd, &st) < 0 || !is_as_told(&st, member, file))
		return 0;
	r = make_link(tree, from_fd, base, &st, location, &code, err);
	if (r < 0 || code != 0)
		return r;
	/* The name may have been given to something else between the two. */
	r = tree_open_parent(tree, location, &base, err);
	if (r < 0)
		return r;
	if (fstatat(r, base, &made, AT_SYMLINK_NOFOLLOW) < 0 || made.st_dev != st.st_dev ||
	    made.st_ino != st.st_ino)
		return 0;
	*ret_fd = TAKE_FD(fd);
	return 1;
}

int tree_hard_link(struct tree *tree, const char *location, const struct member *member,
		   const char *link_location, struct error *err)
{
	char text[PATH_MAX_BYTES], a[MEMBER_PRINTABLE_MAX], b[MEMBER_PRINTABLE_MAX];
	const char *base;
	_cleanup_close_ int from_fd = open_source(tree, link_location, &base);
	struct stat st;
	ssize_t n;

	if (from_fd == -EXDEV)
		return error_set(err, -EXDEV,
				 "illegal file path after symlink resolution: %s resolves outside "
				 "destination",
				 member_printable(link_location, b));
	if (from_fd < 0 || fstatat(from_fd, base, &st, AT_SYMLINK_NOFOLLOW) < 0 ||
	    (!S_ISREG(st.st_mode) && !S_ISLNK(st.st_mode))) {
		hooks_warn(tree->hooks,
			   "%.900s: a hard link to %.900s, which is not in the archive: "
			   "left out",
			   member_printable(location, a), member_printable(link_location, b));
		return 0;
	}
	if (S_ISREG(st.st_mode))
		return link_file(tree, from_fd, base, &st, location, err);
	n = readlinkat(from_fd, base, text, sizeof(text) - 1);
	if (n < 0)
		return fail(-errno, "readlink", link_location, err);
	text[n] = '\0';
	return tree_symlink(tree, location, member, text, err);
}

static int judge_link(struct tree *tree, const char *location, struct error *err)
{
	char text[PATH_MAX_BYTES], a[MEMBER_PRINTABLE_MAX], b[MEMBER_PRINTABLE_MAX];
	const char *base;
	int parent_fd;
	ssize_t n;

	if (!beneath_leaves(&tree->beneath, location))
		return 0;
	parent_fd = tree_open_parent(tree, location, &base, err);
	if (parent_fd < 0)
		return parent_fd;
	n = readlinkat(parent_fd, base, text, sizeof(text) - 1);
	text[n < 0 ? 0 : n] = '\0';
	return error_set(err, -EXDEV, "illegal symlink target: %s -> %s",
			 member_printable(location, a), member_printable(text, b));
}

static int set_time(struct tree *tree, const char *location, const struct timespec *mtime,
		    struct error *err)
{
	struct timespec times[2] = { { .tv_nsec = UTIME_OMIT }, *mtime };
	const char *base;
	int parent_fd = tree_open_parent(tree, location, &base, err);

	if (parent_fd < 0)
		return parent_fd;
	if (utimensat(parent_fd, base, times, AT_SYMLINK_NOFOLLOW) < 0)
		return fail(-errno, "set the time of", location, err);
	return 0;
}

int tree_finish(struct tree *tree, struct error *err)
{
	int r = 0;

	for (size_t at = 0; r == 0 && at < tree->links.size;) {
		const char *location = tree->links.data + at;

		r = judge_link(tree, location, err);
		at += strlen(location) + 1;
	}
	for (size_t at = 0; r == 0 && at < tree->times.size;) {
		const char *location = tree->times.data + at + sizeof(struct timespec);
		struct timespec mtime;

		memcpy(&mtime, tree->times.data + at, sizeof(mtime));
		r = set_time(tree, location, &mtime, err);
		at += sizeof(mtime) + strlen(location) + 1;
	}
	return r;
}
