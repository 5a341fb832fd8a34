#include "executor/stage/upload.h"

#include "executor/archive/pack.h"
#include "executor/archive/unpack.h"
#include "executor/base/cleanup.h"
#include "executor/base/fd.h"
#include "executor/base/path.h"
#include "executor/stage/handover.h"
#include "executor/stage/tree.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <string.h>

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
	if (store->operations->save_path)
		return handover_plain(stage, source, store, name, err);
	if (!source->is_directory)
		return upload_known(stage, artifact, source, store, name, err);
	if (!store->operations->put_file)
		return error_set(err, -ENOTSUP, "output artifacts of type %s are not supported",
				 store->operations->type);
	return tree_upload(stage, store, source, err);
}

/* Packed on the way: nothing of it touches the disk. */
static int upload_packed(const struct stage *stage, const struct source *source,
			 const struct pack_options *options, struct store *store, const char *name,
			 struct error *err)
{
	const struct store_operations *operations = store->operations;
	struct pack_result packed;
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
	r = pack_descriptor(source->fd, options, out, &packed, err);
	if (r == 0)
		r = source_check_entries(source, packed.entries, err);
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
		r = unpack_tar(&reader.reader, spot_by_path(path), &options, err);
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
		.as = source_identity(source),
		.pool = stage->store.pool,
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
