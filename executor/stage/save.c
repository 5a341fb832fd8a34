#include "executor/stage/save.h"

#include "executor/base/cleanup.h"
#include "executor/base/fd.h"
#include "executor/base/path.h"
#include "executor/stage/source.h"
#include "executor/stage/upload.h"
#include "executor/stage/volume.h"
#include "executor/template/location.h"
#include "executor/template/template_check.h"

#include <errno.h>
#include <stdio.h>
#include <string.h>

/* "<container>.log" */
#define LOG_NAME_MAX 80

/* --- result and parameters -------------------------------------------------------------- */

static void drop_newline(struct buffer *text)
{
	if (text->size > 0 && text->data[text->size - 1] == '\n')
		text->data[--text->size] = '\0';
}

int save_result(const struct stage *stage, struct buffer *result, struct error *err)
{
	_cleanup_source_ struct source source = { .fd = -1 };
	int r = source_open_collected(stage, "ctr/main/stdout", &source, err);

	if (r < 0)
		return error_prefix(err, r, "failed to read the result");
	/* One byte more than is kept, for the newline that does not count. */
	if (source.size > SAVE_RESULT_BYTES_MAX + 1 &&
	    lseek(source.fd, -(off_t)SAVE_RESULT_BYTES_MAX - 1, SEEK_END) < 0)
		return error_errno(err, -errno, "seek %s", source.path);
	r = fd_read_all(source.fd, result);
	if (r < 0 && r != -EMSGSIZE)
		return error_errno(err, r, "read %s", source.path);
	drop_newline(result);
	if (result->size > SAVE_RESULT_BYTES_MAX)
		buffer_consume(result, result->size - SAVE_RESULT_BYTES_MAX);
	return 0;
}

static int read_parameter(const struct stage *stage, const char *path, struct buffer *out,
			  struct error *err)
{
	const char *mount = template_find_mount(stage->template, path);
	_cleanup_close_ int root_fd = -1;
	char where[PATH_MAX_BYTES];

	/* Whichever of the two names it gets below, and a mount is no longer than the path. */
	if (strlen(path) + strlen(stage->main_root) + sizeof("outputs/parameters/") > sizeof(where))
		return error_set(err, -ENAMETOOLONG, "path %.200s… is too long", path);
	if (stage_is_in_base(stage, path)) {
		snprintf(where, sizeof(where), "outputs/parameters%s%s", *path == '/' ? "" : "/",
			 path);
		return file_read_beneath(stage->root, where, BENEATH_REFUSE, out, err);
	}
	snprintf(where, sizeof(where), "%s%s", stage->main_root, mount ? mount : "");
	if (!mount)
		return file_read_beneath(where, path, BENEATH_FOLLOW, out, err);
	root_fd = volume_open(stage, mount, false, err);
	return root_fd < 0 ? root_fd :
			     file_read_beneath_at(root_fd, where, path + strlen(mount),
						  BENEATH_FOLLOW, out, err);
}

static int save_parameter(const struct stage *stage, struct json_object *parameter,
			  struct json_object *values, struct error *err)
{
	_cleanup_buffer_ struct buffer text = BUFFER_INIT(SAVE_PARAMETER_BYTES_MAX);
	struct json_object *from = json_get(parameter, "valueFrom");
	struct json_object *fallback = json_get(from, "default");
	const char *declared = json_get_string(from, "path", "");
	_cleanup_free_ char *path = path_clean(declared);
	int r;

	if (!*declared)
		return 0;
	if (!path)
		return error_set(err, -ENOMEM, "out of memory");
	r = read_parameter(stage, path, &text, err);
	if (r < 0 && fallback) {
		buffer_reset(&text);
		r = json_scalar_text(fallback, &text);
	}
	if (r < 0)
		return r;
	drop_newline(&text);
	r = json_set(values, json_get_string(parameter, "name", ""),
		     json_new_string(buffer_string(&text), text.size));
	return r < 0 ? error_set(err, r, "out of memory") : 0;
}

int save_parameters(const struct stage *stage, struct json_object *values, struct error *err)
{
	struct json_object *parameters = template_output_parameters(stage->template);
	int r = 0;

	for (size_t i = 0; r == 0 && i < json_length(parameters); i++)
		r = save_parameter(stage, json_at(parameters, i), values, err);
	return r;
}

/* --- artifacts and logs ----------------------------------------------------------------- */

/* The location that is reported. */
static int assign(const struct stage *stage, struct json_object *reported, const char *file_name,
		  struct error *err)
{
	if (location_key(reported) || location_is_complete(reported))
		return 0;
	return location_assign(reported, template_archive_location(stage->template), file_name,
			       err);
}

/* The same, and a store opened on the one that is used. */
static int prepare_store(const struct stage *stage, struct json_object *reported, const char *name,
			 const char *file_name, struct store **ret, struct error *err)
{
	_cleanup_json_ struct json_object *relocated = NULL;
	struct json_object *archive_location = template_archive_location(stage->template);
	int r = assign(stage, reported, file_name, err);

	if (r == 0)
		r = location_relocate(reported, archive_location, &relocated, err);
	return r < 0 ? r :
		       stage_open_store(stage, relocated, name,
					ledger_find(stage->ledger, LEDGER_OUTPUT, name), ret, err);
}

static const char *object_name(const struct template_artifact *artifact, char *buffer, size_t size)
{
	switch (artifact->archive) {
	case ARCHIVE_NONE:
		snprintf(buffer, size, "%s", path_basename(artifact->path));
		break;
	case ARCHIVE_ZIP:
		snprintf(buffer, size, "%s.zip", artifact->name);
		break;
	case ARCHIVE_TAR:
	case ARCHIVE_UNSET:
		snprintf(buffer, size, "%s.tgz", artifact->name);
		break;
	}
	return buffer;
}

static int open_own_store(const struct stage *stage, const struct template_artifact *artifact,
			  struct json_object *reported, char name[PATH_MAX_BYTES],
			  struct store **ret, struct error *err)
{
	int r = prepare_store(stage, reported, artifact->name,
			      object_name(artifact, name, PATH_MAX_BYTES), ret, err);

	return r < 0 ? error_prefix(err, r, "artifact %s failed to save", artifact->name) : 0;
}

static void log_stored(const struct stage *stage, const char *what, const char *field,
		       const char *name, const struct json_object *reported)
{
	_cleanup_free_ char *key = location_copy_key((struct json_object *)reported);
	const struct store_stored *stored = stage->store.stored;
	char checksum[STORE_CHECKSUM_MAX];

	log_info(stage->log, what, log_string(field, name),
		 log_string("key", key && *key ? key : NULL),
		 log_int("objects", (int64_t)stored->objects),
		 log_int("bytes", (int64_t)stored->size), log_string("etag", stored->etag),
		 log_string("checksum", store_stored_checksum(stored, checksum)));
}

/* What is stored is wanted, if by nobody else then for the log. */
static struct stage with_stored(const struct stage *stage, struct store_stored *own)
{
	struct stage copy = *stage;

	if (!copy.store.stored)
		copy.store.stored = own;
	return copy;
}

int save_artifact(const struct stage *outer, const struct template_artifact *artifact,
		  struct json_object **ret, struct error *err)
{
	_cleanup_stored_ struct store_stored stored = { 0 };
	const struct stage own = with_stored(outer, &stored), *stage = &own;
	_cleanup_json_ struct json_object *reported = json_copy(artifact->json);
	_cleanup_source_ struct source source = { .fd = -1 };
	_cleanup_store_ struct store *store = NULL;
	char name[PATH_MAX_BYTES];
	int r = template_check_path(artifact->json, err);

	if (!reported)
		return error_set(err, -ENOMEM, "out of memory");
	if (r < 0)
		return r;
	r = source_open(stage, artifact, &source, err);
	if (r < 0)
		return error_prefix(err, r, "artifact %s failed to save", artifact->name);
	r = open_own_store(stage, artifact, reported, name, &store, err);
	if (r == 0)
		r = upload_artifact(stage, artifact, &source, store, name, err);
	if (r < 0)
		return r;
	log_stored(stage, "Saved artifact", "artifactName", artifact->name, reported);
	*ret = TAKE_PTR(reported);
	return 0;
}

static int sweep(struct store *store, bool is_below_too, struct error *err)
{
	return store->operations->sweep ? store->operations->sweep(store, is_below_too, err) : 0;
}

int save_sweep(const struct stage *stage, const struct template_artifact *artifact,
	       struct error *err)
{
	_cleanup_json_ struct json_object *reported = json_copy(artifact->json);
	_cleanup_store_ struct store *store = NULL;
	char name[PATH_MAX_BYTES];
	int r = reported ? 0 : error_set(err, -ENOMEM, "out of memory");

	if (r == 0)
		r = open_own_store(stage, artifact, reported, name, &store, err);
	/* Only what is not packed can be many objects. */
	return store ? sweep(store, artifact->archive == ARCHIVE_NONE, err) : r;
}

int save_describe_artifact(const struct stage *stage, const struct template_artifact *artifact,
			   struct json_object **ret, struct error *err)
{
	_cleanup_json_ struct json_object *reported = json_copy(artifact->json);
	char name[PATH_MAX_BYTES];
	int r = reported ? assign(stage, reported, object_name(artifact, name, sizeof(name)), err) :
			   error_set(err, -ENOMEM, "out of memory");

	if (r == 0)
		*ret = TAKE_PTR(reported);
	return r;
}

int save_describe_log(const struct stage *stage, const char *container, struct json_object **ret,
		      struct error *err)
{
	_cleanup_json_ struct json_object *reported = json_new_object();
	char name[80], artifact[STAGE_LOG_NAME_MAX];
	int r;

	snprintf(name, sizeof(name), "%s.log", container);
	if (!reported || json_set_string(reported, "name", stage_log_name(container, artifact)) < 0)
		return error_set(err, -ENOMEM, "out of memory");
	r = assign(stage, reported, name, err);
	if (r == 0)
		*ret = TAKE_PTR(reported);
	return r;
}

void save_log_path(const char *container, char path[SAVE_LOG_PATH_MAX])
{
	snprintf(path, SAVE_LOG_PATH_MAX, "ctr/%s/combined", container);
}

static int open_log_store(const struct stage *stage, const char *container,
			  struct json_object *reported, char name[LOG_NAME_MAX], struct store **ret,
			  struct error *err)
{
	char artifact[STAGE_LOG_NAME_MAX];

	stage_log_name(container, artifact);
	snprintf(name, LOG_NAME_MAX, "%s.log", container);
	if (!reported || json_set_string(reported, "name", artifact) < 0)
		return error_set(err, -ENOMEM, "out of memory");
	return prepare_store(stage, reported, artifact, name, ret, err);
}

int save_sweep_log(const struct stage *stage, const char *container, struct error *err)
{
	_cleanup_json_ struct json_object *reported = json_new_object();
	_cleanup_store_ struct store *store = NULL;
	char name[LOG_NAME_MAX];
	int r = open_log_store(stage, container, reported, name, &store, err);

	return store ? sweep(store, false, err) : r;
}

int save_log(const struct stage *outer, const char *container, struct json_object **ret,
	     struct error *err)
{
	_cleanup_stored_ struct store_stored stored = { 0 };
	const struct stage own = with_stored(outer, &stored), *stage = &own;
	_cleanup_json_ struct json_object *reported = json_new_object();
	_cleanup_source_ struct source source = { .fd = -1 };
	_cleanup_store_ struct store *store = NULL;
	char relative[SAVE_LOG_PATH_MAX], name[LOG_NAME_MAX], artifact[STAGE_LOG_NAME_MAX];
	int r;

	save_log_path(container, relative);
	stage_log_name(container, artifact);
	r = source_open_collected(stage, relative, &source, err);
	if (r < 0)
		return r;
	ledger_expect(ledger_find(stage->ledger, LEDGER_OUTPUT, artifact), (int64_t)source.size);
	r = open_log_store(stage, container, reported, name, &store, err);
	if (r == 0)
		r = upload_file(stage, &source, store, name, err);
	if (r < 0)
		return error_prefix(err, r, "artifact %s failed to save", artifact);
	log_stored(stage, "Saved log", "containerName", container, reported);
	*ret = TAKE_PTR(reported);
	return 0;
}
