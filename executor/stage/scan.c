#include "executor/stage/scan.h"

#include "executor/base/cleanup.h"
#include "executor/base/entry.h"

#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <string.h>

/* A directory that was opened for us. */
struct scan_directory {
	struct scan_directory *next;
	int fd; /* the table's */
	char path[];
};

static struct scan_level *top(struct scan *scan)
{
	return &scan->levels[scan->depth - 1];
}

/* As whoever we are now: names can be listed without it, and nothing else. */
static bool is_closed(int fd)
{
	struct stat st;

	return fstatat(fd, ".", &st, 0) < 0 && (errno == EACCES || errno == EPERM);
}

/* scan->path has its path. */
static int push(struct scan *scan, int fd, size_t size)
{
	DIR *directory;

	if (scan->depth_above + scan->depth == SCAN_DEPTH_MAX) {
		close(fd);
		return -ELOOP;
	}
	directory = fdopendir(fd);
	if (!directory) {
		int r = -errno;

		close(fd);
		return r;
	}
	scan->counts.directories++;
	scan->levels[scan->depth++] = (struct scan_level){ .directory = directory,
							   .size = size,
							   .is_closed = is_closed(fd) };
	return 0;
}

static void pop(struct scan *scan)
{
	closedir(scan->levels[--scan->depth].directory);
	scan->path[scan->depth > 0 ? top(scan)->size : 0] = '\0';
}

/* The position of the descriptor that was handed over is its sender's too: ours is opened anew, if we
 * may. */
int scan_init(struct scan *scan, int fd, const struct identity *as)
{
	int own_fd, r;

	*scan = (struct scan){ .as = as, .ask_fd = -1, .opened = opened_new() };
	r = scan->opened ? identity_enter(as) : -ENOMEM;
	if (r < 0)
		return r;
	own_fd = entry_open_entered(fd, ".", O_DIRECTORY, as);
	r = own_fd < 0 ? own_fd : push(scan, own_fd, 0);
	identity_leave(as);
	return r;
}

void scan_done(struct scan *scan)
{
	while (scan->depth > 0)
		pop(scan);
	while (scan->closed) {
		struct scan_directory *directory = scan->closed;

		scan->closed = directory->next;
		free(directory);
	}
	if (scan->ask_fd >= 0)
		close(TAKE_FD(scan->ask_fd));
	opened_free(TAKE_PTR(scan->opened));
}

/* It has just become something else: what it is when it is read counts. */
static bool has_changed(int r)
{
	return r == -ENOENT || r == -ELOOP || r == -ENOTDIR || r == -ENXIO;
}

static bool is_full(const struct scan *scan)
{
	return scan->ask.number == CHANNEL_PARTS_MAX ||
	       (size_t)scan->ask_size + NAME_MAX + 1 > sizeof(scan->ask);
}

/* We may not open it: somebody else shall. */
static int ask_for(struct scan *scan, int parent_fd, const char *name)
{
	if (opened_count(scan->opened) + scan->ask.number >= scan->opened_max)
		return -EMFILE;
	if (scan->ask.number == 0) {
		scan->ask_fd = fcntl(parent_fd, F_DUPFD_CLOEXEC, 0);
		if (scan->ask_fd < 0)
			return -errno;
		scan->ask_size = channel_ask_init(&scan->ask, scan->path);
	}
	scan->ask_size = channel_ask_add(&scan->ask, scan->ask_size, name);
	return scan->ask_size < 0 ? scan->ask_size : 0;
}

static int open_directory(struct scan *scan, int parent_fd, const char *name)
{
	int fd = entry_open_entered(parent_fd, name, O_DIRECTORY, scan->as);
	size_t size = top(scan)->size;

	if (fd < 0)
		return has_changed(fd) ? 0 : fd;
	snprintf(scan->path + size, sizeof(scan->path) - size, "%s%s", size ? "/" : "", name);
	return push(scan, fd, strlen(scan->path));
}

/* A look at a file's owner is a third of the price of opening it, and enough where that is the sender:
 * 1 if it is a file that it may read, 0 if only opening it tells, or -EXDEV. */
static int is_plainly_readable(const struct scan *scan, int parent_fd, const char *name)
{
	const int flags = AT_SYMLINK_NOFOLLOW | AT_NO_AUTOMOUNT | AT_STATX_DONT_SYNC;
	struct statx stx;

	if (scan->as->is_anybody ||
	    statx(parent_fd, name, flags, STATX_TYPE | STATX_MODE | STATX_UID, &stx) < 0 ||
	    !(stx.stx_attributes_mask & STATX_ATTR_MOUNT_ROOT))
		return 0;
	if (stx.stx_attributes & STATX_ATTR_MOUNT_ROOT)
		return -EXDEV;
	return S_ISREG(stx.stx_mode) && (stx.stx_mode & S_IRUSR) && stx.stx_uid == scan->as->uid;
}

static int open_file(struct scan *scan, int parent_fd, const char *name)
{
	int fd = is_plainly_readable(scan, parent_fd, name);

	if (fd == 0) {
		fd = entry_open_entered(parent_fd, name, 0, scan->as);
		if (fd >= 0)
			close(fd);
	}
	if (fd < 0)
		return has_changed(fd) ? 0 : fd;
	scan->counts.files++;
	return 0;
}

static unsigned char type_of(int parent_fd, const struct dirent *entry)
{
	struct stat st;

	if (entry->d_type != DT_UNKNOWN)
		return entry->d_type;
	if (fstatat(parent_fd, entry->d_name, &st, AT_SYMLINK_NOFOLLOW) < 0)
		return DT_UNKNOWN;
	return IFTODT(st.st_mode);
}

static int look_at(struct scan *scan, const struct dirent *entry)
{
	const struct scan_level *level = top(scan);
	int parent_fd = dirfd(level->directory), r = 0;
	unsigned char type;

	if (++scan->seen > SCAN_ENTRIES_MAX)
		return -E2BIG;
	if (level->size + strlen(entry->d_name) + 1 > SCAN_NAME_MAX)
		return -ENAMETOOLONG;
	if (level->is_closed)
		return ask_for(scan, parent_fd, entry->d_name);
	type = type_of(parent_fd, entry);
	if (type == DT_LNK)
		scan->counts.links++;
	if (type == DT_REG)
		r = open_file(scan, parent_fd, entry->d_name);
	if (type == DT_DIR)
		r = open_directory(scan, parent_fd, entry->d_name);
	return r == -EACCES || r == -EPERM ? ask_for(scan, parent_fd, entry->d_name) : r;
}

static int enter_closed(struct scan *scan)
{
	struct scan_directory *directory = scan->closed;
	int fd;

	scan->closed = directory->next;
	snprintf(scan->path, sizeof(scan->path), "%s", directory->path);
	scan->depth_above = 1;
	for (const char *p = scan->path; *p; p++)
		scan->depth_above += *p == '/';
	fd = fcntl(directory->fd, F_DUPFD_CLOEXEC, 0);
	free(directory);
	if (fd < 0)
		return -errno;
	lseek(fd, 0, SEEK_SET);
	return push(scan, fd, strlen(scan->path));
}

/* One entry, or the way up or down. */
static int advance(struct scan *scan)
{
	const struct dirent *entry;

	if (scan->depth == 0)
		return enter_closed(scan);
	errno = 0;
	entry = readdir(top(scan)->directory);
	if (!entry && errno != 0)
		return -errno;
	if (!entry)
		pop(scan);
	else if (strcmp(entry->d_name, ".") != 0 && strcmp(entry->d_name, "..") != 0)
		return look_at(scan, entry);
	return 0;
}

/* Names that are asked for are of one directory. */
static int step_entered(struct scan *scan)
{
	for (unsigned i = 0; i < SCAN_SLICE && (scan->depth > 0 || scan->closed); i++) {
		size_t depth = scan->depth;
		int r = advance(scan);

		if (r < 0)
			return r;
		if (scan->ask.number > 0 && (scan->depth != depth || is_full(scan)))
			return SCAN_ASKS;
	}
	return scan->depth > 0 || scan->closed ? SCAN_MORE : SCAN_END;
}

int scan_step(struct scan *scan)
{
	int r = identity_enter(scan->as);

	if (r < 0)
		return r;
	r = step_entered(scan);
	identity_leave(scan->as);
	return r;
}

/* --- answers ---------------------------------------------------------------------------- */

static int defer(struct scan *scan, const char *name, int fd)
{
	const char *above = scan->ask.names;
	size_t size = strlen(above) + 1 + strlen(name) + 1;
	struct scan_directory *directory = malloc(sizeof(*directory) + size);

	if (!directory)
		return -ENOMEM;
	snprintf(directory->path, size, "%s%s%s", above, *above ? "/" : "", name);
	directory->fd = fd;
	directory->next = scan->closed;
	scan->closed = directory;
	return 0;
}

static int keep(struct scan *scan, const char *name, int code, int *fd)
{
	struct stat st = { .st_mode = 0 };
	int given = *fd, r;

	if (given < 0 && !has_changed(-code))
		return -code;
	if (given >= 0 && fstat(given, &st) < 0)
		return -errno;
	r = opened_add(scan->opened, scan->ask_fd, name, TAKE_FD(*fd), -code);
	/* A directory that was moved is met twice: once is enough. */
	if (r < 0)
		return r == -EEXIST ? 0 : r;
	scan->counts.files += S_ISREG(st.st_mode);
	scan->counts.links += S_ISLNK(st.st_mode);
	return S_ISDIR(st.st_mode) ? defer(scan, name, given) : 0;
}

int scan_answer(struct scan *scan, const int *codes, int *fds)
{
	const char *name = scan->ask.names;
	int r = 0;

	for (unsigned i = 0; r == 0 && i < scan->ask.number; i++) {
		name += strlen(name) + 1;
		r = keep(scan, name, codes[i], &fds[i]);
	}
	scan->ask.number = 0;
	close(TAKE_FD(scan->ask_fd));
	return r;
}
