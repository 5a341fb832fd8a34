#include "executor/stage/tree.h"

#include "executor/base/cleanup.h"
#include "executor/base/directory.h"
#include "executor/base/entry.h"
#include "executor/base/path.h"
#include "executor/event/crew.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

struct tree {
	const struct stage *stage;
	struct store *store;
	const struct source *source; /* the top */
};

/* --- sending ---------------------------------------------------------------------------- */

/* A file, or a directory to be marked (fd -1). */
struct leaf {
	int fd;
	uint64_t size;
	char relative[];
};

static void drop_leaf(void *item)
{
	struct leaf *leaf = item;

	if (leaf && leaf->fd >= 0)
		close(leaf->fd);
	free(leaf);
}

static int send_leaf(void *context, void *item, struct error *err)
{
	const struct tree *tree = context;
	const struct store_operations *operations = tree->store->operations;
	struct leaf *leaf = item;
	int r;

	if (leaf->fd < 0)
		r = operations->put_directory(tree->store, leaf->relative, err);
	else
		r = operations->put_file(tree->store, leaf->relative, leaf->fd, leaf->size,
					 path_basename(leaf->relative), err);
	drop_leaf(leaf);
	return r;
}

/* --- walking ---------------------------------------------------------------------------- */

struct walk {
	const struct tree *tree;
	struct crew *crew;
	struct level {
		struct directory *directory;
		size_t size; /* of its path */
	} levels[TREE_DEPTH_MAX]; /* from the top to where the walk is */
	size_t depth;
	uint64_t files; /* found so far */
	char path[PATH_MAX_BYTES]; /* of the entry at hand */
};

/* The descriptor goes with it. */
static int put_leaf(const struct walk *walk, int fd, uint64_t size, struct error *err)
{
	size_t length = strlen(walk->path) + 1;
	struct leaf *leaf = malloc(sizeof(*leaf) + length);
	int r;

	if (!leaf) {
		if (fd >= 0)
			close(fd);
		return error_set(err, -ENOMEM, "out of memory");
	}
	leaf->fd = fd;
	leaf->size = size;
	memcpy(leaf->relative, walk->path, length);
	r = crew_put(walk->crew, leaf, err);
	if (r < 0)
		drop_leaf(leaf);
	return r;
}

/* Takes the descriptor. */
static int enter(struct walk *walk, int fd, struct error *err)
{
	struct directory *directory;
	int r;

	if (walk->depth == TREE_DEPTH_MAX) {
		close(fd);
		return error_set(err, -ELOOP, "%.200s: more than %d directories deep", walk->path,
				 TREE_DEPTH_MAX);
	}
	/* What was opened for us has one position, in however many artifacts it is. */
	r = directory_new(fd, &directory);
	if (r < 0)
		return error_set(err, r, "out of memory");
	walk->levels[walk->depth++] =
		(struct level){ .directory = directory, .size = strlen(walk->path) };
	return walk->tree->store->operations->put_directory ? put_leaf(walk, -1, 0, err) : 0;
}

static void leave(struct walk *walk)
{
	directory_free(walk->levels[--walk->depth].directory);
	if (walk->depth > 0)
		walk->path[walk->levels[walk->depth - 1].size] = '\0';
}

static int leave_out(const struct walk *walk)
{
	log_warn(walk->tree->stage->log, "Left out: neither a file nor a directory",
		 log_string("path", walk->path));
	return 0;
}

static int visit(struct walk *walk, int parent_fd, const char *name, struct error *err)
{
	_cleanup_close_ int fd =
		entry_open(parent_fd, name, 0, source_identity(walk->tree->source));
	struct stat st;

	/* A link, a socket, a device: an object store has nothing like it. Gone: a race lost. */
	if (fd == -ELOOP || fd == -ENXIO || fd == -ENOENT)
		return leave_out(walk);
	if (fd < 0 || fstat(fd, &st) < 0)
		return error_errno(err, fd < 0 ? fd : -errno, "open %s", walk->path);
	if (S_ISDIR(st.st_mode))
		return enter(walk, TAKE_FD(fd), err);
	if (!S_ISREG(st.st_mode))
		return leave_out(walk);
	walk->files++;
	return put_leaf(walk, TAKE_FD(fd), (uint64_t)st.st_size, err);
}

/* The next entry of the directory at hand, or the way back up. */
static int step(struct walk *walk, struct error *err)
{
	struct directory *directory = walk->levels[walk->depth - 1].directory;
	size_t size = walk->levels[walk->depth - 1].size;
	const char *name;
	int r = directory_next(directory, &name);

	if (r < 0)
		return error_errno(err, r, "read directory %s", size ? walk->path : ".");
	if (r == 0) {
		leave(walk);
		return 0;
	}
	if ((size_t)snprintf(walk->path + size, sizeof(walk->path) - size, "%s%s", size ? "/" : "",
			     name) >= sizeof(walk->path) - size)
		return error_set(err, -ENAMETOOLONG, "%.200s…: the path is too long", walk->path);
	r = visit(walk, directory_descriptor(directory), name, err);
	/* Entering a directory keeps its path. */
	if (r == 0 && walk->levels[walk->depth - 1].directory == directory)
		walk->path[size] = '\0';
	return r;
}

static int walk_tree(struct walk *walk, struct error *err)
{
	int fd, r;

	/* Of its own: a position in the directory is the open file's. */
	fd = entry_open(walk->tree->source->fd, ".", O_DIRECTORY,
			source_identity(walk->tree->source));
	if (fd < 0)
		return error_errno(err, fd, "read directory .");
	r = enter(walk, fd, err);
	while (r == 0 && walk->depth > 0)
		r = step(walk, err);
	return r < 0 ? r : source_check_files(walk->tree->source, walk->files, err);
}

static int find_leaves(void *context, struct crew *crew, struct error *err)
{
	struct walk *walk = calloc(1, sizeof(*walk));
	int r;

	if (!walk)
		return error_set(err, -ENOMEM, "out of memory");
	walk->tree = context;
	walk->crew = crew;
	r = walk_tree(walk, err);
	while (walk->depth > 0)
		leave(walk);
	free(walk);
	return r;
}

int tree_upload(const struct stage *stage, struct store *store, const struct source *source,
		struct error *err)
{
	struct tree tree = { .stage = stage, .store = store, .source = source };

	return crew_run(stage->store.loop, TREE_WIDTH,
			&(struct crew_duties){ .find = find_leaves,
					       .work = send_leaf,
					       .drop = drop_leaf,
					       .context = &tree },
			err);
}
