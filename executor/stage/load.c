#include "executor/stage/load.h"

#include "executor/archive/detect.h"
#include "executor/archive/unpack.h"
#include "executor/base/cleanup.h"
#include "executor/base/fd.h"
#include "executor/base/path.h"
#include "executor/event/fibers.h"
#include "executor/stage/counted.h"
#include "executor/stage/landing.h"
#include "executor/stage/permissions.h"
#include "executor/stage/place.h"
#include "executor/stage/prefix.h"
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

struct loading {
	const struct stage *stage;
	const struct template_artifact *artifact;
	struct store *store;
	struct ledger_entry *entry;
	mode_t file_mode;
	struct place place;
};

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

static int load_plain(struct loading *self, struct reader *reader, struct error *err)
{
	int r = landing_write(place_temporary(&self->place), self->file_mode, reader, err);

	return r < 0 ? r : place_fill(&self->place, err);
}

static int open_temporary(const struct loading *self, int flags, struct error *err)
{
	struct spot spot = place_temporary(&self->place);
	int fd = openat(spot.directory_fd, spot.name,
			flags | O_CLOEXEC | O_NOFOLLOW | O_NONBLOCK | O_NOCTTY);

	return fd < 0 ? landing_not_absent(error_errno(err, -errno, "open %s", spot.path), err) :
			fd;
}

static void remove_temporary(const struct loading *self)
{
	spot_remove_tree(place_temporary(&self->place), NULL);
}

/* A zip is read from its end: it has to be on disk, but needs no name any more. */
static int unpack_temporary_zip(struct loading *self, struct error *err)
{
	const struct unpack_options options = { .hooks = stage_hooks(self->stage) };
	_cleanup_close_ int fd = open_temporary(self, O_RDONLY, err);

	remove_temporary(self);
	return fd < 0 ? fd : unpack_zip(fd, place_landing(&self->place), &options, err);
}

static int load_zip(struct loading *self, struct reader *reader, struct error *err)
{
	int r = landing_write(place_temporary(&self->place), self->file_mode, reader, err);

	return r < 0 ? r : unpack_temporary_zip(self, err);
}

static int load_tar(struct loading *self, struct reader *reader, struct error *err)
{
	const struct unpack_options options = {
		.hooks = stage_hooks(self->stage),
		.pool = self->stage->store.pool,
	};

	return unpack_tar(reader, place_landing(&self->place), &options, err);
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

/* An empty directory in the place of whatever an earlier attempt has left: its descriptor. */
static int make_temporary_directory(const struct loading *self, struct error *err)
{
	struct spot spot = place_temporary(&self->place);
	int fd, r = spot_remove_tree(spot, err);

	if (r < 0)
		return r;
	if (mkdirat(spot.directory_fd, spot.name, PREFIX_DIRECTORY_MODE) < 0)
		return error_errno(err, -errno, "mkdir %s", spot.path);
	fd = open_temporary(self, O_RDONLY | O_DIRECTORY, err);
	/* The umask does not apply. */
	if (fd >= 0 && fchmod(fd, PREFIX_DIRECTORY_MODE) < 0) {
		r = error_errno(err, -errno, "chmod %s", spot.path);
		close(fd);
		return r;
	}
	return fd;
}

/* The key names no object: it may name a directory. */
static int load_directory(struct loading *self, const struct error *not_found, struct error *err)
{
	const struct store_operations *operations = self->store->operations;
	_cleanup_close_ int fd = -1;
	int r;

	if (!operations->list) {
		*err = *not_found;
		return not_found->code;
	}
	fd = r = landing_not_absent(make_temporary_directory(self, err), err);
	if (r >= 0)
		r = prefix_load(self->stage->store.loop, self->store, fd, self->place.temporary,
				self->file_mode, self->entry, err);
	if (r == 0 && self->artifact->archive != ARCHIVE_UNSET &&
	    self->artifact->archive != ARCHIVE_NONE)
		r = error_set(err, -EISDIR, "the key names a directory, not an archive");
	if (r == 0)
		return place_fill(&self->place, err);
	if (err->class == ERROR_NOT_FOUND)
		*err = *not_found;
	remove_temporary(self);
	return r;
}

static int detect(struct reader *source, enum detected *ret, struct error *err)
{
	struct peek_reader peek;
	const char *data;
	ssize_t n;
	int r;

	peek_reader_init(&peek, source);
	n = peek_reader_peek(&peek, DETECT_BYTES, &data, err);
	r = n < 0 ? (int)n : detect_format(data, (size_t)n, ret, err);
	peek_reader_done(&peek);
	return r;
}

static int unpack_temporary_tar(struct loading *self, struct error *err)
{
	_cleanup_close_ int fd = open_temporary(self, O_RDONLY, err);
	struct fd_reader reader;
	int r = fd;

	fd_reader_init(&reader, fd, self->place.temporary);
	if (r >= 0)
		r = load_tar(self, &reader.reader, err);
	remove_temporary(self);
	return r;
}

/* What lies at `temporary` now, and its form: TAR, ZIP or NONE. */
static int examine_temporary(const struct loading *self, enum template_archive *ret,
			     struct error *err)
{
	_cleanup_close_ int fd = open_temporary(self, O_RDONLY, err);
	enum detected format = DETECTED_PLAIN;
	struct fd_reader reader;
	struct stat st;
	int r = 0;

	*ret = self->artifact->archive;
	if (fd == -ENOENT)
		return error_set(err, -EIO, "nothing was loaded to %s", self->place.temporary);
	if (fd < 0)
		return fd;
	if (fstat(fd, &st) < 0)
		return error_errno(err, -errno, "stat %s", self->place.temporary);
	if (!S_ISDIR(st.st_mode) && !S_ISREG(st.st_mode))
		return error_set(err, -EINVAL, "%s is neither a file nor a directory",
				 self->place.temporary);
	if (S_ISREG(st.st_mode))
		ledger_move(self->entry, (uint64_t)st.st_size);
	if (*ret != ARCHIVE_UNSET) {
		if (S_ISDIR(st.st_mode) && *ret != ARCHIVE_NONE)
			r = error_set(err, -EISDIR, "%s is a directory, not an archive",
				      self->place.temporary);
		return r;
	}
	fd_reader_init(&reader, fd, self->place.temporary);
	if (S_ISREG(st.st_mode))
		r = detect(&reader.reader, &format, err);
	*ret = format == DETECTED_PLAIN ? ARCHIVE_NONE : ARCHIVE_TAR;
	return r;
}

/* The store puts it at `temporary` by itself. */
static int load_by_path(struct loading *self, struct error *err)
{
	enum template_archive archive;
	int r = self->store->operations->load_path(self->store, place_temporary(&self->place), err);

	if (r == 0) {
		r = examine_temporary(self, &archive, err);
		if (r == 0 && archive == ARCHIVE_TAR)
			return unpack_temporary_tar(self, err);
		if (r == 0 && archive == ARCHIVE_ZIP)
			return unpack_temporary_zip(self, err);
		if (r == 0)
			return place_fill(&self->place, err);
		landing_not_absent(r, err);
	}
	remove_temporary(self);
	return r;
}

static int fetch(struct loading *self, struct error *err)
{
	const struct store_operations *operations = self->store->operations;
	struct counted_reader counted;
	struct reader *reader = NULL;
	struct error not_found;
	int64_t size;
	int r;

	if (operations->load_path)
		return load_by_path(self, err);
	r = operations->get(self->store, &reader, &size, err);
	if (r == 0) {
		ledger_expect(self->entry, size);
		counted_reader_init(&counted, reader, self->entry);
		r = load_object(self, &counted.reader, err);
		operations->get_done(self->store, reader);
		return r;
	}
	if (err->class != ERROR_NOT_FOUND)
		return r;
	not_found = *err;
	return load_directory(self, &not_found, err);
}

/* Plugins run where only their own pass can reach them. What was not supplied is no plugin's. */
static bool is_in_pass(const struct stage *stage, const struct template_artifact *artifact)
{
	bool is_complete = location_is_complete(artifact->json);
	struct json_object *place = is_complete ? artifact->json :
						  template_archive_location(stage->template);
	const char *type = is_complete || location_key(artifact->json) ? location_type(place) :
									 NULL;
	const char *plugin = NULL;

	if (type && strcmp(type, "plugin") == 0)
		plugin = json_get_string(location_get(place), "name", "");
	if (!stage->plugin || !plugin)
		return stage->plugin == plugin;
	return strcmp(stage->plugin, plugin) == 0;
}

/* Somebody else's program made it, under whatever user: main may do with it as it likes. */
static int set_permissions(const struct loading *self, struct error *err)
{
	const struct template_artifact *artifact = self->artifact;

	if (artifact->has_mode)
		return permissions_set(place_target(&self->place), artifact->mode,
				       artifact->is_mode_recursive, err);
	return self->stage->plugin ? permissions_open(place_target(&self->place),
						      artifact->is_mode_recursive, err) :
				     0;
}

static int load_one(const struct stage *stage, const struct template_artifact *artifact,
		    struct error *err)
{
	struct loading self = { .stage = stage,
				.artifact = artifact,
				.entry = ledger_find(stage->ledger, LEDGER_INPUT, artifact->name),
				.place = { .directory_fd = -1 } };
	_cleanup_json_ struct json_object *relocated = NULL;
	_cleanup_store_ struct store *store = NULL;
	int r = template_check_path(artifact->json, err);

	if (r < 0)
		return r;
	r = location_relocate(artifact->json, template_archive_location(stage->template),
			      &relocated, err);
	if (r < 0)
		return error_prefix(err, r, "failed to load artifact '%s'", artifact->name);
	log_info(stage->log, "Loading artifact", log_string("artifactName", artifact->name));
	self.file_mode = strcmp(location_type(relocated), "raw") == 0 ? RAW_FILE_MODE : FILE_MODE;
	r = stage_open_store(stage, relocated, artifact->name, self.entry, &store, err);
	self.store = store;
	if (r == 0)
		r = landing_not_absent(place_prepare(stage, artifact, &self.place, err), err);
	if (r == 0)
		r = fetch(&self, err);
	if (r == 0)
		r = landing_not_absent(place_settle(&self.place, err), err);
	if (r == 0)
		r = landing_not_absent(set_permissions(&self, err), err);
	place_done(&self.place);
	if (r < 0) {
		location_tell(relocated, err);
		return error_prefix(err, r, "artifact %s failed to load", artifact->name);
	}
	/* Who reads it in the log can rely on it, even if this process dies now. */
	ledger_end(self.entry, LEDGER_DONE);
	log_info(stage->log, "Loaded artifact", log_string("artifactName", artifact->name),
		 log_string("path", self.place.target));
	return 0;
}

static int load_or_skip(const struct stage *stage, const struct template_artifact *artifact,
			struct error *err)
{
	struct ledger_entry *entry = ledger_find(stage->ledger, LEDGER_INPUT, artifact->name);
	int r;

	if (!is_in_pass(stage, artifact))
		return 0;
	ledger_begin(entry);
	if (!location_is_complete(artifact->json) && !location_key(artifact->json))
		r = error_set_class(err, -ENOENT, ERROR_NOT_FOUND,
				    "required artifact '%s' not supplied", artifact->name);
	else
		r = load_one(stage, artifact, err);
	if (r == 0)
		return 0;
	if (!artifact->is_optional || err->class != ERROR_NOT_FOUND) {
		ledger_end(entry, LEDGER_FAILED);
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

	if (stage->loaded && i < LEDGER_ENTRIES_MAX && stage->loaded[i]) {
		pass->have_ended[i] = true;
		return 0;
	}
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
	unsigned width = stage->load_width ? stage->load_width : LOAD_WIDTH;

	if (!have_ended)
		return error_set(err, -ENOMEM, "out of memory");
	return fibers_run(stage->store.loop, count, stage->plugin ? 1 : width, load_in_turn, &pass,
			  err);
}
