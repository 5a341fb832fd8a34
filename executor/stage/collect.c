#include "executor/stage/collect.h"

#include "executor/archive/pack.h"
#include "executor/base/cleanup.h"
#include "executor/base/fd.h"
#include "executor/base/path.h"
#include "executor/template/template_check.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <string.h>

struct collection {
	const struct template *template;
	const char *root;
	const struct collect_taker *taker;
	const struct log *log;
};

/* "<root>/outputs/<kind>/<path><suffix>", its directories made. */
static int destination(const struct collection *self, const char *kind, const char *path,
		       const char *suffix, char buffer[PATH_MAX_BYTES], struct error *err)
{
	if ((size_t)snprintf(buffer, PATH_MAX_BYTES, "%s/outputs/%s%s%s%s", self->root, kind,
			     *path == '/' ? "" : "/", path, suffix) >= PATH_MAX_BYTES)
		return error_set(err, -ENAMETOOLONG, "path %.200s… is too long", path);
	return path_make_parents(buffer, 0755, err);
}

static int copy_parameter(const struct collection *self, const char *path, struct error *err)
{
	_cleanup_buffer_ struct buffer value = BUFFER_INIT(COLLECT_PARAMETER_BYTES_MAX);
	char target[PATH_MAX_BYTES];
	int r = file_read(path, &value, err);

	if (r < 0)
		return r;
	r = destination(self, "parameters", path, "", target, err);
	return r < 0 ? r : file_replace(target, buffer_string(&value), value.size, 0666, err);
}

static int collect_parameter(const struct collection *self, struct json_object *parameter,
			     struct error *err)
{
	const char *name = json_get_string(parameter, "name", "");
	const char *declared = json_get_string(json_get(parameter, "valueFrom"), "path", "");
	_cleanup_free_ char *path = path_clean(declared);
	int r;

	if (!path)
		return error_set(err, -ENOMEM, "out of memory");
	if (!*declared || template_find_mount(self->template, path))
		return 0;
	r = copy_parameter(self, path, err);
	if (r == -ENOENT) {
		log_warn(self->log, "Output parameter's file does not exist",
			 log_string("name", name), log_string("path", path));
		return 0;
	}
	return r < 0 ? error_prefix(err, r, "output parameter %s", name) : 0;
}

static void warn(void *context, const char *message)
{
	log_warn(context, message, log_string("operation", "pack output artifact"));
}

/* Through a temporary name: a full disk can leave no archive that looks whole. */
static int pack_to(const struct collection *self, const char *path, const char *target,
		   struct error *err)
{
	struct pack_options options = { .format = PACK_TAR_GZ,
					.level = DEFLATE_DEFAULT,
					.hooks = { .warn = warn, .context = (void *)self->log } };
	char temporary[PATH_MAX_BYTES + 8];
	struct fd_writer out;
	int fd, r;

	snprintf(temporary, sizeof(temporary), "%s.tmp", target);
	fd = open(temporary, O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC | O_NOFOLLOW, 0666);
	if (fd < 0)
		return error_errno(err, -errno, "create %s", temporary);
	fd_writer_init(&out, fd, temporary);
	r = pack_tree(AT_FDCWD, path, &options, &out.writer, NULL, err);
	if (close(fd) < 0 && r == 0)
		r = error_errno(err, -errno, "write %s", temporary);
	if (r == 0 && rename(temporary, target) < 0)
		r = error_errno(err, -errno, "rename %s", temporary);
	if (r < 0)
		unlink(temporary);
	return r;
}

/* Opens what is a file or a directory now: opening anything else can have effects. O_NONBLOCK is for
 * what may have taken its place since. The descriptor or a negative errno. */
static int open_artifact(const char *path)
{
	struct stat st;
	int fd;

	if (stat(path, &st) < 0)
		return -errno;
	if (!S_ISREG(st.st_mode) && !S_ISDIR(st.st_mode))
		return -EINVAL;
	fd = open(path, O_RDONLY | O_CLOEXEC | O_NONBLOCK | O_NOCTTY);
	return fd < 0 ? -errno : fd;
}

/* True if nothing is left to be done: somebody has it, or knows that it is not there. What cannot be
 * opened is told, too; packing it fails then and says so here. */
static bool give(const struct collection *self, const char *path)
{
	_cleanup_close_ int fd = -1;

	if (!self->taker)
		return false;
	fd = open_artifact(path);
	return self->taker->give(self->taker->context, path, fd, fd < 0 ? -fd : 0) == 0 && fd >= 0;
}

static int collect_artifact(const struct collection *self, const struct template_artifact *artifact,
			    struct error *err)
{
	char target[PATH_MAX_BYTES];
	int r = template_check_path(artifact->json, err);

	if (r < 0 || template_find_mount(self->template, artifact->path))
		return r;
	if (give(self, artifact->path))
		return 0;
	if (access(artifact->path, F_OK) < 0 && errno == ENOENT) {
		log_warn(self->log, "Output artifact does not exist",
			 log_string("artifactName", artifact->name),
			 log_string("path", artifact->path));
		return 0;
	}
	r = destination(self, "artifacts", artifact->path, ".tgz", target, err);
	if (r == 0)
		r = pack_to(self, artifact->path, target, err);
	return r < 0 ? error_prefix(err, r, "output artifact %s", artifact->name) : 0;
}

/* Several artifacts may be made of one path: it is collected once. */
static bool is_collected(const struct template *template, size_t i)
{
	for (size_t k = 0; k < i; k++)
		if (strcmp(template->outputs[k].path, template->outputs[i].path) == 0)
			return true;
	return false;
}

/* The first failure is returned; the others are for the log. */
static int keep_first(const struct collection *self, int first, int r, struct error *next,
		      struct error *err)
{
	if (r < 0)
		log_error(self->log, "Failed to save output", log_error_field(next));
	if (r == 0 || first < 0)
		return first;
	*err = *next;
	return r;
}

bool collect_has_artifacts(const struct template *template)
{
	for (size_t i = 0; i < template->output_count; i++)
		if (!template_find_mount(template, template->outputs[i].path))
			return true;
	return false;
}

int collect_outputs(const struct template *template, const char *root,
		    const struct collect_taker *taker, const struct log *log, struct error *err)
{
	struct collection self = { .template = template, .root = root, .taker = taker, .log = log };
	struct json_object *parameters = template_output_parameters(template);
	struct error next = ERROR_NONE;
	int first = 0, r;

	for (size_t i = 0; i < json_length(parameters); i++) {
		r = collect_parameter(&self, json_at(parameters, i), &next);
		first = keep_first(&self, first, r, &next, err);
	}
	for (size_t i = 0; i < template->output_count; i++) {
		if (is_collected(template, i))
			continue;
		r = collect_artifact(&self, &template->outputs[i], &next);
		first = keep_first(&self, first, r, &next, err);
	}
	return first;
}
