#include "executor/stage/load.h"

#include "executor/archive/detect.h"
#include "executor/archive/unpack.h"
#include "executor/base/cleanup.h"
#include "executor/base/fd.h"
#include "executor/base/path.h"
#include "executor/event/fibers.h"
#include "executor/stage/merge.h"
#include "executor/stage/permissions.h"
#include "executor/template/location.h"
#include "executor/template/template_check.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>

/* Readable for a main container under any user; the artifact's own `mode` comes on top. A literal
 * (`raw`) has always been writable for everybody in Argo. */
#define FILE_MODE 0644
#define RAW_FILE_MODE 0666
#define DIRECTORY_MODE 0755

struct loading {
	const struct stage *stage;
	const struct template_artifact *artifact;
	struct store *store;
	struct ledger_entry *entry;
	mode_t file_mode;
	char target[PATH_MAX_BYTES];
	/* Where it is put together: the target, or a name inside of it where the target is a
	 * directory of the user's, which may be the root of a volume. */
	char landing[PATH_MAX_BYTES + 264];
	char temporary[PATH_MAX_BYTES + 272]; /* of a file, or the directory of a prefix */
	bool joins; /* landing is not the target */
};

/* Counts what it passes on. */
struct counted_reader {
	struct reader reader;
	struct reader *source;
	const struct loading *loading;
};

static ssize_t read_counted(struct reader *base, void *data, size_t size, struct error *err)
{
	struct counted_reader *self = (struct counted_reader *)base;
	ssize_t n = self->source->read(self->source, data, size, err);

	if (n > 0)
		ledger_move(self->loading->entry, (uint64_t)n);
	return n;
}

static struct counted_reader count_bytes(const struct loading *loading, struct reader *source)
{
	return (struct counted_reader){ .reader.read = read_counted,
					.source = source,
					.loading = loading };
}

int load_files(const struct stage *stage, struct error *err)
{
	struct json_object *resource = json_get(stage->template->json, "resource");
	const char *manifest = json_get_string(resource, "manifest", "");
	size_t size = 0;
	const char *source = template_script_source(stage->template, &size);
	int r = 0;

	if (source)
		r = file_replace(stage->script, source, size, 0755, err);
	if (r == 0 && resource && !json_get(resource, "manifestFrom"))
		r = file_replace(stage->manifest, manifest, strlen(manifest), 0644, err);
	return r < 0 ? error_prefix(err, r, "failed to stage files") : 0;
}

static int create_file(const char *path, mode_t mode, int *ret, struct error *err)
{
	if (unlink(path) < 0 && errno != ENOENT && errno != EISDIR)
		return error_errno(err, -errno, "remove %s", path);
	*ret = open(path, O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC | O_NOFOLLOW, mode);
	return *ret < 0 ? error_errno(err, -errno, "create %s", path) : 0;
}

/* Everything from the reader into a new file; no file after a failure. */
static int write_file(const char *path, mode_t mode, struct reader *reader, struct error *err)
{
	struct fd_writer out;
	int fd = -1, r = create_file(path, mode, &fd, err);

	if (r < 0)
		return r;
	fd_writer_init(&out, fd, path);
	r = stream_copy(reader, &out.writer, NULL, err);
	if (close(fd) < 0 && r == 0)
		r = error_errno(err, -errno, "write %s", path);
	if (r < 0)
		unlink(path);
	return r;
}

static int move_into_place(const struct loading *self, struct error *err)
{
	int r;

	if (rename(self->temporary, self->landing) == 0)
		return 0;
	r = error_errno(err, -errno, "rename %s to %s", self->temporary, self->landing);
	path_remove_tree(self->temporary, NULL);
	return r;
}

static int load_plain(struct loading *self, struct reader *reader, struct error *err)
{
	int r = write_file(self->temporary, self->file_mode, reader, err);

	return r < 0 ? r : move_into_place(self, err);
}

static int load_zip(struct loading *self, struct reader *reader, struct error *err)
{
	const struct unpack_options options = { .hooks = stage_hooks(self->stage) };
	_cleanup_close_ int fd = -1;
	int r = write_file(self->temporary, self->file_mode, reader, err);

	if (r < 0)
		return r;
	/* A zip is read from its end: it has to be on disk, but needs no name any more. */
	fd = open(self->temporary, O_RDONLY | O_CLOEXEC | O_NOFOLLOW);
	if (fd < 0)
		r = error_errno(err, -errno, "open %s", self->temporary);
	unlink(self->temporary);
	return r < 0 ? r : unpack_zip(fd, self->landing, &options, err);
}

static int load_tar(struct loading *self, struct reader *reader, struct error *err)
{
	const struct unpack_options options = { .hooks = stage_hooks(self->stage) };

	return unpack_tar(reader, self->landing, &options, err);
}

/* No archive strategy given: a tar behind gzip or zstd is unpacked, anything else is kept. */
static int load_detected(struct loading *self, struct reader *source, struct error *err)
{
	struct peek_reader peek;
	enum detected format = DETECTED_PLAIN;
	const char *data;
	ssize_t n;
	int r;

	peek_reader_init(&peek, source);
	n = peek_reader_peek(&peek, DETECT_BYTES, &data, err);
	r = n < 0 ? (int)n : detect_format(data, (size_t)n, &format, err);
	if (r == 0)
		r = format == DETECTED_PLAIN ? load_plain(self, &peek.reader, err) :
					       load_tar(self, &peek.reader, err);
	peek_reader_done(&peek);
	return r;
}

static int load_object(struct loading *self, struct reader *reader, struct error *err)
{
	switch (self->artifact->archive) {
	case ARCHIVE_NONE:
		return load_plain(self, reader, err);
	case ARCHIVE_TAR:
		return load_tar(self, reader, err);
	case ARCHIVE_ZIP:
		return load_zip(self, reader, err);
	case ARCHIVE_UNSET:
		break;
	}
	return load_detected(self, reader, err);
}

/* One object of a prefix. */
static int load_below(void *context, const char *relative, int64_t size, struct error *err)
{
	struct loading *self = context;
	const struct store_operations *operations = self->store->operations;
	struct counted_reader counted;
	struct reader *reader = NULL;
	char path[PATH_MAX_BYTES * 2];
	int64_t length;
	int r;

	(void)size;
	if ((size_t)snprintf(path, sizeof(path), "%s/%s", self->temporary, relative) >=
	    PATH_MAX_BYTES)
		return error_set(err, -ENAMETOOLONG, "object %.200s…: the path is too long",
				 relative);
	r = path_make_parents(path, DIRECTORY_MODE, err);
	if (r == 0)
		r = operations->get_below(self->store, relative, &reader, &length, err);
	counted = count_bytes(self, reader);
	if (r == 0)
		r = write_file(path, self->file_mode, &counted.reader, err);
	if (reader)
		operations->get_done(self->store, reader);
	return r;
}

/* The key names no object: it may name a directory. */
static int load_directory(struct loading *self, const struct error *not_found, struct error *err)
{
	const struct store_operations *operations = self->store->operations;
	int r;

	if (!operations->list) {
		*err = *not_found;
		return not_found->code;
	}
	r = path_remove_tree(self->temporary, err);
	if (r == 0)
		r = path_make_directories(self->temporary, DIRECTORY_MODE, err);
	if (r == 0)
		r = operations->list(self->store, load_below, self, err);
	if (r == 0 && self->artifact->archive != ARCHIVE_UNSET &&
	    self->artifact->archive != ARCHIVE_NONE)
		r = error_set(err, -EISDIR, "the key names a directory, not an archive");
	if (r == 0)
		return move_into_place(self, err);
	if (err->class == ERROR_NOT_FOUND)
		*err = *not_found;
	path_remove_tree(self->temporary, NULL);
	return r;
}

static int fetch(struct loading *self, struct error *err)
{
	const struct store_operations *operations = self->store->operations;
	struct counted_reader counted;
	struct reader *reader = NULL;
	struct error not_found;
	int64_t size;
	int r = operations->get(self->store, &reader, &size, err);

	if (r == 0) {
		ledger_expect(self->entry, size);
		counted = count_bytes(self, reader);
		r = load_object(self, &counted.reader, err);
		operations->get_done(self->store, reader);
		return r;
	}
	if (err->class != ERROR_NOT_FOUND)
		return r;
	not_found = *err;
	return load_directory(self, &not_found, err);
}

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
static int place(struct loading *self, struct error *err)
{
	const struct stage *stage = self->stage;
	const struct template_artifact *artifact = self->artifact;
	const char *mount = template_find_mount(stage->template, artifact->path);
	bool is_in_volume = mount != NULL;
	int r = is_in_volume ? check_way(stage, mount, artifact->path, err) : 0;

	if (r < 0)
		return r;
	snprintf(self->target, sizeof(self->target), "%s%s%s",
		 is_in_volume ? stage->main_root : stage->inputs, is_in_volume ? "" : "/",
		 is_in_volume ? artifact->path : artifact->name);
	self->joins = is_in_volume && is_directory(self->target);
	snprintf(self->landing, sizeof(self->landing), "%s%s%s", self->target,
		 self->joins ? "/.argo-" : "", self->joins ? artifact->name : "");
	/* A name that nobody else has: beside the target, `<target>.tmp` may be a file of the user's. */
	snprintf(self->temporary, sizeof(self->temporary), "%.*s/.argo-%s.tmp",
		 (int)(strrchr(self->landing, '/') - self->landing), self->landing, artifact->name);
	r = path_make_parents(self->target, DIRECTORY_MODE, err);
	if (r == 0 && (self->joins || !is_in_volume))
		r = path_remove_tree(self->landing, err);
	return r;
}

/* A place that is missing is no missing artifact: an optional one is not skipped for it. */
static int not_absent(int r, struct error *err)
{
	if (r < 0 && err->class == ERROR_NOT_FOUND)
		err->class = ERROR_PERMANENT;
	return r;
}

/* From where it was put together to where it is wanted. */
static int settle(const struct loading *self, struct error *err)
{
	int r;

	if (!self->joins)
		return 0;
	if (is_directory(self->landing))
		r = merge_directories(self->landing, self->target, err);
	else
		r = error_set(err, -EISDIR,
			      "%s is a directory that exists, and the artifact is a file",
			      self->target);
	if (r < 0)
		path_remove_tree(self->landing, NULL);
	return r;
}

static int load_one(const struct stage *stage, const struct template_artifact *artifact,
		    struct error *err)
{
	struct loading self = { .stage = stage,
				.artifact = artifact,
				.entry = ledger_find(stage->ledger, LEDGER_INPUT, artifact->name) };
	_cleanup_json_ struct json_object *relocated = NULL;
	_cleanup_store_ struct store *store = NULL;
	int r = template_check_path(artifact->json, err);

	if (r < 0)
		return r;
	r = location_relocate(artifact->json, template_archive_location(stage->template),
			      &relocated, err);
	if (r < 0)
		return error_prefix(err, r, "failed to load artifact '%s'", artifact->name);
	if (strcmp(location_type(relocated), "plugin") == 0)
		return 0;
	self.file_mode = strcmp(location_type(relocated), "raw") == 0 ? RAW_FILE_MODE : FILE_MODE;
	r = stage_open_store(stage, relocated, artifact->name, self.entry, &store, err);
	self.store = store;
	if (r == 0)
		r = not_absent(place(&self, err), err);
	if (r == 0)
		r = fetch(&self, err);
	if (r == 0)
		r = not_absent(settle(&self, err), err);
	if (r == 0 && artifact->has_mode)
		r = permissions_set(self.target, artifact->mode, artifact->is_mode_recursive, err);
	if (r < 0)
		return error_prefix(err, r, "artifact %s failed to load", artifact->name);
	log_info(stage->log, "Loaded artifact", log_string("artifactName", artifact->name),
		 log_string("path", self.target));
	return 0;
}

static int load_or_skip(const struct stage *stage, const struct template_artifact *artifact,
			struct error *err)
{
	struct ledger_entry *entry = ledger_find(stage->ledger, LEDGER_INPUT, artifact->name);
	int r;

	ledger_begin(entry);
	if (!location_is_complete(artifact->json) && !location_key(artifact->json)) {
		r = error_set_class(err, -ENOENT, ERROR_NOT_FOUND,
				    "required artifact '%s' not supplied", artifact->name);
	} else {
		log_info(stage->log, "Loading artifact",
			 log_string("artifactName", artifact->name));
		r = load_one(stage, artifact, err);
	}
	if (r == 0 || !artifact->is_optional || err->class != ERROR_NOT_FOUND) {
		ledger_end(entry, r == 0 ? LEDGER_DONE : LEDGER_FAILED);
		return r;
	}
	ledger_end(entry, LEDGER_ABSENT);
	log_info(stage->log, "Skipped an optional artifact that does not exist",
		 log_string("artifactName", artifact->name), log_error_field(err));
	*err = ERROR_NONE;
	return 0;
}

struct pass {
	const struct stage *stage;
	bool *have_ended; /* one for each input */
};

/* Both go into volumes, one at or below the other's place: the later one comes on top. */
static bool overlap(const struct template *template, size_t i, size_t j)
{
	const char *a = template->inputs[i].path, *b = template->inputs[j].path;

	return (path_is_at_or_below(a, b) || path_is_at_or_below(b, a)) &&
	       template_find_mount(template, a) && template_find_mount(template, b);
}

static int load_in_turn(void *context, size_t i, struct error *err)
{
	const struct pass *pass = context;
	const struct stage *stage = pass->stage;
	int r = 0;

	for (size_t j = 0; r == 0 && j < i; j++)
		if (overlap(stage->template, i, j))
			r = event_loop_wait(stage->store.loop, &pass->have_ended[j]);
	r = r < 0 ? event_loop_cancelled_error(err) :
		    load_or_skip(stage, &stage->template->inputs[i], err);
	pass->have_ended[i] = true;
	return r;
}

int load_inputs(const struct stage *stage, struct error *err)
{
	size_t count = stage->template->input_count;
	_cleanup_free_ bool *have_ended = calloc(count + 1, sizeof(*have_ended));
	struct pass pass = { .stage = stage, .have_ended = have_ended };

	if (!have_ended)
		return error_set(err, -ENOMEM, "out of memory");
	return fibers_run(stage->store.loop, count, LOAD_WIDTH, load_in_turn, &pass, err);
}
