#include "executor/stage/upload.h"

#include "executor/archive/pack.h"
#include "executor/archive/unpack.h"
#include "executor/base/cleanup.h"
#include "executor/base/fd.h"
#include "executor/base/path.h"
#include "executor/stage/handover.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <string.h>

/* Directories below one artifact; each costs a descriptor while its content goes up. */
#define DEPTH_MAX 512

struct tree {
	const struct stage *stage;
	struct store *store;
	unsigned depth;
};

int upload_file(const struct stage *stage, const struct source *source, struct store *store,
		const char *name, struct error *err)
{
	const struct store_operations *operations = store->operations;

	if (operations->save_path)
		return handover_copy(stage, source, store, name, err);
	if (!operations->put_file)
		return error_set(err, -ENOTSUP, "output artifacts of type %s are not supported",
				 operations->type);
	return operations->put_file(store, "", source->fd, source->size, name, err);
}

static int upload_tree(struct tree *tree, int fd, const char *prefix, struct error *err);

static int upload_entry(struct tree *tree, int parent_fd, const char *name, const char *prefix,
			struct error *err)
{
	char relative[PATH_MAX_BYTES];
	_cleanup_close_ int fd =
		openat(parent_fd, name, O_RDONLY | O_NOFOLLOW | O_NONBLOCK | O_NOCTTY | O_CLOEXEC);
	struct stat st;

	if ((size_t)snprintf(relative, sizeof(relative), "%s%s%s", prefix, *prefix ? "/" : "",
			     name) >= sizeof(relative))
		return error_set(err, -ENAMETOOLONG, "%.200s…: the path is too long", relative);
	/* A link, a socket, a device: an object store has nothing like it. Gone: a race lost. */
	if (fd < 0 && (errno == ELOOP || errno == ENXIO || errno == ENOENT)) {
		log_warn(tree->stage->log, "Left out: neither a file nor a directory",
			 log_string("path", relative));
		return 0;
	}
	if (fd < 0 || fstat(fd, &st) < 0)
		return error_errno(err, -errno, "open %s", relative);
	if (S_ISDIR(st.st_mode))
		return upload_tree(tree, fd, relative, err);
	if (!S_ISREG(st.st_mode)) {
		log_warn(tree->stage->log, "Left out: neither a file nor a directory",
			 log_string("path", relative));
		return 0;
	}
	return tree->store->operations->put_file(tree->store, relative, fd, (uint64_t)st.st_size,
						 name, err);
}

static int is_visible(const struct dirent *entry)
{
	return strcmp(entry->d_name, ".") != 0 && strcmp(entry->d_name, "..") != 0;
}

/* Every regular file below, in lexical order, and the directories where the store knows any. */
static int upload_tree(struct tree *tree, int fd, const char *prefix, struct error *err)
{
	const struct store_operations *operations = tree->store->operations;
	struct dirent **entries = NULL;
	int count, r = operations->put_directory ?
			       operations->put_directory(tree->store, prefix, err) :
			       0;

	if (r < 0)
		return r;
	if (++tree->depth > DEPTH_MAX)
		return error_set(err, -ELOOP, "%.200s: more than %d directories deep", prefix,
				 DEPTH_MAX);
	count = scandirat(fd, ".", &entries, is_visible, alphasort);
	if (count < 0)
		return error_errno(err, -errno, "read directory %s", *prefix ? prefix : ".");
	for (int i = 0; i < count; i++) {
		if (r == 0)
			r = upload_entry(tree, fd, entries[i]->d_name, prefix, err);
		free(entries[i]);
	}
	free(entries);
	tree->depth--;
	return r;
}

/* One file as it is: its size is known beforehand, unlike that of what is packed on the way. */
static int upload_known(const struct stage *stage, const struct template_artifact *artifact,
			const struct source *source, struct store *store, const char *name,
			struct error *err)
{
	ledger_expect(ledger_find(stage->ledger, LEDGER_OUTPUT, artifact->name),
		      (int64_t)source->size);
	return upload_file(stage, source, store, name, err);
}

static int upload_plain(const struct stage *stage, const struct template_artifact *artifact,
			const struct source *source, struct store *store, const char *name,
			struct error *err)
{
	struct tree tree = { .stage = stage, .store = store };

	if (store->operations->save_path)
		return handover_place(source, store, err);
	if (!source->is_directory)
		return upload_known(stage, artifact, source, store, name, err);
	if (!store->operations->put_file)
		return error_set(err, -ENOTSUP, "output artifacts of type %s are not supported",
				 store->operations->type);
	return upload_tree(&tree, source->fd, "", err);
}

/* Packed on the way: nothing of it touches the disk. */
static int upload_packed(const struct stage *stage, const struct source *source,
			 const struct pack_options *options, struct store *store, const char *name,
			 struct error *err)
{
	const struct store_operations *operations = store->operations;
	struct writer *out = NULL;
	int r;

	if (operations->save_path)
		return handover_packed(stage, source, options, store, name, err);
	if (!operations->put_stream)
		return error_set(err, -ENOTSUP, "output artifacts of type %s are not supported",
				 operations->type);
	r = operations->put_stream(store, name, &out, err);
	if (r < 0)
		return r;
	r = pack_descriptor(source->fd, options, out, NULL, err);
	if (r == 0 && out->finish)
		r = out->finish(out, err);
	operations->put_stream_done(store, out);
	return r;
}

/* The wrapper's tar.gz, unpacked into a private directory: for those who want it in another form.
 * *ret is what it holds. */
static int unpack_collected(const struct stage *stage, const char *name,
			    const struct source *source, char *path, struct source *ret,
			    struct error *err)
{
	const struct unpack_options options = { .hooks = stage_hooks(stage) };
	struct fd_reader reader;
	int r;

	snprintf(path, PATH_MAX_BYTES, "%s/artifacts/%s", stage->scratch, name);
	fd_reader_init(&reader, source->fd, source->path);
	r = path_make_parents(path, 0777, err);
	if (r == 0)
		r = path_remove_tree(path, err);
	if (r == 0)
		r = unpack_tar(&reader.reader, path, &options, err);
	if (r < 0)
		return r;
	*ret = (struct source){ .fd = -1 };
	snprintf(ret->path, sizeof(ret->path), "%s", path);
	ret->fd = open(path, O_RDONLY | O_CLOEXEC | O_NOFOLLOW | O_NONBLOCK);
	if (ret->fd < 0)
		return error_errno(err, -errno, "open %s", path);
	return 0;
}

static int upload_form(const struct stage *stage, const struct template_artifact *artifact,
		       const struct source *source, struct store *store, const char *name,
		       struct error *err)
{
	struct pack_options options = {
		.format = artifact->archive == ARCHIVE_ZIP ? PACK_ZIP : PACK_TAR_GZ,
		.level = artifact->compression_level,
		.name = path_basename(artifact->path),
		.hooks = stage_hooks(stage),
	};

	if (artifact->archive == ARCHIVE_NONE)
		return upload_plain(stage, artifact, source, store, name, err);
	return upload_packed(stage, source, &options, store, name, err);
}

static int upload_collected(const struct stage *stage, const struct template_artifact *artifact,
			    const struct source *source, struct store *store, const char *name,
			    struct error *err)
{
	_cleanup_source_ struct source content = { .fd = -1 };
	char path[PATH_MAX_BYTES];
	struct stat st;
	int r;

	if (artifact->archive == ARCHIVE_TAR || artifact->archive == ARCHIVE_UNSET)
		return upload_known(stage, artifact, source, store, name, err);
	/* A store may see the name: let it be that of the object, or at least not the archive's. */
	r = unpack_collected(stage, artifact->archive == ARCHIVE_NONE ? name : artifact->name,
			     source, path, &content, err);
	if (r == 0 && fstat(content.fd, &st) < 0)
		r = error_errno(err, -errno, "stat %s", path);
	if (r == 0) {
		content.is_directory = S_ISDIR(st.st_mode);
		content.size = (uint64_t)st.st_size;
		r = upload_form(stage, artifact, &content, store, name, err);
	}
	path_remove_tree(path, NULL);
	return r;
}

int upload_artifact(const struct stage *stage, const struct template_artifact *artifact,
		    const struct source *source, struct store *store, const char *name,
		    struct error *err)
{
	int r;

	if (!source->is_directory && source->size == 0)
		log_warn(stage->log, "The artifact is an empty file",
			 log_string("artifactName", artifact->name));
	r = source->is_collected ? upload_collected(stage, artifact, source, store, name, err) :
				   upload_form(stage, artifact, source, store, name, err);
	/* Missing at this point is not the artifact as such: it must not pass for optional. */
	if (r < 0 && err->class == ERROR_NOT_FOUND)
		err->class = ERROR_PERMANENT;
	return r < 0 ? error_prefix(err, r, "artifact %s failed to save", artifact->name) : 0;
}
